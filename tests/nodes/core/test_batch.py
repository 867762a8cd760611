"""Batch: counts with overlap, intervals, sequences one after the other; what waits survives a kill."""

import pytest
from flowcore_nodes.core.batch import Batch
from flowcore_nodes.core.join import Join
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive


def shown(messages):
    """Sequences as lists of payloads."""
    found = {}
    for message in messages:
        parts = message.meta["parts"]
        assert parts["index"] == len(found.setdefault(parts["id"], []))
        found[parts["id"]].append(message.payload)
        assert parts["count"] >= len(found[parts["id"]])
    return list(found.values())


async def test_a_count_of_messages_makes_a_sequence_that_a_join_takes():
    async with drive(Batch, count=3, overlap=1) as node, drive(Join) as join:
        await node.put(*range(1, 8))
        assert shown(await node.sent_messages()) == [[1, 2, 3], [3, 4, 5], [5, 6, 7]]
        for message in node.messages():
            await join.put(message.payload, meta=message.meta)
        assert await join.sent() == [[1, 2, 3], [3, 4, 5], [5, 6, 7]]


async def test_the_end_of_a_sequence_may_end_a_batch():
    async with drive(Batch, count=3, honour_parts=True) as node:
        for index in range(2):
            await node.put(index, meta={"parts": {"id": "x", "index": index, "count": 2}})
        assert shown(await node.sent_messages()) == [[0, 1]]


async def test_an_interval_sends_what_came_in_it():
    async with drive(Batch, mode="interval", seconds=10, result="list") as node:
        await node.put(1, 2, topic="t")
        await node.advance(10)
        await node.advance(10)
        await node.put(3)
        await node.advance(10)
        assert await node.sent() == [[1, 2], [3]]
        assert (node.messages()[0].topic, node.messages()[0].meta) == ("t", {})
    async with drive(Batch, mode="interval", seconds=10, empty=True) as node:
        await node.advance(21)
        assert [message.meta["parts"]["count"] for message in await node.sent_messages()] == [1, 1]
        assert await node.sent() == [None, None]


async def test_an_interval_that_ended_while_the_node_was_down_is_sent_at_its_start():
    store = MemoryStore()
    async with drive(Batch, store=store, mode="interval", seconds=10) as node:
        await node.put(1)
    async with drive(Batch, store=store, mode="interval", seconds=10) as node:
        await node.advance(9.9)
        assert await node.sent() == []
        node.clock._now_s += 25
        await node.advance(0.01)
        assert await node.sent() == [1]
        await node.put(2)
        await node.advance(6)
        assert await node.sent() == [1, 2]  # intervals are where they were


async def test_sequences_are_concatenated_in_the_order_of_the_topics():
    async with drive(Batch, mode="concatenate", topics=["b", "a"]) as node:
        for topic, id_, index in (("a", 1, 1), ("a", 2, 0), ("b", 3, 0), ("a", 1, 0), ("b", 3, 1), ("a", 2, 1)):
            payload = f"{topic}{id_}{index}"
            await node.put(payload, topic=topic, meta={"parts": {"id": id_, "index": index, "count": 2}})
        assert shown(await node.sent_messages()) == [["b30", "b31", "a10", "a11"]]
        assert len(node.node.state) == 2 + 1  # the second sequence of a; the count of sequences
        await node.put(1, topic="c")
        await node.put(1, topic="a")
        assert ["not one of topics" in node.errors[0]["text"], "no meta.parts" in node.errors[1]["text"]] == [True] * 2


async def test_what_waits_survives_a_restart_and_may_be_thrown_away():
    store = MemoryStore()
    for value in (1, 2):
        async with drive(Batch, store=store, count=3, result="list") as node:
            await node.put(value)
    async with drive(Batch, store=store, count=3, result="list") as node:
        await node.put(3, 4)
        await node.put(None, meta={"reset": True})
        await node.put(5, 6, 7)
        assert await node.sent() == [[1, 2, 3], [5, 6, 7]]


@pytest.mark.parametrize(("when_full", "sent"), [("drop_oldest", [[3, 4]]), ("emit", [[1, 2], [3, 4]])])
async def test_a_full_store_does_what_it_is_told(when_full, sent):
    async with drive(
        Batch, mode="interval", seconds=10, max_held=2, count=2, when_full=when_full, result="list"
    ) as node:
        await node.put(1, 2, 3, 4)
        await node.advance(10)
        assert await node.sent() == sent
        assert bool(node.statuses) == (when_full == "drop_oldest")


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"count": 2000}, "more than max_held"),
        ({"count": 2, "overlap": 2}, "less than count"),
        ({"mode": "concatenate"}, "needs topics"),
    ],
)
def test_a_batch_that_can_not_work_is_refused(config, text):
    with pytest.raises(ValidationError, match=text):
        Batch.Config(**config)
