"""Version 1 between edge and processor: complete, each message once, and foreign ones refused."""

import base64
import json

import cv2
import numpy as np
import pytest
from flowcore_nodes.vision.from_message import FromMessage
from flowcore_nodes.vision.to_message import ToMessage

from flowcore.node.testing import MemoryStore, drive

FRAME = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8), (9, 9), 0)


def seen(number: int, **more) -> dict:
    one = {"class": "person", "class_id": 4, "confidence": 0.5, "box": [1, 2, 11, 22], "track": 7, "previous": [5, 12]}
    about = {"width": 64, "height": 48, "number": number, "source": "gate", "time_ns": 10 + number}
    return {**about, "detections": [one], **more}


async def edge(*payloads, store=None, **config) -> list[dict]:
    """What the edge sends, as it comes out of JSON."""
    async with drive(ToMessage, store=store, device="line-1", **config) as node:
        await node.put(*payloads)
        assert not node.errors, node.errors
        return json.loads(json.dumps(await node.sent()))


async def test_the_message_is_as_documented():
    (message,) = await edge(seen(3))
    session = message["source"].pop("session")
    assert len(session) == 16 and message == {
        "version": 1,
        "source": {"device": "line-1", "camera": "gate", "time_ns": 13, "sequence": 1},
        "frame": {"number": 3, "width": 64, "height": 48, "region": [0, 0, 64, 48]},
        "detections": [
            {
                "track": 7, "class": 4, "name": "person", "confidence": 0.5, "box": [1, 2, 11, 22],
                "centre": [6, 12], "previous": [5, 12],
            }
        ],
    }  # fmt: skip


async def test_the_processor_gets_what_the_edge_has_seen():
    messages = await edge(seen(3, frame=FRAME), frame="jpeg", quality=95)
    async with drive(FromMessage) as node:
        await node.put(*messages)
        (got,) = await node.sent()
    assert np.abs(got.pop("frame").numpy().astype(int) - FRAME).mean() < 3
    assert got.pop("region") == [0, 0, 64, 48] and got.pop("source") == "line-1/gate"
    wanted = seen(3)
    del wanted["source"]
    assert got == json.loads(json.dumps(wanted))


async def test_a_reference_is_the_frame_itself():
    async with drive(ToMessage, device="line-1", frame="reference") as node, drive(FromMessage) as processor:
        await node.put(seen(3, frame=FRAME))
        await processor.put(*await node.sent())
        assert np.array_equal((await processor.sent())[0]["frame"].numpy(), FRAME)


async def test_each_message_counts_once_also_over_restarts_of_both():
    """Sent twice, around a restart here and there; another session begins anew; a gap is told."""
    edge_store, store = MemoryStore(), MemoryStore()
    messages = await edge(seen(0), seen(1), store=edge_store) + await edge(seen(2), seen(3), store=edge_store)
    assert [one["source"]["sequence"] for one in messages] == [1, 2, 3, 4]
    other = await edge(seen(9))
    got = []
    for part in (messages[:2], messages[1:3], [messages[0], messages[3], messages[3], *other]):
        async with drive(FromMessage, store=store) as node:
            await node.put(*part)
            got += [one["number"] for one in await node.sent()]
    assert got == [0, 1, 2, 3, 9] and node.statuses[-1] == ("2 came again, 0 are missing", "ok")


async def test_what_comes_late_is_waited_for_and_put_in_order():
    """As a broker does it after a crash: first what is new, then again what was not confirmed. A restart in between."""
    messages, store, got = await edge(*(seen(n, frame=FRAME) for n in range(8)), frame="jpeg"), MemoryStore(), []
    for part in ([0, 1, 4], [5, 1, 3, 4], [2, 3, 6, 7]):
        async with drive(FromMessage, store=store) as node:
            await node.put(*(messages[k] for k in part))
            got += await node.sent()
    assert [one["number"] for one in got] == list(range(8)) and all(one["frame"].shape == (48, 64, 3) for one in got)
    assert node.statuses == [("1 came again, 0 are missing", "ok")]


async def test_what_never_comes_is_given_up_and_counted():
    """After `wait_s`, or when too many wait for it; a second gap behind it is waited for by itself."""
    messages = await edge(*(seen(n) for n in range(12)))
    async with drive(FromMessage, wait_s=5, hold=3) as node:
        await node.put(messages[0], messages[3])
        await node.advance(4)
        await node.put(messages[6])
        assert [one["number"] for one in await node.sent()] == [0]
        await node.advance(2)
        assert [one["number"] for one in await node.sent()] == [0, 3]
        assert node.statuses[-1] == ("0 came again, 2 are missing", "warn")
        await node.put(messages[7], messages[9], messages[10])
        assert [one["number"] for one in await node.sent()] == [0, 3, 6, 7]
        await node.put(messages[8])
        assert [one["number"] for one in await node.sent()] == [0, 3, 6, 7, 8, 9, 10]


async def test_frames_without_anything_can_be_left_out():
    assert len(await edge(seen(0, detections=[]), seen(1))) == 2
    assert [one["source"]["sequence"] for one in await edge(seen(0, detections=[]), seen(1), empty=False)] == [1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.update(version=2), "version 1, this one has 2"),
        (lambda m: m.clear(), "this one has None"),
        (lambda m: m["source"].pop("session"), "source.session"),
        (lambda m: m["detections"][0].update(box=[1, 2]), "detections.0.box"),
    ],
)
async def test_what_is_no_such_message_is_refused_and_the_next_is_taken(change, says):
    bad, good = await edge(seen(0), seen(1))
    change(bad)
    async with drive(FromMessage) as node:
        await node.put(bad, good)
        assert says in node.errors[0]["text"] and [one["number"] for one in await node.sent()] == [1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"jpeg": "!"}, "no JPEG in base64"),
        ({"jpeg": base64.b64encode(b"no").decode()}, "no JPEG in base64"),
        ({"reference": "x"}, "no tensor"),
    ],
)
async def test_what_was_seen_counts_also_without_its_frame(change, says):
    messages = await edge(seen(0), seen(1))
    messages[0]["frame"] |= change
    async with drive(FromMessage) as node:
        await node.put(*messages)
        assert says in node.errors[0]["text"]
        assert [(one["number"], one["frame"]) for one in await node.sent()] == [(0, None), (1, None)]
