"""Fetching tensors from another process: parts, checksums, what is lost on the way, and what one may not have.

Both ends are the real ones; between them lies a bus in this process that can lose, change and refuse messages.
"""

import asyncio
import random

import numpy as np
import pytest

import flowcore.buffers.encode as encode_module
from flowcore.buffers import BufferExpired, Codec, Pools, Tensor
from flowcore.buffers.encode import MissingLibrary, decode, library, missing
from flowcore.buffers.fetch import Fetcher, FetchFailed, FetchRefused
from flowcore.buffers.fetch_frames import Answer, Request
from flowcore.buffers.handle import Handle
from flowcore.buffers.serve import Server
from flowcore.buffers.sources import Shown
from flowcore.bus.envelope import Malformed, pack, unpack

SUBJECT = "fetch.factory.camera.frame.7"
INSIDE, OUTSIDE = "_INBOX_factory.detect", "_INBOX.viewer"


class Bus:
    """Delivers in order, each message in a turn of its own; `on_way(reply, data)` may change it, None loses it."""

    def __init__(self) -> None:
        self.max_payload = 1 << 20
        self.sent: list[tuple[str, bytes]] = []
        self.on_way = lambda subject, data: data
        self._callbacks = {}
        self._listeners = {}

    async def subscribe(self, subject, callback):
        self._callbacks[subject.removesuffix("*")] = callback

    async def unsubscribe(self, subject):
        self._callbacks.pop(subject.removesuffix("*"), None)

    def publish(self, subject, data, reply=""):
        self.sent.append((subject, data))
        loop = asyncio.get_running_loop()
        callback = next((call for prefix, call in self._callbacks.items() if subject.startswith(prefix)), None)
        if callback is None:
            nobody = self._callbacks.get(reply.rpartition(".")[0] + ".")
            if nobody is not None:
                loop.call_soon(nobody, reply, b"", "", b"NATS/1.0 503\r\n\r\n")
            return True
        data = self.on_way(subject, data)
        if data is not None:
            loop.call_soon(callback, subject, data, reply, b"")
        return True

    @property
    def parts(self):
        """The answers that went out so far."""
        return [Answer.unpack(data) for subject, data in self.sent if subject.startswith("_INBOX")]


class Camera:
    """A process that sends frames from its port `frame` and other things from `other`, and serves them."""

    def __init__(self, bus, limit_bytes=64 << 20) -> None:
        self.codec = Codec(Pools(limit_bytes))
        self.shown = Shown()
        self.server = Server(
            publish=bus.publish,
            unsent=lambda: 0,
            max_payload=lambda: bus.max_payload,
            find=self.codec.lease,
            shown=self.shown,
            may_answer=lambda reply: reply.startswith("_INBOX"),
        )
        self.held = {}

    async def listen(self, bus):
        await bus.subscribe("fetch.factory.camera.", self.server.on_request)

    def send(self, value, port="frame"):
        """Send a tensor (or what becomes one); returns the handle, and keeps the slot until `acked`."""
        data = self.codec.pack(value)
        taken = self.codec.taken
        self.shown.add(port, taken)
        tensor = self.codec.unpack(data)
        handle = tensor.handle
        self.held[handle] = taken
        return handle

    def acked(self, handle):
        del self.held[handle]

    def rewrite(self, handle):
        """Use slots until the one of a handle has been written again."""
        while True:
            tensor = self.codec.pools.alloc(handle.shape, handle.dtype)
            if tensor.lease.slot == handle.slot and tensor.lease.pool.id == handle.pool:
                return


@pytest.fixture
async def bus():
    return Bus()


@pytest.fixture
async def camera(bus):
    camera = Camera(bus)
    await camera.listen(bus)
    yield camera
    camera.server.close()


@pytest.fixture
async def fetcher(bus):
    fetcher = Fetcher(bus, INSIDE, wait_s=0.05)
    yield fetcher
    await fetcher.close()


