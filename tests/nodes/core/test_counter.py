"""`core/counter`: counts, limits, resets; exact over a restart."""

import pytest
from flowcore_nodes.core.counter import Counter
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive


@pytest.mark.parametrize(
    ("config", "counts", "told"),
    [
        ({}, [1, 2, 3, 4, 5], []),
        ({"step": -2, "start": 10}, [8, 6, 4, 2, 0], []),
        ({"step": 0.5}, [0.5, 1, 1.5, 2, 2.5], []),
        ({"limit": 2}, [1, 2, 1, 2, 1], [2, 2]),
        ({"limit": 5, "step": 3}, [3, 5, 4, 5, 5], [5, 5, 5]),
        ({"limit": 3, "at_limit": "stop"}, [1, 2, 3, 3, 3], [3]),
        ({"limit": 3, "at_limit": "continue"}, [1, 2, 3, 4, 5], [3]),
        ({"start": 3, "limit": 0, "step": -1}, [2, 1, 0, 2, 1], [0]),
    ],
)
async def test_counter_counts(config, counts, told):
    async with drive(Counter, **config) as node:
        await node.put(*"abcde")
        assert await node.sent(port="out") == counts
        assert await node.sent(port="limit") == told


async def test_counter_counts_by_key_parts_of_messages_and_keeps_the_payload():
    async with drive(Counter, key="topic", to="meta.count", step={"$message": "payload.parts"}) as node:
        await node.put({"parts": 2}, {"parts": 3}, topic="a")
        await node.put({"parts": 7}, topic="b")
        assert [(m.topic, m.meta["count"], m.payload["parts"]) for m in node.messages("out")] == [
            ("a", 2, 2), ("a", 5, 3), ("b", 7, 7),
        ]  # fmt: skip
        await node.put({"parts": "many"}, {"none": 1}, topic="a")
        assert "step must be a number, got 'many'" in node.errors[0]["text"]
        assert "config field 'step'" in node.errors[1]["text"]


async def test_one_message_may_reach_the_limit_several_times():
    async with drive(Counter, limit=10, step={"$message": "payload"}) as node:
        await node.put(25, 4, 1)
        assert await node.sent(port="out") == [10, 9, 10]
        assert [m.meta["rollovers"] for m in node.messages("limit")] == [2, 3]


async def test_reset_sets_back_one_or_all():
    async with drive(Counter, key="topic", start=5) as node:
        for topic, meta in (("a", {}), ("b", {}), ("a", {"reset": True}), ("a", {}), ("b", {"reset": 9}), ("b", {})):
            await node.put("x", topic=topic, meta=meta)
        assert await node.sent(port="out") == [6, 6, 5, 6, 9, 10]
        await node.put("x", meta={"reset": True})
        await node.put("x", topic="b")
        assert (await node.sent(port="out"))[-1] == 6
        assert all("reset" not in message.meta for message in node.messages("out"))


async def test_the_count_goes_on_after_a_restart():
    store = MemoryStore()
    async with drive(Counter, store=store, limit=3) as node:
        await node.put(1, 1)
    async with drive(Counter, store=store, limit=3) as node:
        await node.put(1)
        assert await node.sent(port="limit") == [3]


async def test_the_number_of_counts_is_bounded():
    async with drive(Counter, key="topic", max_keys=1) as node:
        await node.put(1, topic="a")
        await node.put(1, topic="b")
        await node.put(1, topic="a")
        assert await node.sent(port="out") == [1, 2]
        assert "max_keys is 1" in node.errors[0]["text"]


def test_a_limit_that_is_never_reached_is_refused():
    for config, text in (
        ({"limit": -1}, "never reaches the limit -1"),
        ({"limit": 0}, "are both 0"),
        ({"step": 0}, "step must not be 0"),
        ({"at_limit": "explode"}, "Input should be"),
    ):
        with pytest.raises(ValidationError, match=text):
            Counter.Config(**config)
