"""Delay until: times of the day, times in messages; what waits survives a kill."""

import datetime
from zoneinfo import ZoneInfo

import pytest
from flowcore_nodes.core.delay_until import DelayUntil
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive

BERLIN = ZoneInfo("Europe/Berlin")


def stand_at(node, text):
    """Set the node's clock."""
    node.clock._now_s = datetime.datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


async def test_messages_wait_for_the_next_time_of_the_day():
    config = {"times": ["18:00", "06:30"], "time_zone": "Europe/Berlin"}
    async with drive(DelayUntil, **config) as node:
        stand_at(node, "2026-03-28T17:59:00")
        await node.put("evening", topic="t")
        await node.advance(61)
        await node.put("morning")
        await node.advance(12.5 * 3600 - 2 - 3600)  # the clocks go forward in this night
        assert await node.sent() == ["evening"]
        await node.advance(3)
        assert await node.sent() == ["evening", "morning"]
        assert node.messages()[0].topic == "t"


async def test_only_on_some_weekdays():
    async with drive(DelayUntil, times=["08:00"], weekdays=["mon"], time_zone="Europe/Berlin") as node:
        stand_at(node, "2026-06-02T09:00:00")  # a Tuesday
        await node.put(1)
        await node.advance(6 * 86_400 - 3601)
        assert await node.sent() == []
        await node.advance(2)
        assert await node.sent() == [1]


async def test_a_message_may_say_its_time():
    """Seconds, milliseconds, ISO 8601 with and without zone; in the order of their times."""
    async with drive(DelayUntil, until="message", path="at", time_zone="Europe/Berlin") as node:
        stand_at(node, "2026-06-01T12:00:00")
        now_s = node.clock.now_s()
        for name, at in (
            ("iso", "2026-06-01T12:00:04"), ("zone", "2026-06-01T10:00:03+00:00"), ("s", now_s + 1),
            ("ms", (now_s + 2) * 1000), ("past", now_s - 5),
        ):  # fmt: skip
            await node.put({"n": name, "at": at})
        await node.advance(10)
        assert [payload["n"] for payload in await node.sent()] == ["past", "s", "ms", "zone", "iso"]


async def test_what_has_passed_may_be_dropped_or_fail():
    for past in ("drop", "error"):
        async with drive(DelayUntil, until="message", path="at", past=past) as node:
            await node.put({"at": 5})
            assert len(await node.sent(port="dropped")) == (past == "drop")
            assert len(node.errors) == (past == "error")
            await node.put({"at": "soon"}, {"at": None}, {})
            texts = [error["text"] for error in node.errors[-3:]]
            assert "is no time: 'soon'" in texts[0] and "is no time" in texts[1] and "nothing at 'at'" in texts[2]


async def test_what_waits_survives_a_restart_and_what_fell_due_is_sent_at_the_start():
    store = MemoryStore()
    async with drive(DelayUntil, store=store, until="message", path="at") as node:
        now_s = node.clock.now_s()
        await node.put({"at": now_s + 5}, {"at": now_s + 100})
    async with drive(DelayUntil, store=store, until="message", path="at") as node:
        node.clock._now_s += 50
        await node.advance(0.01)
        assert [payload["at"] - now_s for payload in await node.sent()] == [5]
        await node.put(None, meta={"flush": True})
        assert len(await node.sent()) == 2
        await node.put({"at": now_s + 100})
        await node.put(None, meta={"reset": True})
        await node.advance(100)
        assert len(await node.sent()) == 2 and not node.node.state


@pytest.mark.parametrize(("when_full", "port"), [("drop_oldest", "dropped"), ("emit", "out")])
async def test_a_full_store_does_what_it_is_told(when_full, port):
    async with drive(DelayUntil, until="message", path="at", max_held=1, when_full=when_full) as node:
        later_s = node.clock.now_s() + 5
        await node.put({"at": later_s, "n": 1}, {"at": later_s, "n": 2})
        assert [payload["n"] for payload in await node.sent(port=port)] == [1]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"times": ["25:00"]}, "no time of day"),
        ({"times": ["8"]}, "no time of day"),
        ({"times": []}, "needs times"),
        ({"time_zone": "Mars/Olympus"}, "no time zone"),
    ],
)
def test_a_delay_that_can_not_end_is_refused(config, text):
    with pytest.raises(ValidationError, match=text):
        DelayUntil.Config(**config)
