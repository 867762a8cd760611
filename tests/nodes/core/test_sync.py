"""Sync: sets by time stamp, whatever order the messages come in; what is unmatched; kills."""

import random

import numpy as np
import pytest
from flowcore_nodes.core.sync import Sync
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive

BY_STAMP = {"stamp": "t", "unit": "s", "tolerance_s": 0.1}


async def put(node, *messages):
    """`("a", 1.0)`: a message with this stamp into this input."""
    for name, stamp in messages:
        await node.put({"t": stamp}, port=name, topic=name)


def stamps(payloads):
    return [{name: value["t"] for name, value in payload.items()} for payload in payloads]


async def test_messages_of_one_time_make_a_set():
    async with drive(Sync, **BY_STAMP) as node:
        await put(node, ("a", 1.0), ("a", 2.0), ("b", 1.05), ("b", 1.5), ("b", 2.08), ("a", 3.0), ("b", 2.95))
        assert stamps(await node.sent()) == [{"a": 1.0, "b": 1.05}, {"a": 2.0, "b": 2.08}, {"a": 3.0, "b": 2.95}]
        made = node.messages()[0]
        assert (made.topic, made.meta["stamps"]) == ("b", {"a": 1.0, "b": 1.05})
        assert not node.node.state


async def test_the_nearest_one_is_taken_and_each_at_most_once():
    async with drive(Sync, inputs=["a", "b", "c"], unmatched="send", **BY_STAMP) as node:
        await put(node, ("a", 1.0), ("a", 1.06), ("b", 0.5), ("b", 1.07), ("c", 1.08), ("c", 1.09))
        assert stamps(await node.sent(port="out")) == [{"a": 1.06, "b": 1.07, "c": 1.08}]
        left = await node.sent_messages(port="unmatched")
        assert {(one.meta["input"], one.payload["t"]) for one in left} == {("a", 1.0), ("b", 0.5)}


@pytest.mark.parametrize("seed", range(3))
async def test_of_two_clocks_with_jitter_all_that_fit_are_found(seed):
    """Ten a second, jitter well below the tolerance, streams that lag behind each other."""
    rng = random.Random(seed)
    a = [("a", n / 10 + rng.uniform(-0.01, 0.01)) for n in range(60)]
    b = [("b", n / 10 + rng.uniform(-0.01, 0.01)) for n in range(60) if n % 7]
    mixed = []
    while a or b:
        mixed.append((a if a and (not b or rng.random() < 0.5) else b).pop(0))
    async with drive(Sync, stamp="t", unit="s", tolerance_s=0.03) as node:
        await put(node, *mixed)
        sets = stamps(await node.sent())
        assert [round(one["a"] * 10) for one in sets] == [n for n in range(60) if n % 7]
        assert all(abs(one["a"] - one["b"]) <= 0.03 for one in sets)


async def test_a_message_that_waited_too_long_is_unmatched():
    store = MemoryStore()
    config = {**BY_STAMP, "inputs": ["a", "b", "c"], "timeout_s": 5, "unmatched": "partial"}
    async with drive(Sync, store=store, **config) as node:
        await put(node, ("a", 1.0), ("b", 1.05))
        await node.advance(3)
    async with drive(Sync, store=store, **config) as node:
        await node.advance(4.9)
        assert await node.sent() == []
        await node.advance(0.2)
        assert stamps(await node.sent()) == [{"a": 1.0, "b": 1.05}]
        assert not node.node.state


async def test_stamps_of_the_engine_and_frames_in_memory():
    async with drive(Sync, inputs=["left", "right"], hold="memory", tolerance_s=0.01) as node:
        for name, origin in (("left", 10**18), ("right", 10**18 + 2 * 10**6)):
            await node.put(np.full((200, 200), 7, np.uint8), port=name, origin=origin)
        (made,) = await node.sent()
        assert set(made) == {"left", "right"} and int(made["left"].numpy().max()) == 7
        assert not node.node.state


async def test_a_full_store_gives_the_oldest_up_and_a_reset_all():
    async with drive(Sync, max_held=2, unmatched="send", **BY_STAMP) as node:
        await put(node, ("a", 1.0), ("a", 2.0), ("a", 3.0), ("b", 1.0))
        assert stamps([{"x": one} for one in await node.sent(port="unmatched")])[0] == {"x": 1.0}
        await node.put({"t": 0}, port="a", meta={"reset": True})
        assert not node.node.state


async def test_what_has_no_time_stamp_is_an_error():
    async with drive(Sync, **BY_STAMP) as node:
        await put(node, ("a", "noon"), ("a", None))
        await node.put({}, port="b")
        assert ["is no time stamp" in error["text"] for error in node.errors] == [True, True, False]
    with pytest.raises(ValidationError, match="two inputs or more"):
        Sync.Config(inputs=["a", "a"])
