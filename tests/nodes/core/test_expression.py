"""The expression node, with the real zygote and real workers."""

import numpy as np
import pytest
from flowcore_nodes.core.expression import Expression

from flowcore.node import Tensor
from flowcore.node.testing import MemoryValues


@pytest.fixture
def expression(drive_script):
    """`drive` for expression nodes: `expression(text, **config)`."""
    return lambda text, **config: drive_script(Expression, expression=text, **config)


async def test_map_makes_the_payload_the_value(expression):
    """Whatever it is, nothing too; topic and meta stay; the parts of the message and more are in scope."""
    text = "{'n': payload * env['K'], 't': topic, 'u': msg.unit, 'r': math.floor(meta['x'])} if payload else None"
    async with expression(text, env={"K": 2}) as node:
        await node.put(3, 0, topic="a", meta={"unit": "C", "x": 1.5})
        first, second = await node.sent_messages(2, "out")
        assert first.payload == {"n": 6, "t": "a", "u": "C", "r": 1}
        assert (first.topic, first.meta) == ("a", {"unit": "C", "x": 1.5})
        assert second.payload is None
    async with expression("{'payload': payload}") as node:
        await node.put(1)
        assert await node.sent(1) == [{"payload": 1}]


async def test_filter_passes_the_message_as_it_is(expression):
    async with expression("payload > flow.get('limit', 2)", action="filter", contexts=MemoryValues()) as node:
        await node.put(1, 3, 2, 5.5, topic="t")
        assert [(m.payload, m.topic) for m in await node.sent_messages(2, "out")] == [(3, "t"), (5.5, "t")]
    async with expression("payload.shape[0] > 100", action="filter") as node:
        await node.put(np.zeros((480, 640), np.uint8), np.zeros((10, 2000), np.uint8))
        (passed,) = await node.sent()
        assert isinstance(passed, Tensor) and passed.shape == (480, 640)


async def test_what_fails_is_this_messages_error(expression):
    """Also what cannot travel, what takes too long, and a whole message for a value."""
    async with expression("[lambda: msg, lambda: 1 / 0, lambda: {1}, lambda: 5][payload]()") as node:
        await node.put(0, 1, 2, 3)
        assert await node.sent(1) == [5]
        says = ("write msg.payload", "line 1: ZeroDivisionError", "'set'")
        assert [word in error["text"] for word, error in zip(says, node.errors, strict=True)] == [True] * 3
    async with expression("[1 for _ in iter(int, 1)] if payload else 'fine'", timeout_s=0.4) as node:
        await node.put(0, 1, 0)
        assert await node.sent(2) == ["fine", "fine"]
        assert [error["error"] for error in node.errors] == ["ScriptTimeout"]


async def test_what_is_no_expression_stops_the_start(expression):
    for text, says in (("payload +", "SyntaxError"), ("x = 1", "one value"), ("", "there is no expression"),
                       ("import os", "one value")):  # fmt: skip
        with pytest.raises(Exception, match=says):
            async with expression(text):
                pass


async def test_it_is_locked_in(expression):
    async with expression("open('/etc/passwd').read()") as node:
        await node.put(1)
        assert "PermissionError" in node.errors[0]["text"]
