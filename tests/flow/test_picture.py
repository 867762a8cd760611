"""The picture of a flow: well-formed, complete, the same each time, and calm about what is wrong."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from flowcore.flow.picture import colour, draw
from flowcore.flow.types import NodeTypeInfo, PortInfo

FLOWS = sorted((Path(__file__).parents[2] / "flows").glob("*.json"))
_SVG = "{http://www.w3.org/2000/svg}"
TYPES = {"x/a": NodeTypeInfo("x/a", category="x", inputs=(PortInfo("in"),), outputs=(PortInfo("out"),))}


def _texts(svg: str) -> list[str]:
    return [part.text or "" for part in ElementTree.fromstring(svg).iter(f"{_SVG}text")]


@pytest.mark.parametrize("path", [path for path in FLOWS if not path.name.endswith(".test.json")], ids=lambda p: p.stem)
@pytest.mark.parametrize("placed", [True, False])
def test_every_node_and_wire_is_drawn_and_boxes_do_not_overlap(path, placed):
    """As their author placed them, and in columns where he did not."""
    document = json.loads(path.read_text(encoding="utf-8"))
    for node in document["nodes"]:
        if not placed:
            node.pop("ui", None)
    svg = draw(document, {})
    assert svg == draw(document, {})
    drawn = ElementTree.fromstring(svg)
    assert len(list(drawn.iter(f"{_SVG}path"))) == len(document["wires"])
    boxes = [group.find(f"{_SVG}rect").attrib for group in drawn.iter(f"{_SVG}g")]
    assert len(boxes) == len(document["nodes"])
    places = [[float(box[key]) for key in ("x", "y", "width", "height")] for box in boxes]
    for at, (x, y, width, height) in enumerate(places):
        assert x >= 0 and x + width <= float(drawn.get("width")) and y + height <= float(drawn.get("height"))
        for x2, y2, width2, height2 in places[at + 1 :]:
            assert x + width <= x2 or x2 + width2 <= x or y + height <= y2 or y2 + height2 <= y


def test_a_focus_shows_what_is_near():
    """Of a long line the node, its neighbours, and theirs."""
    nodes = [{"id": f"n{k}", "type": "x/a"} for k in range(12)]
    wires = [{"from": f"n{k}.out", "to": f"n{k + 1}.in"} for k in range(11)]
    assert _texts(draw({"nodes": nodes, "wires": wires}, TYPES, focus="n5"))[::2] == ["n3", "n4", "n5", "n6", "n7"]


def test_what_is_wrong_or_strange_is_drawn_as_far_as_it_goes():
    """Wires to nowhere, unknown types, markup in names, circles, nothing at all."""
    nodes = [
        {"id": "a", "type": "x/a", "name": "<b>&"},
        {"id": "b", "type": "no/such", "name": "a name that is much longer than a box"},
    ]
    wires = [
        {"from": "a.out", "to": "b.in"},
        {"from": "b.error", "to": "a.in"},
        {"from": "a.out", "to": "c.in"},
        {"from": "b.in", "to": "b.in", "delivery": "durable"},
    ]
    svg = draw({"nodes": [*nodes, {"type": "x/a"}], "wires": [*wires, "rubbish"]}, TYPES)
    assert _texts(svg)[0] == "<b>&" and _texts(svg)[2].endswith("…")
    assert len(list(ElementTree.fromstring(svg).iter(f"{_SVG}path"))) == 3
    assert ElementTree.fromstring(draw({}, {})).tag == f"{_SVG}svg"


def test_a_category_keeps_its_colour():
    """Its own or one made of its name; two of ours are told apart."""
    assert colour("acme") == colour("acme") and colour("core") != colour("network")
