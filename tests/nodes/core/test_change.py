"""Change: set, change, delete, move, with nested paths."""

import pytest
from flowcore_nodes.core.change import Change
from pydantic import ValidationError

from flowcore.node.testing import drive


async def changed(payload, *rules, **put):
    async with drive(Change, rules=list(rules)) as node:
        await node.put(payload, **put)
        assert node.errors == []
        (message,) = await node.sent_messages(1)
        return message


async def test_set_nested_literal_and_from_elsewhere():
    message = await changed(
        {"a": {"b": [1, {"c": 2}]}},
        {"action": "set", "path": "payload.a.b[1].c", "value": {"deep": True}},
        {"action": "set", "path": "payload.new.list[0]", "value": 7},
        {"action": "set", "path": "topic", "value": {"$message": "meta.name"}},
        {"action": "set", "path": "meta.copy", "value": {"$message": "payload.a"}},
        {"action": "set", "path": "gone", "value": {"$message": "payload.not.there"}},
        meta={"name": "n1"},
    )
    a = {"b": [1, {"c": {"deep": True}}]}
    assert message.payload == {"a": a, "new": {"list": [7]}, "gone": None}
    assert message.topic == "n1"
    assert message.meta == {"name": "n1", "copy": a}


async def test_what_was_copied_is_not_shared():
    message = await changed(
        {"a": {"x": 1}},
        {"action": "set", "path": "b", "value": {"$message": "a"}},
        {"action": "set", "path": "b.x", "value": 2},
    )
    assert message.payload == {"a": {"x": 1}, "b": {"x": 2}}


async def test_move_and_delete():
    message = await changed(
        {"old": {"deep": 1}, "list": [1, 2, 3], "keep": 0},
        {"action": "move", "path": "payload.old.deep", "to": "payload.fresh"},
        {"action": "delete", "path": "payload.list[1]"},
        {"action": "move", "path": "topic", "to": "meta.was"},
        topic="t",
    )
    assert message.payload == {"old": {}, "list": [1, 3], "keep": 0, "fresh": 1}
    assert (message.topic, message.meta) == ("", {"was": "t"})


@pytest.mark.parametrize(
    ("payload", "rule", "result"),
    [
        ("a cat and a cat", {"search": "cat", "value": "dog"}, "a dog and a dog"),
        ("a.b", {"search": ".", "value": "-"}, "a-b"),
        ("x12y", {"search": r"(\d)(\d)", "regex": True, "value": r"\2\1"}, "x21y"),
        ("ABC", {"search": "b", "regex": True, "ignore_case": True, "value": "-"}, "A-C"),
        ("on", {"search": "on", "value": True}, True),
        (5, {"search": 5, "value": "five"}, "five"),
        ("5", {"search": 5, "value": 6}, 6),
        ("55", {"search": 5, "value": 6}, "55"),
        (True, {"search": True, "value": 1}, 1),
        (1, {"search": True, "value": 2}, 1),
        ({"a": 1}, {"search": "a", "value": "b"}, {"a": 1}),
    ],
)
async def test_change_replaces_as_node_red_does(payload, rule, result):
    message = await changed(payload, {"action": "change", **rule})
    assert message.payload == result and type(message.payload) is type(result)


async def test_the_shared_contexts_are_read_and_written():
    rules = [
        {"action": "set", "path": "flow.last.value", "value": {"$message": "payload"}},
        {"action": "set", "path": "global.seen", "value": True},
        {"action": "set", "path": "payload", "value": {"$flow": "last"}},
        {"action": "move", "path": "global.seen", "to": "meta.seen"},
    ]
    async with drive(Change, rules=rules) as node:
        await node.put(5)
        (message,) = await node.sent_messages(1)
        assert (message.payload, message.meta) == ({"value": 5}, {"seen": True})
        assert await node.node.global_context.get("seen") is None


async def test_a_rule_that_fails_sends_nothing_and_leaves_the_message():
    rules = [{"action": "set", "path": "a", "value": 1}, {"action": "set", "path": "text.x", "value": 1}]
    async with drive(Change, rules=rules) as node:
        await node.put({"text": "t"})
        assert await node.sent() == []
        assert node.errors[0]["text"] == "can't set .x in a text"
        assert node.errors[0]["message"]["payload"] == {"text": "t"}


async def test_rules_change_while_it_runs():
    async with drive(Change, rules=[{"action": "set", "value": 1}]) as node:
        await node.put(0)
        await node.reconfigure(rules=[{"action": "set", "value": 2}])
        await node.put(0)
        assert await node.sent() == [1, 2]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"action": "move", "path": "a"}, "move needs `to`"),
        ({"action": "change", "path": "a"}, "change needs `search`"),
        ({"action": "set", "path": "id"}, "given by the engine"),
        ({"action": "set", "path": "flow"}, "names no key"),
        ({"action": "set", "path": "a[["}, "wrong at character"),
        ({"action": "change", "search": "(", "regex": True}, "regular expression"),
        ({"action": "swap"}, "Input should be"),
    ],
)
def test_a_wrong_rule_says_what_is_wrong(rule, text):
    with pytest.raises(ValidationError, match=text):
        Change.Config(rules=[rule])
