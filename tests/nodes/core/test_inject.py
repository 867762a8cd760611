"""Inject: by hand, at intervals, at times of day, at start."""

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from flowcore_nodes.core.inject import Inject
from pydantic import ValidationError

from flowcore.node.testing import drive


async def test_the_button_sends_the_payload_or_its_own():
    async with drive(Inject, payload={"a": 1}, topic="t", meta={"m": 1}) as node:
        await node.put(None)
        await node.put("other", topic="mine", meta={"n": 2})
        first, second = await node.sent_messages(2)
        assert (first.payload, first.topic, first.meta) == ({"a": 1}, "t", {"m": 1})
        assert (second.payload, second.topic, second.meta) == ("other", "mine", {"m": 1, "n": 2})


async def test_at_start_once():
    async with drive(Inject, payload=1, at_start=True, start_delay_s=2) as node:
        await node.advance(1.9)
        assert await node.sent() == []
        await node.advance(0.2)
        assert await node.sent(1) == [1]
        await node.reconfigure(payload=2)
        await node.advance(10)
        assert await node.sent() == [1]


async def test_at_an_interval():
    async with drive(Inject, every_s=90, kind="timestamp") as node:
        start_s = node.node.now_s()
        await node.advance(89)
        assert await node.sent() == []
        await node.advance(1)
        await node.advance(180)
        assert await node.sent() == [int((start_s + 90 * n) * 1000) for n in (1, 2, 3)]


async def test_a_new_interval_counts_from_now():
    async with drive(Inject, every_s=100) as node:
        await node.advance(50)
        await node.reconfigure(every_s=10)
        await node.advance(10)
        assert len(await node.sent()) == 1


async def test_at_times_of_day_in_a_time_zone():
    zone = ZoneInfo("Europe/Berlin")
    async with drive(Inject, cron="30 6 * * *", time_zone="Europe/Berlin", kind="now") as node:
        await node.advance(3 * 86_400)
        times = [datetime.fromisoformat(text) for text in await node.sent(3)]
        assert [(t.hour, t.minute, t.utcoffset()) for t in times] == [
            (6, 30, datetime(2025, 6, 16, tzinfo=zone).utcoffset())
        ] * 3
        assert [b.day - a.day for a, b in pairwise(times)] == [1, 1]


async def test_cron_with_seconds():
    async with drive(Inject, cron="* * * * * */20") as node:
        await node.advance(60)
        assert len(await node.sent()) == 3


async def test_an_inject_without_a_rhythm_waits_for_its_button():
    async with drive(Inject) as node:
        await node.advance(86_400)
        assert await node.sent() == []
        assert node.errors == []


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"cron": "61 * * * *"}, "is no cron expression"),
        ({"cron": "* *"}, "is no cron expression"),
        ({"time_zone": "Berlin"}, "no time zone 'Berlin'"),
        ({"time_zone": "../etc/passwd"}, "no time zone"),
        ({"every_s": 5, "cron": "* * * * *"}, "exclude each other"),
        ({"every_s": 0.0001}, "at least 0.001 s"),
        ({"kind": "date"}, "Input should be"),
    ],
)
def test_times_that_are_none_are_refused(config, text):
    with pytest.raises(ValidationError, match=text):
        Inject.Config(**config)
