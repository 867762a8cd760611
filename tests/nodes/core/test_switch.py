"""Switch: Node-RED's rules, one output a rule."""

import time

import pytest
from flowcore_nodes.core.switch import Switch
from pydantic import ValidationError

from flowcore.node.testing import drive

RULES = [
    ({"op": "==", "value": 5}, [5, "5", 5.0], [6, "x", None]),
    ({"op": "!=", "value": 5}, [6, None, "x"], [5, "5"]),
    ({"op": "<", "value": 5}, [4, "4"], [5, "x", None, [1]]),
    ({"op": "<=", "value": "b"}, ["a", "b"], ["c", 1]),
    ({"op": ">", "value": 5}, [6, "10"], [5, "x"]),
    ({"op": ">=", "value": 5}, [5, 6], [4]),
    ({"op": "between", "value": 9, "value2": 3}, [3, 5, 9, "4"], [2, 10, "x"]),
    ({"op": "has key", "value": "a"}, [{"a": None}], [{"b": 1}, "a", ["a"]]),
    ({"op": "contains", "value": "ell"}, ["hello", ["x", "ell"]], ["help", None, {"ell": 1}]),
    ({"op": "matches", "value": "^a.c$"}, ["abc"], ["abcd", None, {"a": 1}]),
    ({"op": "matches", "value": "ABC", "ignore_case": True}, ["xabcx"], ["ab"]),
    ({"op": "true"}, [True], [1, "true"]),
    ({"op": "false"}, [False], [0, None]),
    ({"op": "null"}, [None], [0, "", False]),
    ({"op": "not null"}, [0, ""], [None]),
    ({"op": "is type", "value": "number"}, [1, 2.5], [True, "1"]),
    ({"op": "is type", "value": "text"}, ["a"], [b"a", 1]),
    ({"op": "is type", "value": "list"}, [[1]], [{"a": 1}]),
    ({"op": "is type", "value": "map"}, [{}], [[]]),
    ({"op": "is type", "value": "json"}, ['{"a": 1}', "5"], ["{a}", 5]),
    ({"op": "is type", "value": "bytes"}, [b"x"], ["x"]),
    ({"op": "empty"}, ["", [], {}, b""], [0, None, "a"]),
    ({"op": "not empty"}, ["a", [0]], ["", 0, None]),
]


@pytest.mark.parametrize(("rule", "match", "pass_by"), RULES, ids=lambda x: x.get("op") if isinstance(x, dict) else "")
async def test_each_rule_takes_what_it_should(rule, match, pass_by):
    async with drive(Switch, rules=[rule]) as node:
        await node.put(*match)
        assert await node.sent(port="out1") == match
        node.clear()
        await node.put(*pass_by)
        assert await node.sent() == []
        assert node.errors == []


async def test_all_rules_or_the_first():
    rules = [{"op": ">", "value": 10}, {"op": ">", "value": 5}, {"op": "otherwise"}]
    async with drive(Switch, rules=rules) as node:
        await node.put(20, 7, 1)
        assert [await node.sent(port=f"out{n}") for n in (1, 2, 3)] == [[20], [20, 7], [1]]
        node.clear()
        await node.reconfigure(first_match=True)
        await node.put(20)
        assert [await node.sent(port=f"out{n}") for n in (1, 2, 3)] == [[20], [], []]


async def test_values_come_from_message_context_and_the_message_before():
    async with drive(Switch, path="payload.t", rules=[{"op": ">", "value": {"$message": "payload.limit"}}]) as node:
        await node.put({"t": 5, "limit": 4}, {"t": 5, "limit": 6}, {"t": 5})
        assert await node.sent() == [{"t": 5, "limit": 4}]
    async with drive(Switch, rules=[{"op": ">", "value": {"$flow": "limit"}}]) as node:
        await node.put(5)
        await node.node.flow_context.set("limit", 4)
        await node.put(6)
        assert await node.sent() == [6]
    async with drive(Switch, path="flow.mode.name", rules=[{"op": "==", "value": {"$global": "modes[1]"}}]) as node:
        await node.node.global_context.set("modes", ["hand", "auto"])
        await node.put(1)
        await node.node.flow_context.set("mode", {"name": "auto"})
        await node.put(2)
        assert await node.sent() == [2]
    async with drive(Switch, rules=[{"op": ">", "value": {"$previous": True}}]) as node:
        await node.put(1, 3, 2, 4)
        assert await node.sent() == [3, 4]


async def test_places_in_a_sequence():
    rules = [{"op": "head", "value": 2}, {"op": "tail", "value": 1}, {"op": "index between", "value": 1, "value2": 2}]
    async with drive(Switch, rules=rules) as node:
        for index in range(4):
            await node.put(index, meta={"parts": {"id": "s", "index": index, "count": 4}})
        await node.put("no parts")
        assert [await node.sent(port=f"out{n}") for n in (1, 2, 3)] == [[0, 1], [3], [1, 2]]


async def test_topic_and_meta_pass_unchanged():
    async with drive(Switch, path="topic", rules=[{"op": "==", "value": "a/b"}]) as node:
        await node.put({"x": 1}, topic="a/b", meta={"m": 1})
        (message,) = await node.sent_messages(1)
        assert (message.payload, message.topic, message.meta) == ({"x": 1}, "a/b", {"m": 1})


async def test_a_pattern_that_never_ends_is_an_error_of_that_message():
    bomb = {"op": "matches", "value": r"(.*)(.*)(.*)(.*)(.*)(.*)x[0-9]y"}
    async with drive(Switch, rules=[bomb], pattern_limit_s=0.1) as node:
        began_s = time.monotonic()
        await node.put("x" * 2000, "x1y")
        assert time.monotonic() - began_s < 3
        assert await node.sent() == ["x1y"]
        assert "longer than 0.1 s" in node.errors[0]["text"]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"op": "about"}, "Input should be"),
        ({"op": ">"}, "needs a value"),
        ({"op": "between", "value": 1}, "needs value2"),
        ({"op": "matches", "value": "a("}, "regular expression"),
        ({"op": "is type", "value": "string"}, "no type 'string'; it has: text, number"),
        ({"op": "==", "value": {"$message": "a..b"}}, "wrong at character"),
    ],
)
def test_a_wrong_rule_says_what_is_wrong(rule, text):
    with pytest.raises(ValidationError, match=text):
        Switch.Config(rules=[rule])
