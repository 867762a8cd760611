"""`core/retry`: failed messages wait aside and come again; given up after some tries."""

import pytest
from flowcore_nodes.core.retry import Retry
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive

QUICK = {"times": 2, "backoff_s": 10, "factor": 3, "max_s": 25, "jitter": 0}


def caught(payload, meta=None, error="ConnectionError", **more):
    """What a catch sends."""
    message = {"id": "a.out:1:1", "port": "in", "topic": "t", "payload": payload, "meta": meta or {}, **more}
    return {"error": error, "text": "no answer", "node": "call", "tries": 1, "message": message}


async def test_a_caught_message_comes_again_with_growing_waits_until_it_is_given_up():
    async with drive(Retry, **QUICK) as node:
        await node.put(caught({"order": 1}, {"mine": 5}))
        await node.advance(9)
        assert await node.sent(port="out") == []
        await node.advance(1)
        (again,) = node.messages("out")
        assert (again.payload, again.topic, again.meta["mine"]) == ({"order": 1}, "t", 5)
        assert again.meta["retry"] | {"first_s": 0} == {"attempts": 1, "error": "no answer", "first_s": 0}
        await node.put(caught(again.payload, again.meta))
        await node.advance(24)
        assert len(node.messages("out")) == 1
        await node.advance(1)
        again = node.messages("out")[1]
        await node.put(caught(again.payload, again.meta))
        (given_up,) = node.messages("given_up")
        assert given_up.payload["message"]["payload"] == {"order": 1}
        assert given_up.meta["retry"]["why"] == "2 attempts"
        assert node.statuses[-1] == ("nothing waits", "ok")


async def test_a_message_of_its_own_is_tried_again_as_it_is():
    async with drive(Retry, backoff_s=0, jitter=0, times=1) as node:
        await node.put({"error": 5}, topic="x", meta={"a": 1})
        await node.advance(0)
        (again,) = node.messages("out")
        assert (again.payload, again.topic, again.meta["retry"]["attempts"]) == ({"error": 5}, "x", 1)
        await node.put(again.payload, meta=again.meta)
        assert await node.sent(port="given_up") == [{"error": 5}]


async def test_others_do_not_wait_behind_it_and_what_waits_survives_a_restart():
    store = MemoryStore()
    async with drive(Retry, store=store, **QUICK) as node:
        await node.put(caught("slow", {"retry": {"attempts": 1}}))
        await node.put(caught("quick"))
        await node.advance(10)
        assert await node.sent(port="out") == ["quick"]
    async with drive(
        Retry, store=store, **QUICK
    ) as node:  # its clock begins anew: the rest of the wait is still to come
        await node.advance(24)
        assert await node.sent(port="out") == []
        await node.advance(1)
        assert await node.sent(port="out") == ["slow"]


@pytest.mark.parametrize(
    ("config", "body", "why"),
    [
        ({}, caught(1, error="GiveUp"), "a GiveUp is not tried again"),
        ({"errors": ["TimeoutError"]}, caught(1), "a ConnectionError is not tried again"),
        ({}, caught(1, is_cut=True), "the message was too large to be kept whole in its error"),
        ({"max_held": 1}, caught(1), "1 wait, max_held is 1"),
        ({}, caught("x" * 17_000_000), "the limit is 16,777,216"),
    ],
)
async def test_what_is_of_no_use_is_given_up_at_once(config, body, why):
    async with drive(Retry, **config) as node:
        if "max_held" in config:
            await node.put(caught("first"))
        await node.put(body)
        assert why in node.messages("given_up")[0].meta["retry"]["why"]


async def test_a_full_node_may_send_the_first_in_turn():
    async with drive(Retry, max_held=2, when_full="send_oldest", jitter=0) as node:
        await node.put(caught("a", {"retry": {"attempts": 2}}), caught("b"), caught("c"))
        assert await node.sent(port="out") == ["b"]
        await node.advance(10)
        assert await node.sent(port="out") == ["b", "c", "a"]


async def test_a_count_that_is_none_is_an_error():
    async with drive(Retry) as node:
        await node.put(1, meta={"retry": {"attempts": "many"}})
        assert "attempts must be a number" in node.errors[0]["text"]
        await node.put(1, meta={"retry": "many"})
        assert len(node.errors) == 1


def test_settings_that_can_not_work_are_refused():
    for config in ({"times": 0}, {"factor": 0.5}, {"max_s": 0}, {"jitter": 1}):
        with pytest.raises(ValidationError):
            Retry.Config(**config)
