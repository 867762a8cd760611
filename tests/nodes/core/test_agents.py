"""The agents that ship: the nodes whose names they have, and actions."""

import pytest
from flowcore_nodes.core.geofence_agent import GeofenceAgent
from flowcore_nodes.core.pattern_agent import PatternAgent
from flowcore_nodes.core.threshold_agent import ThresholdAgent

from flowcore.node import Agent
from flowcore.node.testing import drive

DEPOT = {"name": "depot", "centre": [8.5, 47.4], "radius_m": 500}


def actions(node):
    return [(one.payload, one.topic, one.meta["do"]) for one in node.messages("action")]


async def test_a_threshold_acts_when_it_is_raised_and_cleared_also_after_a_hold_time():
    react = [
        {"on": "raised", "do": ["mqtt"], "payload": {"on": True}, "topic": "fans/{key}"},
        {"do": ["mail", "log"], "text": "{key} {state} at {value}", "meta": {"to": "a@b.c"}},
    ]
    async with drive(ThresholdAgent, field="c", key="oven", above=80, hold_s=10, actions=react) as node:
        await node.put({"oven": "o1", "c": 90})
        assert actions(node) == []
        await node.advance(11)
        await node.put({"oven": "o1", "c": 50})
        assert actions(node) == [
            ({"on": True}, "fans/o1", ["mqtt"]),
            ("o1 raised at 90", "", ["mail", "log"]),
            ("o1 cleared at 50", "", ["mail", "log"]),
        ]
        assert node.messages("action")[1].meta["to"] == "a@b.c"
        assert len(node.messages("out")) == 2


async def test_a_geofence_acts_on_crossings_and_on_dwelling():
    react = [
        {"on": "enter", "do": ["mqtt"], "text": "{thing} is in {area}"},
        {"on": "dwell", "do": ["mail"], "text": "{thing} is still in {area}"},
    ]
    async with drive(GeofenceAgent, areas=[DEPOT], dwell_s=60, actions=react) as node:
        await node.put({"lon": 8.5, "lat": 47.4}, topic="van-3")
        await node.advance(61)
        await node.put({"lon": 9.5, "lat": 47.4}, topic="van-3")
        assert [one[0] for one in actions(node)] == ["van-3 is in depot", "van-3 is still in depot"]
        assert [one["event"] for one in await node.sent(port="out")] == ["enter", "dwell", "exit"]


async def test_a_pattern_acts_when_b_follows_a_and_when_it_does_not():
    config = {
        "steps": [
            {"name": "opened", "path": "payload", "op": "==", "value": "open"},
            {"name": "closed", "path": "payload", "op": "==", "value": "close"},
        ],
        "within_s": 30, "begin": "first", "key": "topic",
        "actions": [
            {"do": ["log"], "text": "{key}: closed in time"},
            {"on": "missed", "do": ["mail"], "text": "{key}: not {waited_for} in time"},
        ],
    }  # fmt: skip
    async with drive(PatternAgent, **config) as node:
        await node.put("open", "close", topic="door-1")
        await node.put("open", topic="door-2")
        await node.advance(31)
        assert [one[0] for one in actions(node)] == ["door-1: closed in time", "door-2: not closed in time"]


async def test_a_text_with_a_place_that_the_event_has_not_is_an_error_and_the_alarm_is_told_all_the_same():
    react = [{"do": ["mail"], "text": "{machine} is hot"}, {"do": ["log"], "text": "{value}"}]
    async with drive(ThresholdAgent, above=80, actions=react) as node:
        await node.put(90)
        assert "machine" in node.errors[0]["text"] and len(node.given_up) == 1
        assert [one[0] for one in actions(node)] == ["90"] and len(node.messages("raised")) == 1


@pytest.mark.parametrize(
    "wrong", [{"do": []}, {"do": ["log"], "on": "risen"}, {"do": ["log"], "text": "{a[}"}, {"text": "no do"}]
)
def test_a_wrong_reaction_is_refused(wrong):
    with pytest.raises(ValueError):
        ThresholdAgent.Config(above=5, actions=[wrong])


def test_the_name_of_a_class_makes_its_type():
    names = {"TooHot": "agent/too-hot", "HTTPProbe2": "agent/http-probe2", "_Base": ""}
    for name, type_ in names.items():
        assert type(name, (Agent,), {"__doc__": "Look."}).type == type_
    assert type("Other", (Agent,), {"type": "acme/other"}).type == "acme/other"


async def test_an_action_can_be_followed_back_to_its_event():
    class Watch(Agent):
        """Pass on."""

        def on_message(self, message):
            return self.act(message, "mail", "text", to="me")

        def on_go(self):
            self.after(1, lambda: self.act(None, ["log"], "a second"))

    async with drive(Watch) as node:
        await node.put(5, topic="t", trace="a.out:1:1", origin=7)
        await node.advance(2)
        mail, tick = node.messages("action")
        assert (mail.payload, mail.topic, mail.meta) == ("text", "t", {"to": "me", "do": ["mail"], "agent": "node"})
        assert (mail.trace, mail.origin_ns) == ("a.out:1:1", 7)
        assert tick.meta["do"] == ["log"]
