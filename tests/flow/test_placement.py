"""Nodes on several hosts: where each stands, what a host gets of a flow, and whether it can run it."""

import json
from dataclasses import replace

from flowcore.flow.placement import moved_nodes, nodes_by_host, part_of
from flowcore.flow.types import NodeTypeInfo, PortInfo
from flowcore.flow.validate import check

ANY = NodeTypeInfo("core/any", inputs=(PortInfo("in"),), outputs=(PortInfo("out"),), config_schema={"type": "object"})
CUDA = replace(ANY, type="vision/cuda", needs=("cupy",))


def document(settings, type_="core/any", **more):
    """a > b > c; b has these settings and this type."""
    nodes = [{"id": name, "type": "core/any"} for name in "abc"]
    nodes[1] |= {"type": type_, "settings": settings}
    wires = [{"from": "a.out", "to": "b.in"}, {"from": "b.out", "to": "c.in"}]
    return json.dumps({"flowcore": 1, "id": "f", "nodes": nodes, "wires": wires, **more}, indent=1)


def checked(text, hosts=None):
    types = {info.type: info for info in (ANY, CUDA)}
    return check(text, "f.json", types, {}, hosts=hosts)


def test_a_host_gets_its_nodes_and_every_wire_at_one_of_them():
    """`main` is the host without a name; a node that names another host has moved."""
    flow = checked(document({"host": "edge1"})).resolved
    assert nodes_by_host(flow) == {"": ["a", "c"], "edge1": ["b"]}
    there = part_of(flow, "edge1")
    assert list(there.nodes) == ["b"] and [wire.id for wire in there.wires] == ["a.out>b.in", "b.out>c.in"]
    assert part_of(flow, "edge2").nodes == {} and part_of(flow, "edge2").wires == ()
    at_home = checked(document({"host": "main"})).resolved
    assert nodes_by_host(at_home) == {"": ["a", "b", "c"]}
    assert moved_nodes(at_home, flow) == ["b"] and moved_nodes(None, flow) == []


def test_an_instance_places_the_nodes_in_it_that_name_no_host():
    """So one subflow stands on each machine of a plant."""
    inside = {
        "inputs": {"in": ["x.in"]},
        "outputs": {"out": ["y.out"]},
        "nodes": [{"id": "x", "type": "core/any"}, {"id": "y", "type": "core/any", "settings": {"host": "edge2"}}],
        "wires": [{"from": "x.out", "to": "y.in"}],
    }
    found = checked(document({"host": "edge1"}, "subflow:cell", subflows={"cell": inside}))
    assert found.problems == []
    assert nodes_by_host(found.resolved) == {"": ["a", "c"], "edge1": ["b:x"], "edge2": ["b:y"]}


def test_a_type_is_looked_up_on_the_host_of_its_node():
    """With the line of the node; a host that never came is believed."""
    hosts = {"": {"core/any": ANY}, "gpu": {"core/any": ANY, "vision/cuda": CUDA}, "edge1": {"core/any": ANY}}
    assert checked(document({"host": "gpu"}, "vision/cuda"), hosts).ok
    assert checked(document({"host": "never-seen"}, "vision/cuda"), hosts).ok
    (problem,) = checked(document({"host": "edge1"}, "vision/cuda"), hosts).problems
    wanted = "host 'edge1' has no node type 'vision/cuda': install it there, or place the node on gpu"
    assert problem.message == wanted and problem.line == 11 and problem.pointer == "/nodes/1/type"
    hosts["edge1"] = {"vision/cuda": replace(CUDA, missing="pip install cupy-cuda12x")}
    (problem,) = checked(document({"host": "edge1"}, "vision/cuda"), hosts).problems
    assert problem.message == "'vision/cuda' lacks a library on host 'edge1': pip install cupy-cuda12x"
    (problem,) = checked(document({"host": "Edge 1"})).problems
    assert "must be the name of a host" in problem.message
