"""Join: sequences, counts, times, maps; and what survives a restart."""

import pytest
from flowcore_nodes.core.join import Join
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive


def part(index, count=None, id="s", **more):
    parts = {"id": id, "index": index, **more}
    return {"parts": parts if count is None else {**parts, "count": count}}


async def test_a_sequence_is_joined_in_its_order():
    async with drive(Join) as node:
        await node.put("c", meta=part(2))
        await node.put("x", meta=part(0, 2, id="other"))
        await node.put("a", meta=part(0))
        await node.put("b", meta={**part(1, 3), "mine": 1}, topic="t")
        (message,) = await node.sent_messages(1)
        assert message.payload == ["a", "b", "c"]
        assert (message.topic, message.meta) == ("t", {"mine": 1})
        assert len(node.node.state) == 1  # the other sequence waits


async def test_a_sequence_says_what_it_was():
    async with drive(Join) as node:
        for index, text in enumerate(("a", "b")):
            await node.put(text, meta=part(index, 2, type="text", joiner="-"))
        for index, key in enumerate(("x", "y")):
            await node.put(index, meta=part(index, 2, type="map", key=key))
        assert await node.sent() == ["a-b", {"x": 0, "y": 1}]


async def test_a_part_that_comes_twice_counts_once():
    async with drive(Join) as node:
        await node.put("a", meta=part(0, 2))
        await node.put("A", meta=part(0, 2))
        assert await node.sent() == []
        await node.put("b", meta=part(1, 2))
        assert await node.sent() == [["A", "b"]]


@pytest.mark.parametrize(
    ("config", "payloads", "joined"),
    [
        ({"count": 3}, [1, 2, 3, 4], [[1, 2, 3]]),
        ({"count": 2, "result": "text", "joiner": ", "}, ["a", 1], ["a, 1"]),
        ({"count": 2, "result": "bytes"}, [b"a", "b"], [b"ab"]),
        ({"count": 3, "result": "reduced"}, [1, 2.5, 3], [6.5]),
        ({"count": 2, "result": "reduced", "reduce": "avg", "value": "v"}, [{"v": 1}, {"v": 2}], [1.5]),
        ({"count": 2, "whole": True}, [1, 2], [[{"payload": n, "topic": "", "meta": {}} for n in (1, 2)]]),
        ({"count": 2, "result": "merged"}, [{"a": 1, "b": 1}, {"b": 2}], [{"a": 1, "b": 2}]),
        (
            {"count": 2, "result": "map", "key": "k", "value": "v"},
            [{"k": "x", "v": 1}, {"k": "y", "v": 2}],
            [{"x": 1, "y": 2}],
        ),
        ({"count": 2, "group": "g"}, [{"g": 1}, {"g": 2}, {"g": 1}], [[{"g": 1}, {"g": 1}]]),
    ],
)
async def test_a_count_of_messages(config, payloads, joined):
    async with drive(Join, mode="manual", **config) as node:
        await node.put(*payloads)
        assert await node.sent() == joined


async def test_a_map_keeps_the_newest_value_of_each_key():
    async with drive(Join, mode="manual", result="map", count=2, each=True) as node:
        for topic, value in (("a", 1), ("a", 2), ("b", 3), ("a", 4)):
            await node.put(value, topic=topic)
        assert await node.sent() == [{"a": 2, "b": 3}, {"a": 4, "b": 3}]


async def test_a_time_out_sends_what_is_there():
    async with drive(Join, mode="manual", timeout_s=10) as node:
        await node.put(1)
        await node.advance(6)
        await node.put(2, topic="t")
        await node.advance(3.9)
        assert await node.sent() == []
        await node.advance(0.2)
        (message,) = await node.sent_messages(1)
        assert (message.payload, message.topic) == ([1, 2], "t")
        await node.put(3)
        await node.advance(10)
        assert await node.sent() == [[1, 2], [3]]


async def test_a_message_may_end_or_reset_a_group():
    async with drive(Join, mode="manual", count=10) as node:
        await node.put(1, 2)
        await node.put(3, meta={"complete": True})
        await node.put(4)
        await node.put(None, meta={"complete": True})
        await node.put(5)
        await node.put(None, meta={"reset": True})
        await node.put(None, meta={"complete": True})
        assert await node.sent() == [[1, 2, 3], [4]]


