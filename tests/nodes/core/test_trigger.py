"""Trigger: send, wait, send; watchdogs; repetition; what is under way survives a kill."""

import pytest
from flowcore_nodes.core.trigger import Trigger
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, MemoryValues, drive


async def test_send_wait_send():
    async with drive(Trigger, seconds=10) as node:
        await node.put("a", topic="t", meta={"mine": 1})
        await node.advance(5)
        await node.put("b")
        assert await node.sent() == [1]
        await node.advance(5)
        assert await node.sent() == [1, 0]
        assert {(one.topic, one.meta["mine"]) for one in node.messages()} == {("t", 1)}
        await node.put("c")
        assert await node.sent() == [1, 0, 1]


@pytest.mark.parametrize(
    ("config", "sent"),
    [
        ({"then": "message"}, [1, "a"]),
        ({"then": "newest"}, [1, "b"]),
        ({"then": "nothing"}, [1]),
        ({"send": "message"}, ["a", 0]),
        ({"send": "nothing"}, [0]),
        ({"value": {"on": True}, "then_value": None}, [{"on": True}, None]),
        ({"value": {"$message": "payload"}}, ["a", 0]),
    ],
)
async def test_what_is_sent(config, sent):
    async with drive(Trigger, seconds=10, **config) as node:
        await node.put("a")
        await node.advance(6)
        await node.put("b")
        await node.advance(6)
        assert await node.sent() == sent


async def test_further_messages_extend_the_time_and_the_second_value_has_its_output():
    async with drive(Trigger, seconds=10, extend=True, then="newest", second_output=True) as node:
        await node.put("a")
        await node.advance(9)
        await node.put("b")
        await node.advance(9)
        assert await node.sent(port="later") == []
        await node.advance(2)
        assert (await node.sent(port="out"), await node.sent(port="later")) == ([1], ["b"])


async def test_a_watchdog_barks_when_nothing_comes_also_after_a_restart():
    config = {"send": "nothing", "extend": True, "seconds": 10, "then_value": "silent"}
    store = MemoryStore()
    async with drive(Trigger, store=store, **config) as node:
        for _ in range(3):
            await node.put("alive")
            await node.advance(8)
        assert await node.sent() == []
        await node.advance(3)
        assert await node.sent() == ["silent"]
        await node.put("alive")
    async with drive(Trigger, store=store, **config) as node:
        node.clock._now_s += 60
        await node.advance(0.01)
        await node.advance(30)
        assert await node.sent() == ["silent"]
    async with drive(Trigger, watch_from_start=True, **config) as node:
        await node.advance(11)
        assert await node.sent() == ["silent"]
        await node.advance(60)
        assert await node.sent() == ["silent"]


async def test_until_a_reset_only_the_first_does_something():
    async with drive(Trigger, mode="until_reset", reset_payload="stop") as node:
        await node.put("a", "b", "stop", "c", "d")
        await node.put(None, meta={"reset": True})
        await node.advance(1000)
        await node.put("e")
        assert await node.sent() == [1, 1, 1]
    async with drive(Trigger, mode="until_reset", reset_payload="0") as node:
        await node.put("a", 0, "b")
        assert await node.sent() == [1, 1]


async def test_repetition_goes_on_until_a_reset_and_over_a_restart():
    store = MemoryStore()
    config = {"mode": "repeat", "seconds": 10, "send": "message"}
    async with drive(Trigger, store=store, **config) as node:
        await node.put("a")
        await node.advance(25)
        assert await node.sent() == ["a"] * 3
        await node.put("b")
        await node.advance(11)
        assert (await node.sent())[3:] == ["b", "b"]
    async with drive(Trigger, store=store, **config) as node:
        node.clock._now_s += 1000
        await node.advance(25)
        assert await node.sent() == ["b"] * 3  # what was missed is not made up for
        await node.put(None, meta={"reset": True})
        await node.advance(100)
        assert len(await node.sent()) == 3


async def test_each_topic_is_triggered_by_itself():
    async with drive(Trigger, seconds=10, key="topic", from_message=True) as node:
        await node.put("x", topic="a")
        await node.put("x", topic="b", meta={"delay": 2000})
        await node.put(None, topic="a", meta={"reset": True})
        await node.advance(3)
        assert [(one.topic, one.payload) for one in await node.sent_messages()] == [("a", 1), ("b", 1), ("b", 0)]
        await node.put("x", topic="a")
        await node.put("x", topic="b")
        await node.put(None, meta={"reset": True})
        await node.advance(30)
        assert len(await node.sent()) == 5


@pytest.mark.parametrize(("when_full", "sent"), [("drop_oldest", [1, 1, 1, 0, 0]), ("emit", [1, 1, 0, 1, 0, 0])])
async def test_a_full_store_does_what_it_is_told(when_full, sent):
    async with drive(Trigger, seconds=10, key="topic", max_held=2, when_full=when_full) as node:
        for topic in "abc":
            await node.put("x", topic=topic)
        await node.advance(10)
        assert await node.sent() == sent


async def test_a_value_may_lie_in_a_context():
    values = MemoryValues()
    async with drive(Trigger, contexts=values, value={"$flow": "level"}, then="nothing") as node:
        await node.node.flow_context.set("level", 7)
        await node.put("a")
        assert await node.sent() == [7]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"mode": "repeat", "extend": True}, "for the mode then"),
        ({"mode": "repeat", "send": "nothing"}, "something to send"),
        ({"watch_from_start": True, "key": "topic"}, "key must be empty"),
        ({"value": {"$message": "a..b"}}, "wrong at character"),
    ],
)
def test_a_trigger_that_can_not_work_is_refused(config, text):
    with pytest.raises(ValidationError, match=text):
        Trigger.Config(**config)
