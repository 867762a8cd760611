"""Frames and tensors as a node sees them, on real pools: made, sent, sealed, refused, waited for, shown."""

import asyncio
import gc

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

from flowcore.bus.envelope import pack
from flowcore.node import In, Node, NodeConfig, NoRoom, Out, Tensor, field
from flowcore.node.describe import pictured
from flowcore.node.preview import of_array
from flowcore.node.testing import MemoryStore, drive

FRAME = (480, 640, 3)  # 0.9 MB: a node that may share 2 MB has two slots for them
TWO_SLOTS = {"pool_mb": 2}


class Camera(Node):
    """Makes frames in shared memory, and fills them in place."""

    type = "test/camera"

    class Config(NodeConfig):
        frames: int = field(3, description="How many")

    frame = Out("frame")

    async def run(self):
        for n in range(self.config.frames):
            frame = await self.alloc_when_free(FRAME)
            frame.numpy()[:] = n
            await self.send(frame, topic=str(n))
            del frame


class Invert(Node):
    """Makes another frame of each, in a handler thread."""

    type = "test/invert"
    image = In("frame")
    inverted = Out("frame")

    def on_message(self, message):
        made = self.alloc(message.payload.shape)
        np.subtract(255, message.payload.numpy(), out=made.numpy())
        return made


class Echo(Node):
    """Returns what it gets, or what a test says."""

    type = "test/echo"
    in_ = In()
    out = Out()
    make = staticmethod(lambda payload: payload)

    def on_message(self, message):
        return self.make(message.payload)


