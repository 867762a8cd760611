"""`core/schedule`: at its time, once, by one of several runtimes, through restarts and changes of the clock."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from flowcore_nodes.core.schedule import Job, Schedule

from flowcore.node.testing import MemoryValues, drive

HOURLY = {"name": "report", "cron": "0 * * * *", "payload": {"a": 1}}
HOUR = 3600


def times(zone: str, after: str, count: int, holidays=(), **job) -> list[str]:
    """When a job is due, in its zone."""
    local = ZoneInfo(zone)
    begin_s = datetime.fromisoformat(after).replace(tzinfo=local).timestamp()
    found = Job(name="x", **job).times(begin_s, local, frozenset(map(date.fromisoformat, holidays)))
    return [datetime.fromtimestamp(due_s, local).isoformat() for due_s, _ in zip(found, range(count), strict=False)]


def test_times_are_those_of_the_zone():
    """Days of the week, the change to summer time, holidays, once."""
    assert times("Europe/Berlin", "2026-03-27T12:00", 3, days=["sat", "sun", "mon"], time="06:30") == [
        "2026-03-28T06:30:00+01:00", "2026-03-29T06:30:00+02:00", "2026-03-30T06:30:00+02:00",
    ]  # fmt: skip
    assert times("UTC", "2026-12-23T12:00", 2, ["2026-12-25"], cron="0 8 * * *", on_holidays=False) == [
        "2026-12-24T08:00:00+00:00", "2026-12-26T08:00:00+00:00",
    ]  # fmt: skip
    assert times("Asia/Tokyo", "2026-01-01T00:00", 2, at="2026-01-01T18:00") == ["2026-01-01T18:00:00+09:00"]
    assert times("Asia/Tokyo", "2026-01-02T00:00", 2, at="2026-01-01T18:00") == []


async def test_a_job_runs_at_its_time_and_not_again_after_a_restart():
    """However far the clock is moved at once, each run is at its time, and none is missed."""
    config = {"contexts": MemoryValues(), "jobs": [HOURLY]}
    async with drive(Schedule, **config) as node:
        await node.advance(2 * HOUR)
        first = await node.sent_messages(2)
        assert [(one.payload, one.topic) for one in first] == [({"a": 1}, "report")] * 2
        about = [one.meta["schedule"] for one in first]
        assert [one["due"] for one in about] == ["2025-06-15T16:00:00+00:00", "2025-06-15T17:00:00+00:00"]
        assert [one["missed"] for one in about] == [0, 0] and len(node.messages()) == 2
        clock_s = node.engine.now_s()
    async with drive(Schedule, **config) as node:
        await node.advance(max(0.0, clock_s - node.engine.now_s()))
        assert node.messages("out") == []
        await node.put({"job": "report", "action": "history"})
        (told,) = await node.sent(1, port="history")
        assert [run["how"] for run in told["history"]] == ["ran", "ran"]


async def test_of_two_runtimes_one_runs_it():
    values = MemoryValues()
    both = {"contexts": values, "jobs": [{**HOURLY, "cron": "* * * * *"}], "late_s": 3600}
    async with drive(Schedule, **both) as one, drive(Schedule, **both) as two:
        for _ in range(30):
            await one.advance(60)
            await two.advance(60)
        got = [m.meta["schedule"]["due"] for node in (one, two) for m in node.messages("out")]
        assert len(got) == len(set(got)) and 29 <= len(got) <= 31


@pytest.mark.parametrize(("missed", "runs"), [("once", 1), ("skip", 0)])
async def test_what_was_missed_is_told_and_made_up_for_once_or_not(missed, runs):
    """The machine slept for five hours."""
    values = MemoryValues()
    async with drive(Schedule, contexts=values, jobs=[HOURLY], missed=missed) as node:
        await node.advance(0)
        key = next(iter(values.entries))
    record = await _record(values, key)
    values.entries[key] = (_packed({**record, "due": record["due"] - 5 * HOUR}), 1)
    async with drive(Schedule, contexts=values, jobs=[HOURLY], missed=missed, late_s=1) as node:
        await node.advance(0)
        (told,) = await node.sent(1, port="missed")
        assert told["count"] in (4, 5) and told["made_up_for"] is bool(runs)
        assert len(node.messages("out")) == runs


async def test_a_run_whose_runtime_died_is_made_by_another():
    values = MemoryValues()
    async with drive(Schedule, contexts=values, jobs=[HOURLY]) as node:
        await node.advance(0)
        key = next(iter(values.entries))
    record = await _record(values, key)
    values.entries[key] = (_packed({**record, "by": "dead", "done": False, "claimed": record["due"] - 100}), 1)
    async with drive(Schedule, contexts=values, jobs=[HOURLY]) as node:
        await node.advance(0)
        assert await node.sent(1) == [{"a": 1}]


async def test_jobs_are_disabled_enabled_and_run_by_hand():
    async with drive(Schedule, jobs=[HOURLY]) as node:
        await node.advance(0)
        await node.put({"job": "report", "action": "disable"})
        await node.advance(3 * HOUR)
        assert await node.sent() == []
        await node.put({"job": "report", "action": "run"})
        assert await node.sent(port="out") == [{"a": 1}]
        await node.put({"job": "report", "action": "enable"})
        await node.advance(0)
        await node.put({"job": "report", "action": "history"}, {"job": "lunch", "action": "run"}, {"job": "report"})
        (told,) = await node.sent(port="history")
        assert told["enabled"] and told["next"] and [run["how"] for run in told["history"]] == ["by hand"]
        assert [error["error"] for error in node.errors] == ["GiveUp"] * 2
        await node.advance(HOUR + 1)
        assert len(await node.sent(2, port="out")) == 2 and node.messages("missed") == []


@pytest.mark.parametrize(
    ("job", "why"),
    [
        ({}, "needs cron"),
        ({"cron": "61 * * * *"}, "no cron"),
        ({"time": "06:30"}, "no days"),
        ({"days": ["mon"], "time": "25:00"}, "25:00"),
        ({"at": "tomorrow"}, "tomorrow"),
        ({"cron": "* * * * *", "at": "2026-01-01"}, "needs cron"),
    ],
)
async def test_wrong_jobs_are_refused(job, why):
    with pytest.raises(ValueError, match=why):
        async with drive(Schedule, jobs=[{"name": "x", **job}]):
            pass


async def _record(values, key: str) -> dict:
    from flowcore.bus.envelope import unpack

    return unpack((await values.get(key))[0])


def _packed(record: dict) -> bytes:
    from flowcore.bus.envelope import pack

    return pack(record)
