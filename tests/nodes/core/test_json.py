"""`core/json`: text to values and back, and what is no JSON."""

import math

import pytest
from flowcore_nodes.core.json import Json
from pydantic import ValidationError

from flowcore.node.testing import drive


async def test_json_both_ways():
    async with drive(Json) as node:
        await node.put('{"a": [1, null]}', b"5", {"a": "é"}, [1, 2])
        assert await node.sent() == [{"a": [1, None]}, 5, '{"a": "é"}', "[1, 2]"]


async def test_json_one_way_lets_the_other_pass():
    async with drive(Json, action="parse") as node:
        await node.put({"already": 1}, "[1]")
        assert await node.sent() == [{"already": 1}, [1]]
    async with drive(Json, action="stringify", indent=2) as node:
        await node.put("text", {"a": 1})
        assert await node.sent() == ["text", '{\n  "a": 1\n}']


async def test_json_converts_a_part():
    async with drive(Json, path="payload.body") as node:
        await node.put({"body": "[1]", "rest": 2})
        assert await node.sent() == [{"body": [1], "rest": 2}]


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ("{a}", "not JSON: Expecting property name enclosed in double quotes at line 1 column 2"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": 1, "a": 2}', "the key 'a' is there twice"),
        (b"\xff\xfe", "not UTF-8"),
        ("[" * 100_000, "nested deeper than max_depth = 64"),
        ("[" * 65 + "]" * 65, "nested deeper than max_depth = 64"),
        ('"' + "x" * 2000 + '"', "more than max_bytes = 1000"),
        (math.nan, "can't be written as JSON"),
        ({"a": b"bytes"}, "can't be written as JSON"),
    ],
)
async def test_json_says_what_is_wrong(payload, text):
    async with drive(Json, max_bytes=1000 if isinstance(payload, str) and "xx" in payload else 200_000) as node:
        await node.put(payload)
        assert await node.sent() == []
        assert text in node.errors[0]["text"]


async def test_json_counts_depth_not_brackets():
    async with drive(Json) as node:
        await node.put("[" + ",".join(["[]"] * 100) + "]", '{"a": "' + "[" * 100 + '"}')
        assert len(await node.sent()) == 2


def test_json_refuses_a_part_it_may_not_write():
    with pytest.raises(ValidationError, match="given by the engine"):
        Json.Config(path="id")