class Boxes(BaseModel):
    """A model with an array in it."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    image: np.ndarray
    boxes: list[dict]


def values(tensor):
    return np.asarray(tensor).tolist()


async def test_a_frame_is_filled_in_place_and_cannot_be_changed_once_it_is_sent():
    written = []

    class Late(Camera):
        async def run(self):
            frame = self.alloc(FRAME)
            view = frame.numpy()
            view[:] = 7
            await self.send(frame)
            try:
                view[:] = 8
            except ValueError as e:
                written.append(str(e))

    async with drive(Late) as node:
        (frame,) = await node.sent(1)
        assert (frame.shape, frame.dtype, frame.device, frame.is_writable) == (FRAME, "uint8", "cpu", False)
        assert frame.numpy().min() == frame.numpy().max() == 7
        with pytest.raises(ValueError, match="read-only"):
            frame.numpy()[:] = 1
        await node.wait_for(lambda: written)
        assert "read-only" in written[0]


async def test_what_was_cut_out_of_a_frame_before_it_was_sent_is_told(caplog, monkeypatch):
    """numpy lets it be written still; who keeps nothing hears nothing."""
    monkeypatch.setattr("flowcore.buffers.tensor._has_told", False)

    class Keep(Echo):
        def on_message(self, message):
            frame = self.alloc(FRAME)
            view = frame.numpy()
            view.reshape(-1)[:100] = 1
            self.row = view[0] if message.payload else None
            return frame

    async with drive(Keep) as node:
        await node.put(0, 0)
        assert len(await node.sent()) == 2 and not caplog.messages
        await node.put(1, 1)
        assert ["stays writable" in text for text in caplog.messages] == [True]


async def test_arrays_at_any_depth_of_a_payload_come_out_as_tensors():
    """In lists, maps and models; small ones travel in the envelope, large ones in shared memory."""
    small, large = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((300, 300), np.int16)
    made = {"a": [small, {"b": large}], "model": Boxes(image=large, boxes=[{"x": 1}]), "n": np.int64(5)}

    class Make(Echo):
        make = staticmethod(lambda payload: made)

    async with drive(Make) as node:
        await node.put(0)
        (got,) = await node.sent()
        assert all(isinstance(one, Tensor) for one in (got["a"][0], got["a"][1]["b"], got["model"]["image"]))
        assert values(got["a"][0]) == small.tolist() and got["a"][0].dtype == "float32"
        assert values(got["model"]["image"]) == large.tolist() and got["n"] == 5
        assert sum(pool["slots"] for pool in node.tensors.stats()) >= 2


async def test_a_port_says_what_it_wanted_and_what_came():
    class Strict(Echo):
        in_ = In("tensor[float32, ?, 3]")

    async with drive(Strict) as node:
        await node.put(np.zeros((4, 3), np.float32), np.zeros((4, 3)), np.zeros((4, 4), np.float32), "text")
        assert len(await node.sent()) == 1
        assert [error["text"] for error in node.errors] == [
            "port 'in' takes tensor[float32, ?, 3], got a tensor of float64 (4, 3)",
            "port 'in' takes tensor[float32, ?, 3], got a tensor of float32 (4, 4)",
            "port 'in' takes tensor[float32, ?, 3], got text",
        ]
    async with drive(Invert) as node:
        await node.put(np.zeros((4, 4), np.float32))
        assert "takes frame, got a tensor of float32 (4, 4)" in node.errors[0]["text"]


async def test_a_source_waits_for_a_slot_and_goes_on_when_one_is_free():
    async with drive(Camera, frames=7, settings=TWO_SLOTS) as node:
        for begin in range(0, 6, 2):
            frames = await node.sent_messages(2)
            assert [(one.topic, int(one.payload.numpy()[0, 0, 0])) for one in frames] == [
                (str(n), n) for n in (begin, begin + 1)
            ]
            del frames
            node.clear()
        assert len(await node.sent(1)) == 1


async def test_a_sync_handler_waits_for_a_slot_in_its_thread():
    """What it made before is sent meanwhile, or nobody could ever let go of it."""
    async with drive(Invert, settings=TWO_SLOTS) as node:
        putting = asyncio.ensure_future(node.put(*[np.full(FRAME, n, np.uint8) for n in range(5)]))
        seen = []
        while len(seen) < 5:
            await node.wait_for(lambda: node.messages())
            seen += [int(message.payload.numpy()[0, 0, 0]) for message in node.messages()]
            node.clear()
        await putting
        assert seen == [255, 254, 253, 252, 251] and not node.errors


async def test_on_the_event_loop_alloc_does_not_wait():
    said = []

    class Hasty(Camera):
        async def run(self):
            frames = [self.alloc(FRAME), self.alloc(FRAME)]
            try:
                self.alloc(FRAME)
            except NoRoom as e:
                said.append(str(e))
            await self.send(len(frames))

    async with drive(Hasty, settings=TWO_SLOTS) as node:
        assert await node.sent(1) == [2]
        assert "raise the node's setting pool_mb" in said[0]
        with pytest.raises(ValueError, match="pool_mb"):
            node.node.alloc((3000, 1000))


async def test_a_generator_that_makes_more_frames_than_there_are_slots():
    class Split(Echo):
        def on_message(self, message):
            for n in range(message.payload):
                frame = self.alloc(FRAME)
                frame.numpy()[:] = n
                yield frame
                del frame

    async with drive(Split, settings=TWO_SLOTS) as node:
        putting = asyncio.ensure_future(node.put(9))
        seen = []
        while len(seen) < 9:
            await node.wait_for(lambda: node.messages())
            seen += [int(message.payload.numpy()[0, 0, 0]) for message in node.messages()]
            node.clear()
        await putting
        assert seen == list(range(9))


async def test_what_can_never_have_room_is_an_error_at_once():
    class Wide(Echo):
        make = staticmethod(lambda payload: [np.ones(FRAME, np.uint8) for _ in range(payload)])

    async with drive(Wide, settings=TWO_SLOTS) as node:
        await node.put(3)
        (error,) = node.errors
        assert error["error"] == "ValueError" and "more than this node may share at once" in error["text"]
        await node.put(2)
        assert len((await node.sent())[0]) == 2


@pytest.mark.parametrize("is_async", [False, True])
async def test_failing_handlers_hold_no_slots(is_async):
    """Neither through their tracebacks, nor by what is told of them."""

    class Fail(Echo):
        def on_message(self, message):
            view = message.payload.numpy()
            raise RuntimeError(f"no: {view.shape}")

    class FailAsync(Echo):
        async def on_message(self, message):
            view = message.payload.numpy()
            raise RuntimeError(f"no: {view.shape}")

    gc.collect()
    gc.disable()  # nobody runs it while frames come
    try:
        async with drive(FailAsync if is_async else Fail, settings=TWO_SLOTS) as node:
            for n in range(6):
                await node.put(np.full(FRAME, n, np.uint8))
            assert len(node.errors) == 6
            assert node.errors[0]["message"]["is_cut"] and node.given_up[5]["message"]["payload"] == {
                "$tensor": {"dtype": "uint8", "shape": list(FRAME), "device": "cpu"}
            }
            assert sum(pool["used"] for pool in node.tensors.stats()) <= 1
    finally:
        gc.enable()


async def test_a_small_tensor_is_kept_whole_with_an_error():
    class Fail(Echo):
        make = staticmethod(lambda payload: payload["x"] + 1)

    async with drive(Fail) as node:
        await node.put({"boxes": np.arange(4.0)})
        body = node.given_up[0]
        assert "is_cut" not in body["message"] and len(pack(body)) > 0


async def test_state_has_its_own_copy():
    """A frame in the state occupies no slot; after a restart it is there again."""

    class Keep(Echo):
        stateful = True

        def on_message(self, message):
            if message.payload is not None:
                self.state["frame"] = message.payload
            return self.state["frame"]

    store = MemoryStore()
    async with drive(Keep, store=store) as node:
        await node.put(np.arange(20_000, dtype=np.int32))
        await node.sent(1)
        node.clear()
        assert sum(pool["used"] for pool in node.tensors.stats()) == 0
    async with drive(Keep, store=store) as node:
        await node.put(None)
        assert values((await node.sent())[0]) == list(range(20_000))


async def test_what_is_kept_or_forgotten_is_named():
    class Hold(Echo):
        def on_start(self):
            self.held = []

        def on_message(self, message):
            self.held.append(message.payload)
            if len(self.held) > 1:
                self.held[1].keep()

    async with drive(Hold) as node:
        await node.put(np.zeros(FRAME, np.uint8), np.zeros(FRAME, np.uint8))
        lingering = node.tensors.codec.lingering
        await node.wait_for(lambda: all(lingering.listed(older_than_s=0)))
        kept, forgotten = lingering.listed(older_than_s=0)
        assert [(one["port"], one["bytes"] >= 480 * 640 * 3) for one in (*kept, *forgotten)] == [("in", True)] * 2
        assert len(kept) == 1
        node.node.held.pop().release()
        node.node.held.clear()
        await node.wait_for(lambda: lingering.listed(older_than_s=0) == ([], []))  # the handler's thread lets go last


async def test_debug_shows_what_a_tensor_is_with_a_small_picture_now_and_then():
    class Show(Echo):
        def on_message(self, message):
            self.debug({"frame": message.payload, "n": 1}, message)

    frame = np.zeros((1080, 1920, 3), np.uint8)
    frame[:, 960:] = (255, 0, 0)  # BGR: the right half is blue
    async with drive(Show) as node:
        await node.put(frame, np.eye(2))
        large, small = node.debugged
        told = large["frame"]["$tensor"]
        assert (told["dtype"], told["shape"], told["min"], told["max"]) == ("uint8", [1080, 1920, 3], 0, 255)
        assert told["mean"] == pytest.approx(42.5, rel=0.05) and told["is_sample"]
        assert told["picture"].startswith(b"\x89PNG") and len(told["picture"]) < 8192
        assert small["frame"]["$tensor"]["values"] == [[1.0, 0.0], [0.0, 1.0]]
        assert "picture" not in small["frame"]["$tensor"]  # two a second are the most


def test_a_preview_of_any_array_is_small_and_right():
    """Whatever shape and values: bounded, and nothing raises."""
    line = of_array(np.sin(np.arange(10_000) / 500))
    assert len(line["line"]) <= 64 and line["min"] == pytest.approx(-1, abs=1e-3)
    broken = of_array(np.array([np.nan, 1.0, np.inf, 3.0]))
    assert (broken["min"], broken["max"], broken["line"]) == (1.0, 3.0, [None, 1.0, None, 3.0])
    assert of_array(np.full((3, 3), np.nan))["min"] is None and of_array(np.zeros((0, 4))) == {}
    assert "picture" not in of_array(np.zeros((1, 500))) and of_array(np.array(["a"])) == {}
    for shape in ((200, 300), (200, 300, 1), (200, 300, 3), (200, 300, 4), (4000, 2), (2, 2)):
        assert of_array(np.ones(shape, np.uint8))["picture"].startswith(b"\x89PNG"), shape
    assert len(of_array(np.random.default_rng(1).integers(0, 255, (900, 900, 3), np.uint8))["picture"]) < 64_000


def test_a_picture_that_is_bytes_is_shown_as_one():
    jpeg = b"\xff\xd8\xff" + b"x" * 100_000
    whole = pictured({"a": [jpeg, jpeg * 9, b"other"]}, has_room=True)["a"]
    assert whole[0] == {"$image": {"format": "jpeg", "size_bytes": 100_003, "picture": jpeg}}
    assert whole[1] == {"$image": {"format": "jpeg", "size_bytes": 900_027}} and whole[2] == b"other"
    assert "picture" not in pictured(jpeg, has_room=False)["$image"]


@pytest.mark.parametrize(
    "payload",
    [b"\0" * 20_000_000, "é" * 10_000_000, list(range(300_000)), {"a": ["x" * 400_000, b"y" * 400_000], "n": 1}],
    ids=["bytes", "text", "numbers", "mixed"],
)
async def test_nothing_is_too_large(payload):
    async with drive(Echo) as node:
        await node.put(payload)
        assert await node.sent() == [payload] and not node.errors
