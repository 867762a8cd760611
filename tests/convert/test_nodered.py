"""Exports of Node-RED become flows that can be deployed, and nothing in them is lost without a word."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from flowcore.convert.nodered import NotAnExport, turn
from flowcore.convert.nodered.names import Names, slug
from flowcore.convert.nodered.nodes import BY_TYPE
from flowcore.flow.validate import check
from flowcore.runtime.typelist import read
from tests.convert.turned import EXPORTS, files

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / ".peers" / "node-red" / "node_modules" / "@node-red" / "nodes" / "examples"


@pytest.fixture(scope="module")
def types():
    """The installed node types."""
    return read().types


def checked(imported, types) -> list[str]:
    """What `flowcore validate` says of the flows; links between them are known."""
    texts = [json.dumps(document) for document in imported.flows]
    environ = {"HOME": "/", "HALL": "7"}  # the exports name them, and leave them to the machine
    documents = [check(text, "flow.json", types, environ).document for text in texts]
    found = []
    for at, text in enumerate(texts):
        others = [one for other, one in enumerate(documents) if other != at and one is not None]
        found += check(text, f"{imported.flows[at]['id']}.json", types, environ, None, others).errors
    return [str(problem) for problem in found]


def nodes_in(value: Any) -> list[dict]:
    """The nodes of an export that stand on a canvas."""
    if isinstance(value, dict):
        value = value.get("flows") or [*value["nodes"], *value["configs"]]
    return [node for node in value if "x" in node and "y" in node and node["type"] not in ("group", "subflow")]


def nodes_of(export: Path) -> list[dict]:
    """The same of a file."""
    return nodes_in(json.loads(export.read_text(encoding="utf-8")))


@pytest.mark.parametrize("export", EXPORTS, ids=lambda path: path.stem)
def test_an_export_becomes_these_flows(export):
    """Written by `python -m tests.convert`."""
    made = files(export)
    folder = next(iter(made)).parent
    kept = {path: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert kept == made


@pytest.mark.parametrize("export", EXPORTS, ids=lambda path: path.stem)
def test_the_flows_are_valid(export, types):
    """With the node types that ship."""
    assert checked(turn(export.read_text(encoding="utf-8")), types) == []


@pytest.mark.parametrize("export", EXPORTS, ids=lambda path: path.stem)
def test_every_node_is_there_under_its_name_and_stands_on_no_other(export):
    """Also those that could not be turned, and what was made besides; ours are wider than theirs."""
    imported = turn(export.read_text(encoding="utf-8"))
    names = set()
    for document in imported.flows:
        for scope in (document, *document.get("subflows", {}).values()):
            names |= {node.get("name", "") for node in scope["nodes"]}
            for one, other in combinations(sorted(scope["nodes"], key=lambda node: node["ui"]["x"]), 2):
                width = 20 if one["type"] == "core/junction" else 160
                apart = other["ui"]["x"] - one["ui"]["x"], abs(other["ui"]["y"] - one["ui"]["y"])
                assert apart[0] >= width or apart[1] >= 34, (one["id"], other["id"])
    assert {node.get("name", "") for node in nodes_of(export)} <= names


def test_what_is_made_besides_stands_between_its_neighbours():
    """In a column of its own, so that wires run from left to right."""
    place = {"z": "t", "type": "http in", "method": "get", "x": 100}
    export = [
        {"id": "t", "type": "tab"},
        {"id": "a", "name": "a", **place, "y": 40, "url": "/a", "wires": [["b"]]},
        {"id": "b", "name": "b", "z": "t", "type": "debug", "x": 260, "y": 40},
        {"id": "c", "name": "c", "z": "t", "type": "inject", "x": 120, "y": 100, "wires": [["d"]]},
        {"id": "d", "name": "d", "z": "t", "type": "debug", "x": 260, "y": 100},
    ]
    (document,) = turn(json.dumps(export)).flows
    at = {node["id"]: (node["ui"]["x"], node["ui"]["y"]) for node in document["nodes"]}
    assert at == {"a": (80, 43), "a-request": (300, 43), "b": (556, 43), "c": (112, 133), "d": (556, 133)}


@pytest.mark.skipif(not SHIPPED.exists(), reason="Node-RED is not installed here: make parity brings it")
def test_the_examples_that_node_red_ships(types):
    """All of them, from its package."""
    examples = sorted(SHIPPED.rglob("*.json"))
    assert len(examples) > 100
    wrong = {}
    for path in examples:
        if problems := checked(turn(path.read_text(encoding="utf-8")), types):
            wrong[str(path.relative_to(SHIPPED))] = problems
    assert not wrong


def some_node(type: str) -> tuple[Path, dict]:
    """A node of this type, and the export that has it."""
    for export in EXPORTS:
        for node in nodes_of(export):
            kind = "subflow" if node["type"].startswith("subflow:") else node["type"]
            if kind == type:
                return export, node
    raise AssertionError(f"no export has a node of type {type!r}")


@pytest.mark.parametrize("type", sorted(BY_TYPE))
def test_a_setting_that_nobody_knows_is_told(type):
    """Of every type that is turned: what a newer Node-RED adds is not dropped in silence."""
    export, node = some_node(type)
    value = json.loads(export.read_text(encoding="utf-8"))
    next(one for one in nodes_in(value) if one["id"] == node["id"])["wobble"] = "0.7"
    imported = turn(json.dumps(value))
    of_node = [finding for finding in imported.findings if finding.source == node["id"]]
    assert any(finding.kind == "not turned" or "wobble = '0.7'" in finding.why for finding in of_node)


def test_a_placeholder_keeps_all_that_node_red_knew():
    """What its note holds can be imported into Node-RED again, with the config nodes that it uses."""
    imported = turn((EXPORTS[0].parent / "other-packages.json").read_text(encoding="utf-8"))
    (document,) = imported.flows
    node = next(node for node in document["nodes"] if node["id"] == "pressure")
    assert node["disabled"] and node["type"] == "nodered/ui-gauge"
    kept = json.loads(node["note"].rpartition("\n\n")[2])
    assert [one["type"] for one in kept] == ["ui-gauge", "ui-group"]
    assert kept[0]["max"] == 10 and kept[1]["width"] == "6"
    assert {"from": "holding-registers-list.out", "to": "pressure.in"} in document["wires"]
    (finding,) = [one for one in imported.not_turned if one.node == "pressure"]
    assert (finding.source, finding.type) == ("p2", "ui-gauge") and "read from the bus" in finding.instead


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[", "not JSON"),
        ("[]", "no nodes"),
        ('"flows"', "a list of nodes"),
        ('{"a": 1}', "a list of nodes"),
        ('[{"id": "a"}]', "entry 1 is no node"),
        ('[{"id": "a", "type": "tab"}, {"id": "a", "type": "debug"}]', "'a' is there twice"),
        ("[1]", "entry 1 is no node"),
    ],
)
def test_what_is_no_export_says_why(text, why):
    with pytest.raises(NotAnExport, match=why):
        turn(text)


def test_a_node_that_is_half_there_is_a_placeholder_and_the_rest_goes_on():
    """Settings of the wrong kind, as a hand-made file may have them."""
    nodes = [
        {"id": "t", "type": "tab", "label": "T"},
        {"id": "r", "type": "range", "z": "t", "x": 1, "y": 1, "minin": "low", "wires": [["d"]]},
        {"id": "s", "type": "switch", "z": "t", "x": 1, "y": 2, "rules": [{"t": "sounds like"}], "wires": [["gone"]]},
        {"id": "c", "type": "change", "z": "t", "x": 1, "y": 3, "rules": "none", "wires": "none"},
        {"id": "d", "type": "debug", "z": "t", "x": 9, "y": 1, "wires": []},
    ]
    (document,), findings = (imported := turn(json.dumps(nodes))).flows, imported.findings
    assert [node.get("disabled", False) for node in document["nodes"]] == [True, True, True, False]
    assert [finding.kind for finding in findings] == ["not turned"] * 3
    assert document["wires"] == [{"from": "range.out1", "to": "debug.in"}]


def test_ids_are_readable_and_never_the_same():
    names = Names()
    assert [names.take(name, "debug") for name in ("Temp > 80 °C", "Temp > 80 °C", "", "日本", "global")] == [
        "temp-80-c", "temp-80-c-2", "debug", "debug-2", "global-2",
    ]  # fmt: skip
    assert slug("x" * 100) == "x" * 64 and names.take("x" * 100) != names.take("x" * 100)
