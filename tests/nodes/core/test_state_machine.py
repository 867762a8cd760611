"""`core/state-machine`: events, conditions, time-outs; where it is survives a restart."""

import pytest
from flowcore_nodes.core.state_machine import StateMachine
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive

PRESS = {
    "event": "payload.event",
    "states": [
        {"name": "idle"},
        {"name": "running", "output": {"motor": True}, "timeout_s": 60, "timeout_to": "idle"},
        {"name": "fault", "output": {"$message": "payload.code"}},
    ],
    "transitions": [
        {"from_state": "idle", "event": "start", "to": "running", "path": "payload.bar", "op": ">=", "value": 4},
        {"from_state": "running", "event": "start", "to": "running"},
        {"from_state": "running", "event": "stop", "to": "idle"},
        {"from_state": "*", "to": "fault", "path": "payload.code", "op": "not null"},
        {"from_state": "fault", "event": "acknowledge", "to": "idle"},
    ],
}


def said(*events, **more):
    return [{"event": event, **more} for event in events]


async def test_events_and_conditions_lead_from_state_to_state():
    async with drive(StateMachine, **PRESS) as node:
        assert node.statuses[-1] == ("idle", "ok")
        await node.put(*said("start", bar=3), *said("stop"), *said("start", bar=5), {"event": "x", "code": "E7"})
        await node.put(*said("start", bar=5), *said("acknowledge"))
        assert await node.sent(port="out") == [
            {"motor": True},
            "E7",
            {"state": "idle", "previous": "fault", "event": "acknowledge", "key": ""},
        ]
        assert [(m.meta["previous"], m.meta["state"]) for m in node.messages("out")] == [
            ("idle", "running"), ("running", "fault"), ("fault", "idle"),
        ]  # fmt: skip
        assert [m["event"] for m in await node.sent(port="ignored")] == ["start", "stop", "start"]


async def test_a_state_is_left_after_its_time_which_begins_again_when_it_is_entered_again():
    async with drive(StateMachine, **PRESS) as node:
        await node.put(*said("start", bar=5))
        await node.advance(59)
        await node.put(*said("start", bar=5))
        await node.advance(59)
        assert len(node.messages("out")) == 2
        await node.advance(1)
        assert (await node.sent(port="out"))[2]["event"] == "timeout"
        assert node.statuses[-1] == ("idle", "ok")
        await node.advance(1000)
        assert len(node.messages("out")) == 3


async def test_where_it_is_and_since_when_survives_a_restart():
    store = MemoryStore()
    async with drive(StateMachine, store=store, **PRESS) as node:
        await node.advance(100)
        await node.put(*said("start", bar=5))
        begun_s = node.node.now_s()
    async with drive(StateMachine, store=store, **PRESS) as node:
        node.clock._now_s = begun_s + 50
        await node.node.on_go()
        assert node.statuses[-1] == ("running", "ok")
        await node.advance(9)
        assert node.messages("out") == []
        await node.advance(1)
        assert (await node.sent(port="out"))[0]["event"] == "timeout"


async def test_each_key_has_a_machine_and_reset_goes_back():
    async with drive(StateMachine, **PRESS, key="topic", max_keys=2) as node:
        await node.put(*said("start", bar=5), topic="a")
        await node.put(*said("start", bar=5), topic="b")
        await node.put(*said("stop"), topic="a")
        assert node.statuses[-1][0] in ("1 idle, 1 running", "1 running, 1 idle")
        await node.put(None, topic="b", meta={"reset": True})
        assert (await node.sent(port="out"))[-1] == {
            "state": "idle", "previous": "running", "event": "reset", "key": "b",
        }  # fmt: skip
        assert "reset" not in node.messages("out")[-1].meta
        await node.put(*said("start", bar=5), topic="c")
        assert "max_keys is 2" in node.errors[0]["text"]


async def test_a_live_change_takes_the_state_along_when_it_is_still_there():
    async with drive(StateMachine, **PRESS) as node:
        await node.put(*said("start", bar=5))
        await node.reconfigure(**(PRESS | {"initial": "fault"}))
        assert node.statuses[-1] == ("running", "ok")
        states = [{"name": "idle"}, {"name": "off"}]
        await node.reconfigure(states=states, transitions=[], initial="off", event="payload")
        await node.advance(0)
        assert node.statuses[-1] == ("off", "ok")
        await node.advance(100)
        assert len(node.messages("out")) == 1


async def test_events_may_be_numbers_or_anything_else():
    ways = [{"from_state": "a", "event": "5", "to": "b"}, {"from_state": "b", "event": "true", "to": "a"}]
    async with drive(StateMachine, states=[{"name": "a"}, {"name": "b"}], transitions=ways) as node:
        await node.put(5, True, None, {"x": 1}, [1], b"5")
        assert [m["state"] for m in await node.sent(port="out")] == ["b", "a"]
        assert len(node.messages("ignored")) == 4 and node.errors == []


def test_a_machine_that_can_not_work_is_refused():
    two = [{"name": "a"}, {"name": "b"}]
    for config, text in (
        ({"states": []}, "at least 1 item"),
        ({"states": [{"name": "a"}, {"name": "a"}]}, "'a' is there twice"),
        ({"states": [{"name": "*"}]}, "stands for any state"),
        ({"states": two, "initial": "c"}, "initial: no state 'c' \\(there are: a, b\\)"),
        ({"states": [{"name": "a", "timeout_s": 5}]}, "both timeout_s and timeout_to"),
        ({"states": [{"name": "a", "timeout_s": 5, "timeout_to": "x"}]}, "no state 'x'"),
        ({"states": two, "transitions": [{"from_state": "a", "event": "e", "to": "x"}]}, "transition 1: no state 'x'"),
        ({"states": two, "transitions": [{"from_state": "a", "event": "e", "to": "*"}]}, "no state '\\*'"),
        ({"states": two, "transitions": [{"from_state": "a", "to": "b"}]}, "needs an event, or a condition"),
        ({"states": two, "transitions": [{"from_state": "a", "to": "b", "op": ">"}]}, "needs a value"),
        ({"states": two, "transitions": [{"from_state": "a", "to": "b", "op": "between", "value": 1}]}, "needs value2"),
    ):
        with pytest.raises(ValidationError, match=text):
            StateMachine.Config(**config)
