"""Threshold: hysteresis, hold time, cooldown, series, and what survives a restart."""

import math

import pytest
from flowcore_nodes.core.threshold import Threshold
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive


def states(events):
    return [(event["state"], event["value"]) for event in events]


async def test_it_raises_once_and_clears_past_the_clear_level():
    async with drive(Threshold, above=80, clear_below=70) as node:
        await node.put(79, 80, 81, 85, 75, 71, 82, 70, 60, 81, topic="oven")
        events = await node.sent(port="out")
        assert states(events) == [("raised", 81), ("cleared", 70), ("raised", 81)]
        assert events[0].items() >= {"key": "", "limit": 80.0, "side": "above", "topic": "oven"}.items()
        assert await node.sent(port="raised") == [events[0], events[2]]
        assert await node.sent(port="cleared") == [events[1]]
        assert node.statuses[-1] == ("1 raised", "warn")


async def test_below_has_its_own_hysteresis():
    async with drive(Threshold, below=5, clear_above=8, above=100) as node:
        await node.put(4, 6, 8, 101, 100)
        assert [(e["state"], e["side"]) for e in await node.sent(port="out")] == [
            ("raised", "below"),
            ("cleared", "below"),
            ("raised", "above"),
            ("cleared", "above"),
        ]


async def test_it_must_stay_past_the_limit_for_the_hold_time():
    async with drive(Threshold, above=10, hold_s=5) as node:
        await node.put(11)
        await node.advance(3)
        await node.put(9)  # came back: the hold begins anew
        await node.advance(5)
        assert await node.sent() == []
        await node.put(12)
        await node.advance(4.9)
        await node.put(13)
        assert await node.sent() == []
        await node.advance(0.2)  # no message needed
        assert states(await node.sent(port="out")) == [("raised", 13)]


async def test_clearing_has_a_hold_time_too():
    async with drive(Threshold, above=10, clear_hold_s=2) as node:
        await node.put(11, 9)
        await node.advance(1)
        await node.put(11, 9)
        await node.advance(1.5)
        assert states(await node.sent(port="out")) == [("raised", 11)]
        await node.advance(1)
        assert states(await node.sent(port="out")) == [("raised", 11), ("cleared", 9)]


async def test_after_an_alarm_the_series_cools_down():
    async with drive(Threshold, above=10, cooldown_s=60) as node:
        await node.put(11, 9, 12)
        assert states(await node.sent(port="out")) == [("raised", 11), ("cleared", 9)]
        await node.advance(61)  # still past the limit: raised when cooled down
        assert states(await node.sent(port="out"))[2:] == [("raised", 12)]


async def test_series_have_alarms_of_their_own():
    async with drive(Threshold, field="temp_c", key="machine", above=80) as node:
        for machine, temp_c in (("a", 81), ("b", 20), ("b", 90), ("a", 20)):
            await node.put({"machine": machine, "temp_c": temp_c})
        assert [(e["key"], e["state"]) for e in await node.sent(port="out")] == [
            ("a", "raised"),
            ("b", "raised"),
            ("a", "cleared"),
        ]


async def test_the_limit_may_come_with_the_message():
    async with drive(Threshold, field="v", above={"$message": "payload.limit"}) as node:
        await node.put({"v": 5, "limit": 6}, {"v": 5, "limit": 4}, {"v": 5})
        assert states(await node.sent(port="out")) == [("raised", 5)]
        assert "payload.limit" in node.errors[0]["text"] or "limit" in node.errors[0]["text"]


async def test_alarms_and_what_is_held_survive_a_restart():
    store = MemoryStore()
    async with drive(Threshold, store=store, above=10, hold_s=5, key="topic") as node:
        await node.put(11, topic="a")
        await node.advance(6)
        await node.put(12, topic="b")
    async with drive(Threshold, store=store, above=10, hold_s=5, key="topic") as node:
        await node.put(13, topic="a")
        assert await node.sent() == []  # it is raised already
        await node.advance(12)  # the test clock began anew
        assert [(e["key"], e["state"]) for e in await node.sent(port="out")] == [("b", "raised")]
        await node.put(9, topic="a")
        assert states(await node.sent(port="cleared")) == [("cleared", 9)]


async def test_broken_sensors_change_nothing_and_words_are_errors():
    async with drive(Threshold, above=10) as node:
        await node.put(11, math.nan, math.inf, "hot", True, 9)
        assert states(await node.sent(port="out")) == [("raised", 11), ("cleared", 9)]
        assert [e["text"] for e in node.errors] == [
            "payload must be a number, got str 'hot'",
            "payload must be a number, got bool 'True'",
        ]


async def test_series_are_bounded():
    async with drive(Threshold, above=10, key="topic", max_keys=2) as node:
        for topic in ("a", "b", "c"):
            await node.put(11, topic=topic)
        assert len(await node.sent(port="out")) == 2
        assert "max_keys is 2" in node.errors[0]["text"]


async def test_a_new_limit_holds_at_once():
    async with drive(Threshold, above=10) as node:
        await node.reconfigure(above=5)
        await node.put(6)
        assert states(await node.sent(port="out")) == [("raised", 6)]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"above": 10, "clear_below": 11}, "must not be higher than above"),
        ({"below": 10, "clear_above": 9}, "must not be lower than below"),
        ({"above": 10, "below": 10}, "must be lower than above"),
        ({"above": 1, "field": "a..b"}, "wrong at character"),
        ({"above": 1, "hold_s": -1}, "greater than or equal to 0"),
    ],
)
def test_limits_that_do_not_fit_are_refused(config, text):
    with pytest.raises(ValidationError, match=text):
        Threshold.Config(**config)


async def test_a_threshold_without_a_limit_does_not_start():
    with pytest.raises(ValueError, match="needs above, below or both"):
        async with drive(Threshold):
            pass