async def test_the_time_of_a_group_may_begin_anew():
    """Also when the node was restarted meanwhile."""
    store, config = MemoryStore(), {"mode": "manual", "timeout_s": 10}
    async with drive(Join, store=store, **config) as node:
        await node.put(1)
        await node.advance(6)
        await node.put(2, meta={"restartTimeout": True})
        await node.advance(6)
        assert await node.sent() == []
        await node.advance(4)
        (message,) = await node.sent_messages()
        assert (message.payload, message.meta) == ([1, 2], {})
        await node.put(3)
        node.clock._now_s += 5
        await node.put(4, meta={"restartTimeout": True})
    async with drive(Join, store=store, **config) as node:
        node.clock._now_s += 25
        await node.advance(2)
        assert await node.sent() == []
        await node.advance(5)
        assert await node.sent() == [[3, 4]]


async def test_a_manual_join_takes_the_count_of_a_sequence_when_it_has_none():
    async with drive(Join, mode="manual") as node:
        await node.put("a", meta=part(0, 2))
        await node.put("b", meta=part(1, 2))
        assert await node.sent() == [["a", "b"]]


async def test_an_automatic_join_may_be_ended_early():
    """By a part of the sequence, or all that waits by a message that is no part."""
    async with drive(Join) as node:
        await node.put("a", meta=part(0, 9))
        await node.put("b", meta={**part(1), "complete": True})
        await node.put("c", meta=part(0, 9, id="x"))
        await node.put(None, meta={"complete": True})
        assert await node.sent() == [["a", "b"], ["c"]]


async def test_what_waits_survives_a_restart():
    store = MemoryStore()
    config = {"mode": "manual", "count": 4, "timeout_s": 10}
    for value in (1, 2):
        async with drive(Join, store=store, **config) as node:
            await node.put(value)
    async with drive(Join, store=store, **config) as node:
        await node.put(3, 4, 5)
        assert await node.sent() == [[1, 2, 3, 4]]
    async with drive(Join, store=store, **config) as node:
        await node.advance(10)
        assert await node.sent() == [[5]]


async def test_what_waits_in_memory_is_not_written_and_moves_when_told():
    async with drive(Join, mode="manual", count=3, hold="memory") as node:
        await node.put(1)
        assert len(node.node.state) == 0
        await node.reconfigure(hold="state")
        await node.put(2)
        assert len(node.node.state) == 2
        await node.put(3)
        assert await node.sent() == [[1, 2, 3]]


async def test_a_full_store_drops_the_oldest_or_sends_the_oldest_group():
    async with drive(Join, max_held=3) as node:
        for index in range(5):
            await node.put(index, meta=part(index))
        assert [entry[3][0] for entry in node.node.state.values()] == [2, 3, 4]
        assert node.statuses[-1] == ("2 dropped: more than 3 waited", "warn")
    async with drive(Join, max_held=2, when_full="emit") as node:
        for name in ("a", "b", "c"):
            await node.put(name, meta=part(0, 2, id=name))
        assert await node.sent() == [["a"]]


async def test_a_failed_message_leaves_what_waits():
    async with drive(Join, mode="manual", count=2, result="merged") as node:
        await node.put({"a": 1}, "text", {"b": 2})
        assert await node.sent() == [{"a": 1, "b": 2}]
        assert node.errors[0]["text"] == "only maps can be merged, got str"


async def test_what_can_not_be_joined_is_an_error():
    async with drive(Join) as node:
        await node.put(1)
        assert "no meta.parts" in node.errors[0]["text"]
    async with drive(Join, mode="manual", result="map", count=2) as node:
        await node.put(1)
        assert node.errors[0]["text"] == "no key for the map at 'topic'"
    async with drive(Join, mode="manual", value="payload.v") as node:
        await node.put({})
        assert "nothing at 'v'" in node.errors[0]["text"]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"count": 2000}, "must not be more than max_held"),
        ({"each": True}, "for map and merged"),
        ({"key": "a..b"}, "wrong at character"),
    ],
)
def test_a_join_that_can_not_work_is_refused(config, text):
    with pytest.raises(ValidationError, match=text):
        Join.Config(mode="manual", **config)


async def test_what_is_no_text_is_written_as_json_would():
    """Between bytes comes a joiner only when one is set."""
    async with drive(Join, mode="manual", result="text", joiner="-", count=4) as node:
        await node.put("a", 2, True, None)
        assert await node.sent() == ["a-2-true-"]
    async with drive(Join, mode="manual", result="bytes", count=2) as node:
        await node.put(b"a", b"b")
        assert await node.sent() == [b"ab"]
    async with drive(Join, mode="manual", result="bytes", joiner="\n", count=2) as node:
        await node.put(b"a", b"b")
        assert await node.sent() == [b"a\nb"]
