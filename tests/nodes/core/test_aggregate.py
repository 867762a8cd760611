"""Aggregate: windows of time and of messages, by key, and what survives a restart."""

import math
import random
import statistics

import pytest
from flowcore_nodes.core.aggregate import Aggregate
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive

ALL = ["avg", "min", "max", "sum", "count", "stddev", "median", "first", "last"]


async def test_a_tumbling_minute_is_sent_when_it_ends():
    """The test clock starts at a full minute plus 0 s; windows are aligned to the clock."""
    async with drive(Aggregate, size=60, functions=ALL) as node:
        await node.advance(60 - node.node.now_s() % 60)
        began_s = node.node.now_s()
        await node.put(1, 2, 3, 10)
        await node.advance(59)
        assert await node.sent() == []
        await node.advance(1)
        (result,) = await node.sent()
        assert result == {
            "key": "", "from_s": began_s, "to_s": began_s + 60, "count": 4, "avg": 4.0, "min": 1, "max": 10,
            "sum": 16, "stddev": pytest.approx(statistics.stdev([1, 2, 3, 10])), "median": 2.5, "first": 1, "last": 10,
        }  # fmt: skip
        await node.advance(120)
        assert len(await node.sent()) == 1  # empty windows are not sent
        assert not [name for name in node.node.state if name.startswith(("s:", "p:"))]


async def test_a_sliding_window_looks_back_over_its_size():
    async with drive(Aggregate, window="sliding", size=30, slide=10, functions=["sum", "max"]) as node:
        await node.advance(30 - node.node.now_s() % 30)
        for value in (1, 2, 3, 4):
            await node.put(value)
            await node.advance(10)
        await node.advance(40)
        assert [(r["count"], r["sum"], r["max"]) for r in await node.sent()] == [
            (1, 1, 1),
            (2, 3, 2),
            (3, 6, 3),
            (3, 9, 4),
            (2, 7, 4),
            (1, 4, 4),
        ]
        assert not [name for name in node.node.state if name.startswith(("s:", "p:"))]


async def test_windows_of_messages():
    async with drive(Aggregate, by="count", size=3) as node:
        await node.put(1, 2, 3, 4, 5, 6, 7)
        assert [(r["min"], r["avg"], r["max"]) for r in await node.sent()] == [(1, 2, 3), (4, 5, 6)]
    async with drive(Aggregate, by="count", window="sliding", size=3, slide=1, functions=["first", "last"]) as node:
        await node.put(*range(1, 6))
        assert [(r["first"], r["last"], r["count"]) for r in await node.sent()] == [(1, 3, 3), (2, 4, 3), (3, 5, 3)]


async def test_a_series_that_fell_silent_is_sent_as_it_is():
    async with drive(Aggregate, by="count", size=10, idle_s=20, functions=["sum"]) as node:
        await node.put(1, 2)
        await node.advance(15)
        assert await node.sent() == []
        await node.advance(15)
        assert [(r["sum"], r["count"]) for r in await node.sent()] == [(3, 2)]


async def test_each_key_has_its_windows():
    async with drive(Aggregate, by="count", size=2, key="machine", field="temp_c", functions=["avg"]) as node:
        for machine, temp_c in (("a", 1), ("b", 10), ("a", 3), ("b", 30), (7, 1), (7, 1)):
            await node.put({"machine": machine, "temp_c": temp_c})
        results = await node.sent()
        assert [(r["key"], r["avg"]) for r in results] == [("a", 2), ("b", 20), (7, 1)]
        assert [message.topic for message in node.messages()] == ["a", "b", ""]


async def test_a_restart_loses_nothing():
    store = MemoryStore()
    config = {"size": 60, "functions": ["sum"], "key": "topic"}
    for numbers in ((1, 2), (3,), (4, 5)):
        async with drive(Aggregate, store=store, **config) as node:
            await node.put(*numbers, topic="a")
    async with drive(Aggregate, store=store, **config) as node:
        await node.advance(60)
        assert [(r["sum"], r["count"]) for r in await node.sent()] == [(15, 5)]


