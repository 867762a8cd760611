"""Numbers stay with what they were given to: through gaps, weak boxes, crossings, a restart; each camera for itself."""

import numpy as np
import pytest
from flowcore_nodes.vision.tracker import Tracker

from flowcore.node.testing import MemoryStore, drive


def frame(number: int, boxes: dict, source: str = "gate", confidence: float = 0.9) -> dict:
    """Detections of a frame; `boxes`: name of the thing -> centre, or (centre, confidence). The name travels along."""
    seen = []
    for name, at in boxes.items():
        (x, y), sure = at if isinstance(at[0], tuple) else (at, confidence)
        seen.append({"class": "part", "confidence": sure, "box": [x - 20, y - 30, x + 20, y + 30], "name": name})
    return {"width": 640, "height": 480, "number": number, "source": source, "detections": seen}


def numbers(sent) -> list[dict]:
    return [{one["name"]: one["track"] for one in each["detections"]} for each in sent]


async def test_a_number_comes_on_the_second_frame_and_stays():
    async with drive(Tracker) as node:
        await node.put(*(frame(n, {"a": (50 + 6 * n, 100), "b": (400 - 6 * n, 300)}) for n in range(50)))
        sent = await node.sent()
    found = numbers(sent)
    assert found[0] == {"a": None, "b": None} and found[1:] == [found[1]] * 49
    assert sorted(found[1].values()) == [1, 2]
    assert sent[5]["detections"][0]["previous"] == [50 + 6 * 4, 100]


async def test_it_survives_a_gap_and_weak_boxes():
    """Out of sight for 20 frames; then only seen weakly for 10: no other number. Weak boxes alone begin nothing."""
    async with drive(Tracker, hits=1) as node:
        for n in range(60):
            if 20 <= n < 40:
                boxes = {}
            else:
                boxes = {"a": ((50 + 4 * n, 100), 0.3 if n >= 50 else 0.9), "ghost": ((500, 400), 0.3)}
            await node.put(frame(n, boxes))
        found = numbers(await node.sent())
    assert {one["a"] for one in found if one} == {1}
    assert {one["ghost"] for one in found if one} == {None}


async def test_it_is_forgotten_in_the_end():
    async with drive(Tracker, hits=1, lost=5) as node:
        await node.put(frame(0, {"a": (50, 100)}), *(frame(n, {}) for n in range(1, 8)), frame(8, {"a": (50, 100)}))
        found = numbers(await node.sent())
    assert found[0] == {"a": 1} and found[8] == {"a": 2}


async def test_two_that_meet_keep_their_numbers():
    """They pass each other so closely that their boxes overlap: the way each one goes tells them apart."""
    async with drive(Tracker) as node:
        await node.put(*(frame(n, {"a": (50 + 5 * n, 100), "b": (350 - 5 * n, 135)}) for n in range(60)))
        found = numbers(await node.sent())
    assert found[-1] == found[1]


async def test_a_restart_changes_nothing():
    """Halfway to another process: the same numbers, boxes and places as without it."""
    rng = np.random.default_rng(5)
    places = {f"t{k}": np.cumsum(rng.normal(0, 3, (60, 2)), axis=0) + rng.uniform(80, 400, 2) for k in range(8)}
    frames = [
        frame(n, {name: tuple(way[n].tolist()) for name, way in places.items() if rng.random() > 0.15})
        for n in range(60)
    ]
    async with drive(Tracker) as node:
        await node.put(*frames)
        whole = await node.sent()
    store = MemoryStore()
    async with drive(Tracker, store=store) as node:
        await node.put(*frames[:30])
        first = await node.sent()
    async with drive(Tracker, store=store) as node:
        await node.put(*frames[30:])
        assert [*first, *await node.sent()] == whole


async def test_cameras_and_classes_are_apart():
    other = frame(0, {"a": (50, 100)})
    other["detections"][0] |= {"class": "person", "class_id": 1}
    async with drive(Tracker, hits=1) as node:
        await node.put(frame(0, {"a": (50, 100)}), frame(0, {"a": (50, 100)}, "yard"), other)
        assert numbers(await node.sent()) == [{"a": 1}, {"a": 1}, {"a": 2}]


async def test_what_has_no_number_can_be_left_out():
    async with drive(Tracker, untracked=False) as node:
        await node.put(frame(0, {"a": (50, 100)}), frame(1, {"a": (52, 100)}))
        assert numbers(await node.sent()) == [{}, {"a": 1}]


@pytest.mark.parametrize("payload", [{"width": 3}, {"width": 64, "height": 48, "detections": [{"box": [1, 2]}]}, 7])
async def test_what_are_no_detections_is_refused(payload):
    async with drive(Tracker) as node:
        await node.put(payload)
        assert "Detections" in node.errors[0]["text"] and not await node.sent()
