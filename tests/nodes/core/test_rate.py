"""Rate: delays, limits, queues; what waits survives a kill, timers included."""

import pytest
from flowcore_nodes.core.rate import Rate
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive


async def test_a_fixed_delay_keeps_order_topic_and_trace():
    async with drive(Rate, seconds=5) as node:
        await node.put("a", topic="t", meta={"mine": 1}, trace="begun")
        await node.advance(2)
        await node.put("b")
        await node.advance(2.9)
        assert await node.sent() == []
        await node.advance(0.2)
        (message,) = await node.sent_messages()
        assert (message.payload, message.topic, message.meta) == ("a", "t", {"mine": 1})
        assert message.envelope["trace"] == "begun"
        await node.advance(2)
        assert await node.sent() == ["a", "b"]


async def test_a_message_may_say_its_delay_in_milliseconds():
    async with drive(Rate, seconds=5, from_message=True) as node:
        for value, delay in ((1, 3000), (2, 1000), (3, "0"), (4, None), (5, "soon")):
            await node.put(value, meta={"delay": delay})
        assert await node.sent() == [3]
        await node.advance(10)
        assert await node.sent() == [3, 2, 1, 4, 5]
        assert node.messages()[1].meta == {}


async def test_a_random_delay_lies_between_its_ends():
    async with drive(Rate, seconds=1, up_to_s=3) as node:
        await node.put(*range(50))
        await node.advance(0.99)
        assert await node.sent() == []
        await node.advance(2.02)
        assert sorted(await node.sent()) == list(range(50)) != await node.sent()


async def test_what_waits_survives_a_restart_and_what_is_overdue_is_sent_at_once():
    store = MemoryStore()
    async with drive(Rate, store=store, seconds=5) as node:
        await node.put("a")
        await node.advance(3)
        await node.put("b")
    async with drive(Rate, store=store, seconds=5) as node:  # its clock begins where the first began
        await node.advance(5)
        assert await node.sent() == ["a"]
    async with drive(Rate, store=store, seconds=5) as node:
        node.clock._now_s += 60
        await node.advance(0.01)
        await node.advance(10)
        assert await node.sent() == ["b"]
    async with drive(Rate, store=store, seconds=5) as node:
        assert not node.node.state


async def test_a_limit_queues_what_is_too_much():
    async with drive(Rate, mode="limit", messages=2, per_s=1) as node:
        await node.put(1, 2, 3, 4)
        assert await node.sent() == [1]
        await node.advance(0.51)
        assert await node.sent() == [1, 2]
        await node.advance(1)
        assert await node.sent() == [1, 2, 3, 4]
        await node.advance(0.6)
        await node.put(5)
        assert (await node.sent())[-1] == 5


async def test_a_burst_may_go_at_once_after_a_pause():
    async with drive(Rate, mode="limit", messages=1, per_s=1, burst=3) as node:
        await node.put(*range(5))
        assert await node.sent() == [0, 1, 2]
        await node.advance(1)
        assert await node.sent() == [0, 1, 2, 3]
        await node.advance(10)
        await node.put(*range(10, 14))
        assert await node.sent() == [0, 1, 2, 3, 4, 10, 11, 12]


async def test_a_limit_drops_to_the_second_output_or_keeps_the_newest():
    async with drive(Rate, mode="limit", over="drop") as node:
        await node.put(1, 2)
        await node.advance(1)
        await node.put(3)
        assert (await node.sent(port="out"), await node.sent(port="dropped")) == ([1, 3], [2])
    async with drive(Rate, mode="limit", over="newest") as node:
        await node.put(1, 2, 3, 4)
        await node.advance(1)
        assert (await node.sent(port="out"), await node.sent(port="dropped")) == ([1, 4], [2, 3])


async def test_each_series_has_a_limit_of_its_own():
    async with drive(Rate, mode="limit", key="topic") as node:
        for topic, value in (("a", 1), ("b", 2), ("a", 3), ("b", 4)):
            await node.put(value, topic=topic)
        assert await node.sent() == [1, 2]
        await node.advance(1)
        assert await node.sent() == [1, 2, 3, 4]


@pytest.mark.parametrize(("mode", "sent"), [("in_turn", [3, 2]), ("all_at_once", [3, 2, 4])])
async def test_the_newest_of_each_topic_in_turn_or_together(mode, sent):
    async with drive(Rate, mode=mode) as node:
        for topic, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
            await node.put(value, topic=topic)
        assert await node.sent() == []
        await node.advance(2 if mode == "in_turn" else 1)
        assert await node.sent() == sent


async def test_reset_flush_front_and_pace():
    async with drive(Rate, mode="limit", from_message=True) as node:
        await node.put(1, 2, 3, 4)
        await node.put("first", meta={"toFront": True})
        await node.put(None, meta={"flush": 2})
        assert await node.sent() == [1, "first", 2]
        await node.put(5, meta={"flush": True})
        assert await node.sent() == [1, "first", 2, 3, 4, 5]
        await node.put(6, 7)
        await node.put(None, meta={"reset": True})
        await node.advance(60)
        assert len(await node.sent()) == 6
        await node.put(8, meta={"rate": 100})
        await node.put(9)
        await node.advance(0.11)
        assert (await node.sent())[-2:] == [8, 9]
    async with drive(Rate) as node:
        await node.put(1, 2, 3)
        await node.put(None, meta={"flush": 1})
        assert await node.sent() == [1]
        await node.put(None, meta={"reset": True})
        await node.advance(60)
        assert await node.sent() == [1]


@pytest.mark.parametrize(
    ("when_full", "out", "dropped"),
    [("drop_oldest", [3, 4], [1, 2]), ("drop_newest", [1, 2], [3, 4]), ("emit", [1, 2, 3, 4], [])],
)
async def test_a_full_store_does_what_it_is_told(when_full, out, dropped):
    async with drive(Rate, max_held=2, when_full=when_full) as node:
        await node.put(1, 2, 3, 4)
        assert (await node.sent(port="dropped")) == dropped
        await node.advance(5)
        assert await node.sent(port="out") == out
        assert bool(node.statuses) == bool(dropped)


async def test_what_waits_in_memory_is_not_written():
    async with drive(Rate, hold="memory") as node:
        await node.put(1)
        assert not node.node.state
        await node.reconfigure(hold="state", seconds=9)
        assert len(node.node.state) == 1
        await node.advance(5)
        assert await node.sent() == [1]


def test_a_rate_that_can_not_work_is_refused():
    for config, text in (({"up_to_s": 1}, "less than seconds"), ({"burst": 2}, "for the mode limit")):
        with pytest.raises(ValidationError, match=text):
            Rate.Config(**config)
