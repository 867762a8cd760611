"""Split: every kind of value, streams, and the way back through a join."""

import pytest
from flowcore_nodes.core.join import Join
from flowcore_nodes.core.split import Split
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive


@pytest.mark.parametrize(
    ("config", "payload", "parts"),
    [
        ({}, [1, [2], {"a": 3}], [1, [2], {"a": 3}]),
        ({"items": 2}, [1, 2, 3, 4, 5], [[1, 2], [3, 4], [5]]),
        ({}, {"a": 1, "b": None}, [1, None]),
        ({}, "a\nb\n", ["a", "b", ""]),
        ({}, "", [""]),
        ({"separator": ", "}, "a, b", ["a", "b"]),
        ({"length": 2}, "abcde", ["ab", "cd", "e"]),
        ({}, b"a\nb", [b"a", b"b"]),
        ({"separator": [13, 10]}, b"a\r\nb", [b"a", b"b"]),
        ({"length": 2}, b"abc", [b"ab", b"c"]),
        ({}, [], []),
    ],
)
async def test_what_is_split_can_be_joined_again(config, payload, parts):
    """Each part knows its place; a join in automatic mode gives what there was."""
    async with drive(Split, **config) as split, drive(Join) as join:
        await split.put(payload, topic="t", meta={"mine": 1})
        made = await split.sent_messages()
        assert [message.payload for message in made] == parts
        assert [(one.meta["parts"]["index"], one.meta["parts"]["count"]) for one in made] == [
            (index, len(parts)) for index in range(len(parts))
        ]
        for message in reversed(made):
            await join.put(message.payload, topic=message.topic, meta=message.meta)
        joined = await join.sent_messages()
        assert [(one.payload, one.topic, one.meta) for one in joined] == [(payload, "t", {"mine": 1})] * bool(parts)


async def test_splits_may_be_nested():
    """The parts of the outer sequence come back when the inner one is joined."""
    async with drive(Split) as outer, drive(Split, separator=" ") as inner, drive(Join) as join:
        await outer.put(["a b", "c"])
        for message in await outer.sent_messages():
            await inner.put(message.payload, meta=message.meta)
        for message in await inner.sent_messages():
            await join.put(message.payload, meta=message.meta)
        lines = await join.sent_messages()
        assert [message.payload for message in lines] == ["a b", "c"]
        for message in lines:
            await join.put(message.payload, meta=message.meta)
        assert (await join.sent())[-1] == ["a b", "c"]
        assert "parts" not in join.messages()[-1].meta


async def test_another_part_of_the_message_can_be_split_and_keys_are_put_where_asked():
    async with drive(Split, path="payload.rows", key_to="topic") as node:
        await node.put({"rows": {"x": 1, "y": 2}, "id": 7})
        made = [(message.topic, message.payload) for message in await node.sent_messages()]
        assert made == [("x", {"rows": 1, "id": 7}), ("y", {"rows": 2, "id": 7})]


async def test_a_stream_keeps_what_comes_after_the_last_separator():
    """Also over a restart; numbers go on, and a reset begins anew."""
    store = MemoryStore()
    async with drive(Split, store=store, stream=True) as node:
        await node.put("a\nb", "c\nd")
        assert await node.sent() == ["a", "bc"]
    async with drive(Split, store=store, stream=True) as node:
        await node.put("e\n")
        (message,) = await node.sent_messages()
        assert (message.payload, message.meta["parts"]["index"]) == ("de", 2)
        assert "count" not in message.meta["parts"]
        await node.put("lost")
        await node.put(None, meta={"reset": True})
        await node.put("f\n")
        assert (await node.sent())[-1] == "f"
    async with drive(Split, stream=True, length=3) as node:
        await node.put(b"ab", b"cdef")
        assert await node.sent() == [b"abc", b"def"]
        await node.put("text")
        assert "reset it first" in node.errors[0]["text"]


async def test_what_can_not_be_split_is_an_error():
    async with drive(Split) as node:
        await node.put(5, None, True)
        assert [error["text"].partition(", got ")[2] for error in node.errors] == ["int", "NoneType", "bool"]
    for config, text in (({"separator": ""}, "must not be empty"), ({"separator": [300]}, "from 0 to 255")):
        with pytest.raises(ValidationError, match=text):
            Split.Config(**config)


async def test_messages_from_outside_are_told_apart():
    """They have no id, and a join must not mix their parts."""
    async with drive(Split) as node:
        await node.put([1, 2], [3, 4])
        ids = [message.meta["parts"]["id"] for message in await node.sent_messages(4)]
        assert ids[0] == ids[1] != ids[2] == ids[3]
