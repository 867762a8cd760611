"""Sort: lists, sequences, a window over a stream."""

import pytest
from flowcore_nodes.core.sort import Sort
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive


@pytest.mark.parametrize(
    ("config", "items", "expected"),
    [
        ({}, [3, 1, 2], [1, 2, 3]),
        ({}, ["b", "a", 2, 10, None, "10"], [2, 10, "10", "a", "b", None]),
        ({"order": "descending"}, ["b", "a", 2, 10], ["b", "a", 10, 2]),
        ({"as_number": True}, ["10", 9, "x", "1.5"], ["1.5", 9, "10", "x"]),
        ({"as_number": True, "order": "descending"}, ["10", 9, "x"], ["10", 9, "x"]),
        ({"key": "n"}, [{"n": 2, "k": 1}, {"n": 1}, {"n": 2, "k": 2}], [{"n": 1}, {"n": 2, "k": 1}, {"n": 2, "k": 2}]),
        (
            {"key": "n", "order": "descending"},
            [{"n": 1, "k": 1}, {"n": 1, "k": 2}],
            [{"n": 1, "k": 1}, {"n": 1, "k": 2}],
        ),
        ({"path": "payload.rows"}, {"rows": [2, 1], "x": 1}, {"rows": [1, 2], "x": 1}),
    ],
)
async def test_a_list_is_sorted(config, items, expected):
    async with drive(Sort, **config) as node:
        await node.put(items)
        assert await node.sent() == [expected]


async def test_the_messages_of_a_sequence_are_sorted_and_numbered_anew():
    store = MemoryStore()
    config = {"by": "sequence", "key": "v"}
    async with drive(Sort, store=store, **config) as node:
        for index, value in enumerate((3, 1)):
            await node.put({"v": value}, meta={"parts": {"id": "s", "index": index}})
        await node.put({"v": 9}, meta={"parts": {"id": "other", "index": 0, "count": 2}})
    async with drive(Sort, store=store, **config) as node:
        await node.put({"v": 2}, topic="t", meta={"parts": {"id": "s", "index": 2, "count": 3}})
        made = await node.sent_messages()
        assert [message.payload["v"] for message in made] == [1, 2, 3]
        assert [message.meta["parts"]["index"] for message in made] == [0, 1, 2]
        assert made[1].topic == "t"
        assert len(node.node.state) == 1


async def test_a_window_puts_a_stream_in_order():
    store = MemoryStore()
    async with drive(Sort, store=store, by="window", size=2) as node:
        await node.put(2, 1, 3)
        assert await node.sent() == [1]
    async with drive(Sort, store=store, by="window", size=2, quiet_s=5) as node:
        await node.put(5, 4)
        assert await node.sent() == [2, 3]
        await node.advance(6)
        assert await node.sent() == [2, 3, 4, 5]
        await node.put(9, 8)
        await node.put(None, meta={"flush": True})
        assert (await node.sent())[-2:] == [8, 9]
        await node.put(7)
        await node.put(None, meta={"reset": True})
        await node.advance(6)
        assert len(await node.sent()) == 6


@pytest.mark.parametrize(("when_full", "sent"), [("drop_oldest", [2, 3]), ("emit", [1, 2])])
async def test_a_full_store_does_what_it_is_told(when_full, sent):
    async with drive(Sort, by="sequence", max_held=2, when_full=when_full) as node:
        for index, value in enumerate((1, 2, 3)):
            await node.put(value, meta={"parts": {"id": "s", "index": index}})
        if when_full == "drop_oldest":
            await node.put(4, meta={"parts": {"id": "s", "index": 3, "count": 2}})
            sent = [3, 4]
        assert await node.sent() == sent


async def test_what_can_not_be_sorted_is_an_error():
    async with drive(Sort) as node:
        await node.put("text")
        assert node.errors[0]["text"] == "payload must be a list, got str"
    async with drive(Sort, key="n") as node:
        await node.put([{"n": 1}, {"m": 1}])
        assert "nothing at 'n'" in node.errors[0]["text"]
    async with drive(Sort, by="sequence") as node:
        await node.put(1)
        assert "no meta.parts" in node.errors[0]["text"]
    with pytest.raises(ValidationError, match="wrong at character"):
        Sort.Config(key="a..b")
