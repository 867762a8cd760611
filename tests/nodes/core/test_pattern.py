"""`core/pattern`: A then B within so long, no C; by arrival or by the time in the message; it survives a restart."""

import random

import pytest
from flowcore_nodes.core.pattern import Pattern
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive

DOOR = {
    "steps": [{"name": "opened", "op": "==", "value": "open"}, {"name": "closed", "op": "==", "value": "closed"}],
    "within_s": 60,
    "key": "topic",
}


def letters(text: str, **more) -> list[dict]:
    return [{"op": "==", "value": letter, **more} for letter in text]


async def test_two_events_in_time_match_and_others_may_come_between():
    async with drive(Pattern, **DOOR) as node:
        await node.put("closed", "open", "?", topic="a")
        await node.advance(30)
        await node.put("open", topic="b")
        await node.advance(30)
        await node.put("closed", topic="a")  # on time is in time
        (match,) = await node.sent(port="out")
        assert (match["key"], round(match["to_s"] - match["from_s"])) == ("a", 60)
        assert [(event["step"], event["payload"]) for event in match["events"]] == [
            ("opened", "open"), ("closed", "closed"),
        ]  # fmt: skip
        await node.put("closed", topic="a")
        await node.advance(30.1)
        (missed,) = await node.sent(port="missed")
        assert (missed["key"], missed["waited_for"]) == ("b", "closed") and node.messages("missed")[0].topic == "b"
        assert len(await node.sent(port="out")) == 1 and node.statuses[-1] == ("1 matched", "ok")
        assert set(node.node.state) == {"shape"}  # nothing is left of keys that wait for nothing


async def test_a_door_that_says_again_that_it_is_open_is_missed_in_time():
    async with drive(Pattern, **DOOR, begin="first") as node:
        for _ in range(7):
            await node.put("open", topic="a")
            await node.advance(10)
        assert len(await node.sent(port="missed")) == 1
        await node.put("closed", topic="a")
        assert await node.sent(port="out") == []


async def test_what_must_not_come_between_ends_it():
    config = {"steps": letters("AB"), "without": letters("C"), "payloads": False}
    async with drive(Pattern, **config) as node:
        await node.put(*"CACBAB")
        assert [about["waited_for"] for about in await node.sent(port="cancelled")] == ["2"]
        (match,) = await node.sent(port="out")
        assert set(match["events"][0]) == {"step", "at_s"}


async def test_so_many_times_and_a_limit_between_steps():
    steps = [{"op": "==", "value": "fail", "times": 3, "name": "fail"}, {"op": "==", "value": "ok", "within_s": 5}]
    async with drive(Pattern, steps=steps, within_s=None) as node:
        await node.put("fail", "fail", "ok", "fail")
        await node.advance(6)
        await node.put("ok", "fail", "ok")
        (match,) = await node.sent(port="out")
        assert [event["step"] for event in match["events"]] == ["fail", "fail", "fail", "2"]


async def test_what_has_begun_survives_a_restart_and_what_ran_out_meanwhile_is_told():
    store = MemoryStore()
    async with drive(Pattern, store=store, **DOOR) as node:
        await node.put("open", topic="a")
        await node.advance(10)
        await node.put("open", topic="b")
        now_s = node.node.now_s()
    async with drive(Pattern, store=store, **DOOR) as node:
        node.clock._now_s = now_s + 55
        node.node.on_go()
        await node.advance(0)
        assert [one["key"] for one in await node.sent(port="missed")] == ["a"]
        await node.put("closed", topic="b")
        assert [one["key"] for one in await node.sent(port="out")] == ["b"]
        await node.put("open", topic="c")
    changed = DOOR | {"steps": [*DOOR["steps"], {"op": "==", "value": "locked"}]}
    async with drive(Pattern, store=store, **changed) as node:
        await node.put("closed", topic="c")
        assert [one for one in node.node.state if one != "shape"] == []  # runs of other steps say nothing here


