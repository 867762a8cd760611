"""Core nodes as a flow file has them: checked against their schemas, resolved, and started with what comes out."""

import json

from flowcore_nodes import core

from flowcore.flow.validate import check
from flowcore.node.testing import drive
from flowcore.runtime.typelist import describe

CLASSES = {node.type: node for node in core.flowcore_node_types()}
TYPES = {name: describe(node) for name, node in CLASSES.items()}

NODES = [
    {"id": "tick", "type": "core/inject", "config": {"every_s": 1, "payload": {"t": 5}}},
    {
        "id": "route",
        "type": "core/switch",
        "config": {
            "path": "payload.t",
            "rules": [
                {"op": ">", "value": "${LIMIT}"},
                {"op": "<", "value": {"$message": "payload.low"}},
                {"op": "==", "value": {"$previous": True}},
                {"op": "otherwise"},
            ],
        },
    },
    {
        "id": "note",
        "type": "core/change",
        "config": {"rules": [{"action": "set", "path": "b", "value": {"$flow": "x"}}]},
    },
    {"id": "hot", "type": "core/threshold", "config": {"field": "t", "above": {"$message": "payload.limit"}}},
    {"id": "log", "type": "core/file-out", "config": {"path": "${FILE}"}},
    {"id": "oops", "type": "core/catch", "config": {"scope": ["route", "hot"]}},
    {"id": "away", "type": "core/link-out", "config": {"links": ["here"]}},
    {"id": "arrive", "type": "core/link-in", "config": {"name": "here"}},
    {"id": "meet", "type": "core/junction"},
    {"id": "why", "type": "core/comment", "config": {"text": "a note"}},
    {"id": "show", "type": "core/debug"},
]
WIRES = [
    ("tick.out", "route.in"),
    ("route.out1", "hot.in"),
    ("route.out4", "note.in"),
    ("note.out", "away.in"),
    ("arrive.out", "meet.in"),
    ("meet.out", "log.in"),
    ("hot.raised", "show.in"),
    ("oops.out", "show.in"),
]


def checked(nodes=NODES, wires=WIRES):
    document = {
        "flowcore": 1, "id": "f", "env": {"LIMIT": 3}, "nodes": nodes,
        "wires": [{"from": begin, "to": end} for begin, end in wires],
    }  # fmt: skip
    return check(json.dumps(document), "f.json", TYPES, {"FILE": "out.jsonl"}, set())


async def test_a_flow_of_core_nodes_is_deployable_and_its_nodes_start():
    found = checked()
    assert [str(problem) for problem in found.problems] == []
    wires = {wire.id for wire in found.resolved.wires}
    assert {"note.out>log.in", "route.error>show.in", "hot.error>show.in"} <= wires
    assert {"oops", "away", "arrive", "meet", "why"}.isdisjoint(found.resolved.nodes)
    node = found.resolved.nodes["route"]
    async with drive(CLASSES[node.type], **node.config) as route:
        await route.put({"t": 4}, {"t": 1, "low": 2}, {"t": 1})
        assert [await route.sent(port=f"out{n}") for n in (1, 2, 3, 4)] == [
            [{"t": 4}],
            [{"t": 1, "low": 2}],
            [{"t": 1}],
            [],
        ]
    node = found.resolved.nodes["hot"]
    async with drive(CLASSES[node.type], **node.config) as hot:
        await hot.put({"t": 4, "limit": 3})
        assert len(await hot.sent(port="raised")) == 1


def test_a_wrong_rule_is_named_where_it_stands():
    nodes = [{"id": "route", "type": "core/switch", "config": {"rules": [{"op": ">>", "value": 1}]}}]
    (problem,) = checked(nodes, []).problems
    assert problem.pointer == "/nodes/0/config/rules/0/op"


def test_a_wire_from_a_rule_that_is_not_there_is_named():
    (problem,) = checked(wires=[*WIRES, ("route.out5", "show.in")]).problems
    assert "node 'route' has no port 'out5'" in problem.message
