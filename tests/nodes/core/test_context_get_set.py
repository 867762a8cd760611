"""`core/context-get` and `core/context-set`: values that nodes share."""

import asyncio

import pytest
from flowcore_nodes.core.context_get import ContextGet
from flowcore_nodes.core.context_set import ContextSet
from pydantic import ValidationError

from flowcore.node.testing import MemoryValues, drive


async def shared(values, key, **config):
    """What is there, as a node reads it."""
    async with drive(ContextGet, contexts=values, key=key, **config) as node:
        await node.put("asked")
        return (await node.sent())[0]


async def test_a_value_goes_from_one_node_to_another():
    values = MemoryValues()
    async with drive(ContextSet, contexts=values, key="limits.oven.top", value="payload.t") as node:
        await node.put({"t": 80}, topic="x")
        assert await node.sent() == [{"t": 80}]
    assert await shared(values, "limits") == {"oven": {"top": 80}}
    assert await shared(values, 'limits["oven"]') == {"top": 80}
    assert await shared(values, "limits.oven.bottom", default=5) == 5
    assert await shared(values, "limits", scope="global") is None
    async with drive(ContextGet, contexts=values, key="limits.oven.top", to="payload.limit") as node:
        await node.put({"t": 1})
        assert await node.sent() == [{"t": 1, "limit": 80}]


async def test_what_is_deleted_is_not_there():
    values = MemoryValues()
    async with drive(ContextSet, contexts=values, key="a", scope="global") as node:
        await node.put({"b": 1, "c": 2})
    async with drive(ContextSet, contexts=values, key="a.b", scope="global", action="delete") as node:
        await node.put(1, 1)
        assert node.errors == []
    assert await shared(values, "a", scope="global") == {"c": 2}
    async with drive(ContextSet, contexts=values, key="a", scope="global", value="payload.none") as node:
        await node.put({})
    assert await shared(values, "a", scope="global", default="gone") == "gone"


async def test_two_nodes_that_increase_at_once_are_both_counted():
    values = MemoryValues()

    async def count(amount):
        async with drive(
            ContextSet, contexts=values, key="sums.n", action="increment", amount=amount, to="meta.n"
        ) as node:
            await node.put(*range(100))
            return [message.meta["n"] for message in node.messages()]

    ups, downs = await asyncio.gather(count(3), count(-1))
    assert await shared(values, "sums.n") == 200
    assert len(set(ups)) == 100 and len(downs) == 100


async def test_append_keeps_the_newest():
    values = MemoryValues()
    async with drive(ContextSet, contexts=values, key="last", action="append", max_items=2) as node:
        await node.put(1, 2, 3)
    assert await shared(values, "last") == [2, 3]


async def test_a_key_of_the_message_is_a_key_as_a_whole():
    values = MemoryValues()
    async with drive(ContextSet, contexts=values, key={"$message": "topic"}, action="increment") as node:
        await node.put(1, 1, topic="plant/a.b")
        await node.put(1)
        assert node.errors[0]["text"] == "the key must be a text, got ''"
    async with drive(ContextGet, contexts=values, key={"$message": "topic"}) as node:
        await node.put(1, topic="plant/a.b")
        assert await node.sent() == [2]


@pytest.mark.parametrize(
    ("config", "payload", "text"),
    [
        ({"action": "increment", "amount": {"$message": "payload"}}, "5", "amount must be a number, got '5'"),
        ({"action": "increment"}, 1, "only a number can be increased, there is str 'text'"),
        ({"action": "append"}, 1, "only to a list can be appended"),
        ({"key": "a.b"}, 1, "can't set .b in a text"),
    ],
)
async def test_what_can_not_be_done_is_an_error_and_changes_nothing(config, payload, text):
    values = MemoryValues()
    async with drive(ContextSet, contexts=values, key="a") as node:
        await node.put("text")
    async with drive(ContextSet, contexts=values, **({"key": "a"} | config)) as node:
        await node.put(payload)
        assert await node.sent() == []
        assert text in node.errors[0]["text"]
    assert await shared(values, "a") == "text"


def test_keys_that_are_none_are_refused():
    for key in ("", "[0]", "a..b"):
        with pytest.raises(ValidationError):
            ContextGet.Config(key=key)
        with pytest.raises(ValidationError):
            ContextSet.Config(key=key)