def said(*events):
    return [{"e": letter, "t": time} for letter, time in events]


TIMED = {"steps": [{"op": "==", "path": "e", "value": letter} for letter in "AB"], "within_s": 10, "time": "t"}


@pytest.mark.parametrize("seed", range(5))
async def test_events_that_come_late_are_judged_in_the_order_of_their_times(seed):
    """Shuffled within `late_s` gives what the order of times gives."""
    random_of = random.Random(seed)
    events = said(*((random_of.choice("AABx"), float(time)) for time in range(0, 400, 2)))
    shuffled = sorted(events, key=lambda event: event["t"] + random_of.uniform(0, 20))
    assert shuffled != events

    def spans(matches):
        return [(one["from_s"], one["to_s"]) for one in matches]

    end = said(("x", 1000.0))
    async with drive(Pattern, **TIMED) as node:
        await node.put(*events, *end)
        ordered, missed = spans(await node.sent(port="out")), await node.sent(port="missed")
    async with drive(Pattern, **TIMED, late_s=20) as node:
        await node.put(*shuffled, *end)
        assert spans(await node.sent(port="out")) == ordered and len(ordered) > 10
        assert await node.sent(port="missed") == missed
        assert node.messages("late") == []


async def test_too_late_is_told_and_a_silent_key_goes_on_by_itself():
    async with drive(Pattern, **TIMED, late_s=2, idle_s=5) as node:
        await node.put(*said(("A", 100), ("B", 103), ("A", 100.5), ("A", 104)))
        assert [message.payload["t"] for message in node.messages("late")] == [100.5]
        await node.advance(4.9)
        assert await node.sent(port="out") == []  # 103 waits for what may come from 101 on
        await node.advance(0.2)
        assert [(one["from_s"], one["to_s"]) for one in await node.sent(port="out")] == [(100, 103)]
        await node.put(*said(("B", 104.5)))
        assert len(node.messages("late")) == 2  # its time had gone on to 109
        await node.advance(9)
        assert [one["from_s"] for one in await node.sent(port="missed")] == [104]


async def test_events_that_wait_survive_a_restart():
    store = MemoryStore()
    async with drive(Pattern, store=store, **TIMED, late_s=5) as node:
        await node.put(*said(("B", 103), ("A", 101)))
    async with drive(Pattern, store=store, **TIMED, late_s=5) as node:
        await node.put(*said(("x", 108)))
        assert [(one["from_s"], one["to_s"]) for one in await node.sent(port="out")] == [(101, 103)]


async def test_bad_input_is_an_error_and_the_rest_goes_on():
    async with drive(Pattern, **TIMED, key="m", max_keys=1, late_s=50, max_held=1) as node:
        await node.put({"e": "A", "t": None}, {"e": "A", "t": "soon"}, {"e": "A", "t": float("nan")}, 5)
        assert all("t is no time" in error["text"] for error in node.errors) and len(node.errors) == 4
        await node.put({"e": "A", "t": 5, "m": 1}, {"e": "B", "t": 6, "m": 1}, {"e": "A", "t": 5, "m": 2})
        assert "max_held = 1" in node.errors[4]["text"] and "max_keys is 1" in node.errors[5]["text"]
        await node.put({"e": "A", "t": "1970-01-01T00:02:00Z", "m": 1})
        assert len(node.errors) == 6


def test_a_pattern_that_can_not_work_is_refused():
    for config, text in (
        ({"steps": []}, "at least 1 item"),
        ({"steps": [{"op": ">"}]}, "needs a value"),
        ({"steps": [{"op": "==", "value": 1, "path": "a..b"}]}, "is wrong at character"),
        ({"steps": letters("A", within_s=5)}, "there is none before it"),
        ({"steps": letters("AB", times=60)}, "may be 100 events"),
        ({"steps": letters("AB"), "late_s": 5}, "for a time in the message"),
    ):
        with pytest.raises(ValidationError, match=text):
            Pattern.Config(**config)
