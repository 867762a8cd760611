"""Link call: what it calls, what it takes as an answer, and what it says when it cannot."""

import asyncio

import pytest
from flowcore_nodes.core.link_call import LinkCall

from flowcore.node.testing import drive


class Callee:
    """Answers what a driven caller calls; its output stands in for the one to the callee."""

    def __init__(self, node) -> None:
        self.node = node

    async def calls(self, n):
        return (await self.node.sent_messages(n))[-n:]

    async def answer(self, call, payload, **more):
        await self.node.put(payload, port="answer", meta={**call.meta, **more})


@pytest.fixture
async def calling():
    """A link call with its outputs in one list, and one message in it: (node, callee, the put to await)."""
    async with drive(LinkCall, targets={"a": "out"}, links=["a"], timeout_s=5) as node:
        putting = asyncio.create_task(node.put(1, topic="t", meta={"mine": 1}))
        yield node, Callee(node), putting


async def test_the_answer_goes_on_and_the_stack_is_as_before(calling):
    """The payload and topic are the answer's, the meta without the call."""
    node, callee, putting = calling
    (call,) = await callee.calls(1)
    assert call.payload == 1 and call.meta["_linkSource"][-1]["node"] == "test/node"
    await callee.answer(call, "done", seen=True)
    await putting
    (_, answer) = await node.sent_messages(2)
    assert (answer.payload, answer.meta) == ("done", {"mine": 1, "seen": True})


async def test_a_call_inside_a_call_keeps_the_outer_one(calling):
    """The stack grows by one for each call, and the answer to the inner one leaves the outer one's way back."""
    node, callee, putting = calling
    (outer,) = await callee.calls(1)
    inner = asyncio.create_task(node.put(2, meta=outer.meta))
    (call,) = (await node.sent_messages(2))[1:]
    assert len(call.meta["_linkSource"]) == 2
    await callee.answer(call, "inner")
    await inner
    (_, _, back) = await node.sent_messages(3)
    assert back.meta == outer.meta
    await callee.answer(back, "outer")
    await putting


async def test_answers_out_of_order_find_their_messages():
    """Many calls at once, as many as are allowed; the next waits for its turn."""
    async with drive(LinkCall, targets={"a": "out"}, links=["a"], max_in_flight=3) as node:
        putting = asyncio.create_task(node.put(0, 1, 2, 3, 4))
        calls = await node.sent_messages(3)
        await asyncio.sleep(0)
        assert len(node.messages()) == 3
        node.clear()
        await Callee(node).answer(calls[2], 20)
        await Callee(node).answer(calls[0], 0)
        more = [one for one in await node.sent_messages(4) if one.meta]
        for call in (*more, calls[1]):
            await Callee(node).answer(call, call.payload * 10)
        await putting
        assert sorted(one.payload for one in node.messages() if not one.meta) == [0, 10, 20, 30, 40]


async def test_what_is_not_answered_in_time_is_an_error_and_late_answers_are_counted():
    """With `late` = send they go on, as in Node-RED; what nobody called for is counted, too."""
    async with drive(LinkCall, targets={"a": "out"}, links=["a"], timeout_s=0.05) as node:
        await node.put(1)
        assert node.errors[0]["error"] == "CallTimeout" and "'a' did not answer within 0.05 s" in node.errors[0]["text"]
        assert [body["message"]["payload"] for body in node.given_up] == [1]
        (call,) = node.messages()
        await Callee(node).answer(call, "late")
        assert node.statuses == [("1 answers came late", "warn")]
        await node.put("nobody's", port="answer")
        assert node.statuses[-1] == ("2 answers came late", "warn")
        assert len(node.messages()) == 1
        await node.reconfigure(late="send")
        await Callee(node).answer(call, "later")
        assert [one.payload for one in await node.sent_messages(2)] == [1, "later"]


@pytest.mark.parametrize(
    ("meta", "why"),
    [
        ({}, "meta.target must be"),
        ({"target": 5}, "meta.target must be"),
        (
            {"target": "chek"},
            "no link-in 'chek' may be called here; did you mean 'check'? (there are: check, two, gone)",
        ),
        ({"target": "two"}, "several link-ins are named 'two'"),
        ({"target": "gone"}, "link-in 'gone' leads nowhere"),
        ({"target": "check", "_linkSource": [{}] * 100}, "calls itself without end"),
    ],
)
async def test_a_target_that_cannot_be_called_is_an_error_of_its_message(meta, why):
    """At once, not after the time-out."""
    targets = {"check": "out", "two": "", "gone": "call_gone"}
    async with drive(LinkCall, mode="dynamic", targets=targets) as node:
        await node.put(1, meta=meta)
        assert why in node.errors[0]["text"]
        assert node.messages() == []


async def test_what_is_called_may_change_while_a_call_waits(calling):
    """Other targets, another time-out, more at once: no restart."""
    node, callee, putting = calling
    await node.reconfigure(links=["b"], targets={"b": "out"}, max_in_flight=7)
    more = asyncio.create_task(node.put(*range(6)))
    calls = await callee.calls(7)
    for call in calls:
        await callee.answer(call, None)
    await putting
    await more
    await node.reconfigure(max_in_flight=1)
    last = asyncio.create_task(node.put("x"))
    await callee.answer((await node.sent_messages(15))[14], "y")
    await last


async def test_a_flow_that_is_not_deployed_cannot_be_called():
    """Said at once."""
    async with drive(LinkCall, links=["other/a"]) as node:
        await node.put(1)
        assert "its flow is not deployed" in node.errors[0]["text"]
