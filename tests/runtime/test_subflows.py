"""Subflows on a real host: what an instance shows, and what a changed template changes."""

import json

from line_flow import until

from flowcore.bus.envelope import unpack
from flowcore.runtime.control.nodes import StatusRequest, status


def document(offset=1):
    """Two instances of `plus`, one of `say`, which holds one of `plus` and says what it shows; a node beside them."""
    plus = {
        "params": {"N": {"type": "number", "default": 0, "min": 0}},
        "inputs": {"value": ["add.value"]},
        "outputs": {"sum": ["add.sum"]},
        "nodes": [
            {"id": "add", "type": "hosttest/add", "config": {"to_add": "${N}"}},
            {"id": "more", "type": "hosttest/add", "config": {"to_add": offset}},
        ],
        "wires": [{"from": "add.sum", "to": "more.value"}],
    }
    say = {
        "inputs": {"in": ["shows.in", "plus.value"]},
        "nodes": [{"id": "shows", "type": "core/subflow-status"}, {"id": "plus", "type": "subflow:plus"}],
    }
    nodes = [
        {"id": "one", "type": "subflow:plus", "config": {"N": 1}},
        {"id": "two", "type": "subflow:plus", "config": {"N": 2}},
        {"id": "three", "type": "subflow:say"},
        {"id": "beside", "type": "hosttest/add"},
        {"id": "listens", "type": "core/status", "config": {"scope": ["three"]}},
        {"id": "heard", "type": "core/debug"},
    ]
    wires = [{"from": "one.sum", "to": "beside.value"}, {"from": "listens.out", "to": "heard.in"}]
    subflows = {"plus": plus, "say": say}
    return json.dumps({"flowcore": 1, "id": "f", "nodes": nodes, "wires": wires, "subflows": subflows})


async def shown(host):
    """Instance -> what it shows."""
    [flow] = (await status(host, StatusRequest(flow="f"))).flows
    return {one.instance: (one.text, one.kind) for one in flow.instances}


def pids(host):
    [flow] = host.status("f")
    return {node.process: node.pid for node in flow.nodes}


async def test_a_changed_template_changes_its_instances_and_they_show_their_status(host):
    """The pid of every other process stays, also of the nodes of an instance that did not change."""
    badges, heard = [], []
    await host.bus.connection.subscribe("flow.f.three.status", lambda subject, data, *_: badges.append(unpack(data)))
    await host.bus.connection.subscribe(
        "flow.f.heard.debug", lambda subject, data, *_: heard.append(unpack(data)["value"])
    )
    result = await host.documents.deploy(document(), "f.json")
    assert not result.failed and not result.problems, result

    assert await shown(host) == {"one": ("", ""), "two": ("", ""), "three": ("", ""), "three:plus": ("", "")}
    await host.steer.inject("f", "three:shows", "in", {"text": "hot", "kind": "warn"})
    await until(lambda: badges and heard)
    assert (badges[-1]["node"], badges[-1]["text"], badges[-1]["kind"]) == ("three", "hot", "warn")
    assert heard == [{"node": "three", "text": "hot", "kind": "warn"}]
    assert (await shown(host))["three"] == ("hot", "warn")

    before = pids(host)
    result = await host.documents.deploy(document(offset=5), "f.json")
    assert not result.failed and not result.problems, result
    assert sorted(result.restarted) == ["one:more", "three:plus:more", "two:more"]
    after = pids(host)
    assert {name for name in after if after[name] != before[name]} == set(result.restarted)
