"""Whatever is in a flow file, a check ends in problems or in a flow: never in an exception."""

import copy
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcore.flow.format import format_flow
from flowcore.flow.model import FlowDocument
from flowcore.flow.resolve import resolve
from flowcore.flow.resolved import ResolvedFlow

RICH = {
    "flowcore": 1,
    "id": "rich",
    "env": {"LIMIT": 80, "TOPIC": "${SITE}/t", "SITE": "north", "PW": {"$secret": "plant_password"}},
    "nodes": [
        {"id": "in", "type": "iot/mqtt-in", "config": {"$use": "plant", "topic": "${TOPIC}", "password": "${PW}"}},
        {"id": "hot", "type": "core/threshold", "config": {"above": {"$message": "payload.t"}}, "group": "g"},
        {"id": "route", "type": "core/switch", "config": {"rules": [{"op": "above", "value": "${LIMIT}"}]}},
        {"id": "one", "type": "subflow:s", "config": {"P": "${LIMIT}"}, "settings": {}},
        {"id": "j", "type": "core/junction"},
        {"id": "out", "type": "core/link-out", "config": {"links": ["back", "other/x"]}},
        {"id": "back", "type": "core/link-in", "config": {"name": "home"}},
        {"id": "c", "type": "core/catch", "config": {"scope": "group"}, "group": "g"},
        {"id": "f", "type": "core/function", "settings": {"replicas": 2, "retry": {"times": 2}}},
    ],
    "wires": [
        {"from": "in.out", "to": "route.in"},
        {"from": "route.out1", "to": "j.in", "delivery": "latest", "keep": 2},
        {"from": "j.out", "to": "one.in"},
        {"from": "one.out", "to": "out.in", "delivery": "durable", "durable": {"max_msgs": 5}},
        {"from": "back.out", "to": "route.in"},
        {"from": "c.out", "to": "f.in"},
    ],
    "subflows": {
        "s": {
            "params": {"P": {"type": "number", "default": 1}},
            "inputs": {"in": ["f.in"]},
            "outputs": {"out": ["f.out"]},
            "nodes": [{"id": "f", "type": "core/function", "config": {"note": "${P} at most"}}],
        }
    },
    "groups": [{"id": "g"}],
    "resources": {"plant": {"type": "iot/mqtt-broker", "config": {"host": "localhost"}}},
}

odd_values = st.sampled_from(
    [None, True, 0, -1, 2.5, 10**18, "", "x", "in", "in.out", "hot.value", "${LIMIT}", "${NO}", "subflow:s", "${P}",
     [], {}, [1], ["x"], {"x": 1}, {"$use": "plant"}, {"$secret": 5}, {"$env": "LIMIT"}, {"$message": "a", "b": 1}]
)  # fmt: skip


def places(value, path=()):
    """Every path in a value."""
    yield path
    if isinstance(value, dict | list):
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, step))


@st.composite
def documents(draw):
    """The rich document with up to four things in it replaced, taken out, or moved elsewhere."""
    document = copy.deepcopy(RICH)
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from([one for one in places(document) if one]))
        parent = document
        for step in path[:-1]:
            parent = parent[step]
        change = draw(st.sampled_from(["replace", "remove", "copy", "add"]))
        if change == "replace":
            parent[path[-1]] = copy.deepcopy(draw(odd_values))
        elif change == "remove":
            del parent[path[-1]]
        elif change == "copy":
            other = draw(st.sampled_from(list(places(document))))
            value = document
            for step in other:
                value = value[step]
            parent[path[-1]] = copy.deepcopy(value)
        elif isinstance(parent, dict):
            parent[draw(st.sampled_from(["x", "id", "type", "$use", "config", "a/b~c", ""]))] = copy.deepcopy(
                draw(odd_values)
            )
        else:
            parent.append(copy.deepcopy(draw(odd_values)))
    return document


def test_the_rich_document_is_right(look):
    """Else the rest of this file would test little."""
    checked = look(RICH)
    assert checked.ok and [one.severity for one in checked.problems] == ["warning"]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=documents())
def test_any_change_ends_in_problems_or_a_flow(look, types, document):
    """Each problem has a line of the file; a flow that passes can be written, read, sent and resolved again."""
    text = json.dumps(document, indent=1)
    checked = look(text)
    lines = text.count("\n") + 1
    assert checked.ok or checked.errors
    assert all(1 <= problem.line <= lines and problem.message for problem in checked.problems)
    if checked.ok:
        again = FlowDocument.model_validate(json.loads(format_flow(checked.document)))
        assert resolve(again, types, {"PORT": "1884", "WORD": "many"}).wires == checked.resolved.wires
        assert ResolvedFlow.from_dict(json.loads(json.dumps(checked.resolved.asdict()))) == checked.resolved


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 1200), put=st.text(max_size=3), skip=st.integers(0, 5))
def test_any_text_ends_in_problems_or_a_flow(look, cut, put, skip):
    """A text with a few characters changed anywhere is read or refused."""
    text = json.dumps(RICH, indent=1)
    checked = look((text[:cut] + put + text[cut + skip :]).encode("utf-8", "surrogatepass"))
    assert checked.ok or all(problem.line for problem in checked.errors)