async def test_a_window_that_ended_while_the_node_was_down_is_sent_late():
    store = MemoryStore()
    async with drive(Aggregate, store=store, size=60, functions=["sum"]) as node:
        await node.put(1)
        began_s = node.node.now_s() // 60 * 60
    async with drive(Aggregate, store=store, size=60, functions=["sum"]) as node:
        node.clock._now_s += 600
        await node.put(5)
        assert [(r["sum"], r["from_s"]) for r in await node.sent()] == [(1, began_s)]


async def test_other_windows_take_over_what_was_held():
    async with drive(Aggregate, size=60, functions=["sum"]) as node:
        await node.put(1, 2)
        await node.reconfigure(by="count", size=3)
        await node.put(3)
        assert [(r["sum"], r["count"]) for r in await node.sent()] == [(6, 3)]


async def test_bad_values_are_errors_or_left_out():
    async with drive(Aggregate, by="count", size=2, functions=["avg"]) as node:
        await node.put(1, math.nan, math.inf, "x", True, None, 3)
        assert [(r["avg"], r["count"], r["ignored"]) for r in await node.sent()] == [(2, 2, 2)]
        assert [e["text"] for e in node.errors] == [
            "payload must be a number, got str 'x'",
            "payload must be a number, got bool 'True'",
            "payload must be a number, got NoneType 'None'",
        ]
    async with drive(Aggregate, by="count", size=2, functions=["first", "count"]) as node:
        await node.put("a", "b")
        assert [r["first"] for r in await node.sent()] == ["a"]


async def test_series_and_values_are_bounded():
    async with drive(Aggregate, key="topic", max_keys=2) as node:
        for topic in "abca":
            await node.put(1, topic=topic)
        assert len(node.errors) == 1 and "max_keys is 2" in node.errors[0]["text"]
    async with drive(Aggregate, functions=["median"], max_values=3) as node:
        await node.put(1, 2, 3, 4)
        assert "raise max_values" in node.errors[0]["text"]


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e12])
async def test_sums_and_deviations_stay_exact_far_from_zero(offset):
    chance = random.Random(1)
    values = [offset + chance.uniform(-1, 1) for _ in range(1000)]
    shape = {"by": "count", "window": "sliding", "size": 1000, "slide": 100}
    async with drive(Aggregate, **shape, functions=["sum", "stddev", "avg", "median"]) as node:
        await node.put(*values)
        (result,) = await node.sent()
        assert result["sum"] == math.fsum(values)
        assert result["avg"] == pytest.approx(statistics.fmean(values), rel=1e-15)
        assert result["stddev"] == pytest.approx(statistics.stdev(values), rel=1e-3 if offset < 0 else 1e-6)
        assert result["median"] == statistics.median(values)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"window": "sliding"}, "needs slide"),
        ({"window": "sliding", "size": 60, "slide": 7}, "times slide"),
        ({"slide": 5}, "for sliding windows"),
        ({"by": "count", "size": 2.5}, "whole numbers"),
        ({"functions": ["mode"]}, "Input should be"),
        ({"size": 0}, "greater than 0"),
    ],
)
def test_windows_that_do_not_fit_are_refused(config, text):
    with pytest.raises(ValidationError, match=text):
        Aggregate.Config(**config)


async def test_a_timer_that_fires_early_ends_no_window():
    """A loop's timers may fire a millisecond before the window ends; what it holds must not be forgotten then."""
    for kind in ({"size": 60}, {"window": "sliding", "size": 60, "slide": 20}):
        async with drive(Aggregate, functions=["sum"], **kind) as node:
            await node.advance(60 - node.node.now_s() % 60)
            await node.put(1, 2)
            assert [result async for result in node.node._tick()] == []
            await node.put(3)
            await node.advance(60)
            assert (await node.sent())[-1]["sum"] == 6