def noise(*shape, seed=1):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def picture():
    """What compresses: soft gradients."""
    rows, columns = np.indices((480, 640))
    return np.stack([rows // 2, columns // 3, (rows + columns) // 5], axis=-1).astype(np.uint8)


async def test_a_frame_comes_in_parts_that_the_server_takes(bus, camera, fetcher):
    """Whatever the largest message is, the bytes are what was sent, and no message is larger."""
    frame = noise(1080, 1920, 3)
    handle = camera.send(frame)
    for max_payload in (1 << 20, 100_000):
        bus.max_payload = max_payload
        bus.sent.clear()
        assert await fetcher.fetch(SUBJECT, handle) == frame.tobytes()
        assert len(bus.parts) > frame.nbytes // max_payload
        assert max(len(data) for _, data in bus.sent) <= max_payload
    assert fetcher.lost == fetcher.wrong == 0


async def test_where_the_sender_can_say_less_at_once_the_rest_is_asked_for(bus, camera, fetcher):
    """Two servers of one bus may differ in what they take; a short answer is no error."""
    frame = noise(480, 640, 3)
    handle = camera.send(frame)
    camera.server._max_payload = lambda: 50_000
    assert await fetcher.fetch(SUBJECT, handle) == frame.tobytes()


async def test_what_is_lost_or_changed_on_the_way_is_asked_for_again(bus, camera, fetcher):
    """A tenth of the requests and answers is lost, another tenth damaged: only those come again."""
    frame = noise(1080, 1920, 3)
    handle = camera.send(frame)
    chance = random.Random(5)

    def on_way(subject, data):
        dice = chance.random()
        if dice < 0.1:
            return None
        if dice < 0.2 and subject.startswith("_INBOX"):
            at = len(data) - 100 if len(data) > 1000 else len(data) - 1
            return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        return data

    bus.on_way = on_way
    bus.max_payload = 200_000
    assert await fetcher.fetch(SUBJECT, handle) == frame.tobytes()
    assert fetcher.lost and fetcher.wrong


async def test_a_checksum_that_stays_wrong_is_an_error(bus, camera, fetcher):
    """Three times is no accident."""
    handle = camera.send(noise(480, 640))

    def on_way(subject, data):
        return data[:-1] + bytes((data[-1] ^ 1,)) if b"data" in data and b"whole" not in data else data

    bus.on_way = on_way
    bus.max_payload = 100_000
    with pytest.raises(FetchFailed, match="wrong checksum"):
        await fetcher.fetch(SUBJECT, handle)


async def test_parts_that_do_not_make_a_whole_are_an_error(bus, camera, fetcher):
    """Each part may be right, and the whole is checked all the same."""
    handle = camera.send(noise(480, 640))

    def on_way(subject, data):
        if not subject.startswith("_INBOX") or b"whole" not in data:
            return data
        return pack(unpack(data, limit=1 << 20) | {"whole": 1})

    bus.on_way = on_way
    with pytest.raises(FetchFailed, match="do not make up"):
        await fetcher.fetch(SUBJECT, handle)


async def test_a_slot_that_was_written_again_is_expired(bus, camera, fetcher):
    """Acked and reused: the bytes are gone, and nothing else comes instead."""
    handle = camera.send(noise(480, 640))
    camera.acked(handle)
    camera.rewrite(handle)
    with pytest.raises(BufferExpired):
        await fetcher.fetch(SUBJECT, handle)


async def test_a_slot_is_not_written_while_a_process_of_a_flow_fetches_it(bus, camera, fetcher):
    """A latest wire lets go of a frame when a newer one comes; who is at it gets all of it."""
    frame = noise(1080, 1920, 3)
    handle = camera.send(frame)

    def on_way(subject, data):
        if subject.startswith("_INBOX") and handle in camera.held:  # the first part
            camera.acked(handle)
            for _ in range(12):
                camera.codec.pools.alloc(frame.shape)
        return data

    bus.on_way = on_way
    assert await fetcher.fetch(SUBJECT, handle) == frame.tobytes()
    camera.rewrite(handle)  # it is let go of when the last part has gone out


async def test_a_program_outside_holds_nothing(bus, camera):
    """It may come too late, and the flow never waits for it."""
    handle = camera.send(noise(1080, 1920, 3))
    outside = Fetcher(bus, OUTSIDE)

    def on_way(subject, data):
        if subject.startswith("_INBOX") and handle in camera.held:
            camera.acked(handle)
            camera.rewrite(handle)
        return data

    bus.on_way = on_way
    with pytest.raises(BufferExpired):
        await outside.fetch(SUBJECT, handle)
    await outside.close()


async def test_only_what_was_sent_from_the_port_is_given(bus, camera, fetcher):
    """Not what another port sent, not what was never sent, not a byte beyond what was."""
    handle = camera.send(noise(480, 640), port="other")
    with pytest.raises(FetchRefused, match="port 'frame'"):
        await fetcher.fetch(SUBJECT, handle)
    unsent = camera.codec.pools.alloc((480, 640))
    unsent.seal()
    with pytest.raises(BufferExpired):
        await fetcher.fetch(SUBJECT, Handle.unpack(unsent.packed_handle("elsewhere")))
    shown = camera.send(noise(480, 640))
    more = shown._replace(nbytes=480 * 641, shape=(480, 641))
    with pytest.raises(FetchRefused):
        await fetcher.fetch(SUBJECT, more)
    with pytest.raises(FetchRefused):
        await fetcher.fetch(SUBJECT, shown._replace(generation=shown.generation + 2))
    assert not [part for part in bus.parts if part.data]


async def test_rubbish_is_answered_or_dropped(bus, camera, fetcher):
    """No request ends the server, and a reply subject that is no asker's gets nothing."""
    answers = []
    await bus.subscribe("_INBOX_factory.rubbish.*", lambda subject, data, reply, headers: answers.append(data))
    handle = camera.send(noise(480, 640))
    good = Request(handle, None, 0, 1000).packed()
    reply = "_INBOX_factory.rubbish.fetch.1"
    bad = [b"", b"\xc1", pack([1]), pack({"handle": 5}), pack({"handle": b"\x90", "offset": 0, "length": 1})]
    bad += [pack(unpack(good) | change) for change in ({"offset": -1}, {"length": 0}, {"encode": {"kind": "exe"}})]
    bad += [Request(handle, None, 1 << 60, 1).packed(), pack(unpack(good) | {"encode": {"kind": "jpeg", "quality": 0}})]
    for data in bad:
        camera.server.on_request(SUBJECT, data, reply, b"")
    camera.server.on_request(SUBJECT, good, "flow.factory.alarm.in.value", b"")
    camera.server.on_request(SUBJECT, good, reply, b"NATS/1.0\r\nA: b\r\n\r\n")
    assert await fetcher.fetch(SUBJECT, handle) == noise(480, 640).tobytes()
    assert [Answer.unpack(data).error for data in answers] == ["malformed"] * len(bad)
    assert camera.server.refused == 2


async def test_rubbish_for_an_answer_is_an_error(bus, camera, fetcher):
    """Whoever answers, the asker gets an exception that it can handle, and no more bytes than it asked for."""
    handle = camera.send(noise(480, 640))
    plain = Answer("", "", "raw", handle.nbytes, 0, 0, b"")
    for change in (
        lambda data: b"\xc1",
        lambda data: pack({"form": "raw"}),
        lambda data: pack(unpack(data, limit=1 << 20) | {"form": "exe"}),
        lambda data: pack(unpack(data, limit=1 << 20) | {"total": 1 << 50}),
        lambda data: plain.packed(),
    ):
        bus.on_way = lambda subject, data, change=change: change(data) if subject.startswith("_INBOX") else data
        with pytest.raises(FetchFailed):
            await fetcher.fetch(SUBJECT, handle)


async def test_a_sender_that_has_gone_is_known_at_once_and_one_that_comes_back_is_waited_for(bus, camera, fetcher):
    """The server says that nobody listens; within the patience the sender may be back."""
    frame = noise(480, 640)
    handle = camera.send(frame)
    await bus.unsubscribe("fetch.factory.camera.")
    with pytest.raises(TimeoutError, match="nobody listens"):
        await fetcher.fetch(SUBJECT, handle, patience_s=0.2)
    asked = asyncio.Event()
    bus.on_way = lambda subject, data: asked.set() or data
    await bus.subscribe("fetch.factory.camera.", lambda subject, data, reply, headers: None)  # deaf
    waiting = asyncio.create_task(fetcher.fetch(SUBJECT, handle, patience_s=5))
    await asked.wait()
    await bus.unsubscribe("fetch.factory.camera.")
    await asyncio.sleep(0.1)  # asked again: nobody
    await camera.listen(bus)
    assert await waiting == frame.tobytes()


@pytest.mark.parametrize("encoding", [{"kind": "jpeg", "quality": 90}, {"kind": "zstd", "level": 1}])
async def test_an_encoding_is_made_once_for_all_that_ask(bus, camera, fetcher, encoding, monkeypatch):
    """Smaller on the way; the same again with zstd, close to it with JPEG. Later askers need no library any more."""
    frame = picture()
    handle = camera.send(frame)
    outside = Fetcher(bus, OUTSIDE)
    both = await asyncio.gather(fetcher.fetch(SUBJECT, handle, encoding), outside.fetch(SUBJECT, handle, encoding))
    sent = [(part.form, part.data) for part in bus.parts]
    assert both[0] == both[1] and sum(len(data) for _, data in sent) < frame.nbytes
    seen = np.frombuffer(both[0], np.uint8).reshape(frame.shape)
    if encoding["kind"] == "zstd":
        assert (seen == frame).all()
    else:
        assert np.abs(seen.astype(int) - frame).max() < 12
    monkeypatch.setitem(encode_module._LIBRARIES, encoding["kind"], ("no_such_library", "pip install it"))
    request = Request(handle, encoding, 0, 1 << 20).packed()
    camera.server.on_request(SUBJECT, request, f"{INSIDE}.fetch.0", b"")
    await asyncio.sleep(0)
    assert (bus.parts[-1].form, bus.parts[-1].data) == sent[-1]
    await outside.close()


async def test_what_an_encoding_does_not_fit_travels_as_it_is(bus, camera, fetcher):
    """Floats on a JPEG wire, noise with zstd: no error, no loss."""
    depth = np.linspace(0, 1, 480 * 640, dtype="<f4").reshape(480, 640)
    assert await fetcher.fetch(SUBJECT, camera.send(depth), {"kind": "jpeg", "quality": 50}) == depth.tobytes()
    noisy = noise(480, 640)
    assert await fetcher.fetch(SUBJECT, camera.send(noisy), {"kind": "zstd", "level": 3}) == noisy.tobytes()
    assert {part.form for part in bus.parts} == {"raw"}


async def test_without_the_library_frames_travel_as_they_are_and_it_is_said_once(
    bus, camera, fetcher, monkeypatch, caplog
):
    """The sender's log has the line that installs it."""
    monkeypatch.setitem(encode_module._LIBRARIES, "jpeg", ("no_such_cv2", "pip install 'flowcore[vision]'"))
    for n in range(2):
        frame = noise(480, 640, seed=n)
        data = await fetcher.fetch(SUBJECT, camera.send(frame), {"kind": "jpeg", "quality": 90})
        assert data == frame.tobytes()
    assert len([one for one in caplog.records if "flowcore[vision]" in one.message]) == 1
    assert missing("jpeg") == "jpeg needs no_such_cv2: pip install 'flowcore[vision]'" and not missing("zstd")
    with pytest.raises(MissingLibrary, match=r"flowcore\[vision\]"):
        library("jpeg")


def test_what_decodes_to_something_else_is_refused():
    """Too long, too short, another shape, no such form."""
    import cv2

    coded = library("zstd").compress(bytes(1000))
    _, image = cv2.imencode(".jpg", noise(20, 30))
    for form, data, shape in (
        ("raw", bytes(9), (10,)),
        ("zstd", coded, (999,)),
        ("zstd", coded[:-2], (1000,)),
        ("zstd", b"rubbish", (1000,)),
        ("jpeg", image.tobytes(), (30, 20)),
        ("jpeg", b"rubbish", (30, 20)),
        ("jpeg", image.tobytes(), (600,)),
        ("gif", bytes(10), (10,)),
    ):
        with pytest.raises(Malformed):
            decode(form, data, "|u1", shape, int(np.prod(shape)))


async def test_programs_outside_share_a_budget_and_flows_go_first(bus, camera, fetcher):
    """However much they ask for, a process of a flow is served before them, and they get what the second allows."""
    frame = noise(1080, 1920, 3)
    handle = camera.send(frame)
    outside = Fetcher(bus, OUTSIDE)
    greedy = [asyncio.create_task(outside.fetch(SUBJECT, handle)) for _ in range(20)]
    await asyncio.sleep(0)
    began_s = asyncio.get_running_loop().time()
    assert await fetcher.fetch(SUBJECT, handle) == frame.tobytes()
    assert not all(task.done() for task in greedy)
    assert await asyncio.gather(*greedy) == [frame.tobytes()] * 20
    took_s = asyncio.get_running_loop().time() - began_s
    assert took_s > (20 * frame.nbytes - (40 << 20)) / (64 << 20)
    await outside.close()


async def test_a_large_text_is_fetched_like_a_tensor(bus, camera, fetcher):
    """What spilled out of an envelope comes as bytes."""
    text = "grün " * 100_000
    data = camera.codec.pack_large({"payload": {"text": text, "n": 1}})
    camera.shown.add("frame", taken := camera.codec.taken)
    spilled = camera.codec.unpack(data)["payload"]["text"]
    assert (await fetcher.fetch(SUBJECT, spilled.handle)).decode() == text
    assert taken


async def test_a_fetched_tensor_is_private_and_read_only(bus, camera, fetcher):
    """It is filled, looks like the one that was sent, and no slot is held for it."""
    frame = picture()
    handle = camera.send(frame)
    tensor = Tensor.without_bytes(handle, "")
    assert tensor.state == "remote"
    tensor.fill(await fetcher.fetch(SUBJECT, handle))
    assert tensor.state == "private" and not tensor.numpy().flags.writeable
    assert (tensor.numpy() == frame).all()
