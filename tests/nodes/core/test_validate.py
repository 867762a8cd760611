"""`core/validate`: good and bad messages, with the reasons."""

import time

import pytest
from flowcore_nodes.core.validate import Validate
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive

SCHEMA = {
    "type": "object",
    "required": ["t"],
    "properties": {"t": {"type": "number"}, "id": {"type": "string", "pattern": "^m[0-9]+$"}},
}


def reasons(node):
    return [[(one["check"], one["path"], one["text"]) for one in m.meta["reasons"]] for m in node.messages("bad")]


async def test_a_schema_says_what_is_wrong_and_where():
    async with drive(Validate, json_schema=SCHEMA) as node:
        await node.put({"t": 1, "id": "m1"}, {"t": "warm", "id": "x"}, {}, "text")
        assert await node.sent(port="good") == [{"t": 1, "id": "m1"}]
        assert reasons(node) == [
            [
                ("schema", "payload.t", "'warm' is not of type 'number'"),
                ("schema", "payload.id", "'x' does not match '^m[0-9]+$'"),
            ],
            [("schema", "payload", "'t' is a required property")],
            [("schema", "payload", "'text' is not of type 'object'")],
        ]


async def test_limits():
    limits = [{"path": "payload.t", "low": -40, "high": 200}, {"path": "payload.rh", "high": 100, "required": False}]
    async with drive(Validate, limits=limits) as node:
        await node.put({"t": -40}, {"t": 200.5, "rh": 101}, {}, {"t": True}, {"t": float("nan")}, {"t": None})
        assert await node.sent(port="good") == [{"t": -40}]
        assert reasons(node) == [
            [("limit", "payload.t", "200.5 is above 200"), ("limit", "payload.rh", "101 is above 100")],
            [("limit", "payload.t", "is not there")],
            [("limit", "payload.t", "must be a number, is 'True'")],
            [("limit", "payload.t", "must be a number, is 'nan'")],
            [("limit", "payload.t", "is not there")],
        ]


async def test_a_reading_that_is_too_old_is_bad():
    async with drive(Validate, stale_s=10, time="payload.at", time_unit="ms") as node:
        now_ms = node.node.now_s() * 1000
        await node.put({"at": now_ms - 9000}, {"at": now_ms - 12000}, {"at": "yesterday"}, {})
        await node.put(
            {"at": "2025-06-15T15:06:35Z"}, {"at": "2025-06-15T15:06:30+00:00"}, {"at": "2025-06-15T15:06:25"}
        )
        assert len(await node.sent(port="good")) == 3
        texts = [text for ((_, _, text),) in reasons(node)]
        assert texts[0] == "12 s old, the limit is 10 s"
        assert texts[1] == "'yesterday' is no time as in ISO 8601"
        assert "nothing at 'at'" in texts[2]
        assert texts[3] == "15 s old, the limit is 10 s"
    async with drive(Validate, stale_s=10) as node:
        node.clock._now_s = time.time()
        await node.put(1)
        await node.put(2, origin=time.time_ns() - 11_000_000_000)
        assert await node.sent(port="good") == [1]
        assert reasons(node)[0][0][:2] == ("stale", "origin_ns")


async def test_a_value_that_no_longer_changes_is_bad_also_over_a_restart():
    store = MemoryStore()
    async with drive(Validate, store=store, stuck_s=60, value="payload.t") as node:
        for t in (20.1, 20.1):
            await node.put({"t": t}, topic="a")
            await node.advance(30)
        await node.put({"t": 5}, topic="b")
        await node.put({"t": 20.1}, topic="a")
        assert reasons(node) == [[("stuck", "payload.t", "unchanged for 60 s, the limit is 60 s")]]
        begun_s = node.node.now_s()
    async with drive(Validate, store=store, stuck_s=60, value="payload.t") as node:
        node.clock._now_s = begun_s + 10
        await node.put({"t": 20.1}, topic="a")
        await node.put({"t": 20.2}, topic="a")
        await node.put({"t": 20.2}, topic="a")
        assert len(reasons(node)) == 1 and await node.sent(port="good") == [{"t": 20.2}] * 2


async def test_nothing_to_check_is_told():
    async with drive(Validate) as node:
        await node.put(1)
        assert await node.sent(port="good") == [1]
        assert node.statuses[-1][1] == "warn"


async def test_a_hostile_message_stops_nothing():
    schema = {"type": "object", "properties": {"a": {"pattern": "^(a+)+$"}, "l": {"items": {"type": "number"}}}}
    async with drive(Validate, json_schema=schema) as node:
        await node.put({"a": "a" * 40 + "!"}, {"l": ["x"] * 1000})
        first, second = reasons(node)
        assert "does not match" in first[0][2] or "took longer than 1 s" in first[0][2]
        assert len(second) == 20


async def test_a_schema_fetches_nothing():
    async with drive(Validate, json_schema={"$ref": "http://127.0.0.1:9/schema.json"}) as node:
        await node.put(1)
        assert "the schema refers to what it does not have" in reasons(node)[0][0][2]


def test_what_is_no_schema_or_range_is_refused():
    for config, text in (
        ({"json_schema": {"type": "nubmer"}}, "not a JSON schema: "),
        ({"json_schema": {"pattern": "("}}, "not a JSON schema: .*is not a .regex"),
        ({"limits": [{"path": "t", "low": 5, "high": 1}]}, "low \\(5\\) is above high \\(1\\)"),
        ({"limits": [{"path": "a..b"}]}, "path 'a..b'"),
        ({"stale_s": 0}, "greater than 0"),
    ):
        with pytest.raises(ValidationError, match=text):
            Validate.Config(**config)
