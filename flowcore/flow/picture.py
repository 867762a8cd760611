"""A flow drawn as SVG: boxes coloured by category, ports, wires. Pure: text in, text out, the same for the same flow.

Nodes stand where their `ui` puts them; where one has no place, all are put in columns along the wires. With a focus
only that node and what is near it are drawn. A dashed wire is `latest`, a thick one `durable`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from flowcore.flow.types import NodeTypeInfo

_COLOURS = {
    "core": "#a6c8f0",
    "function": "#f6cf8f",
    "sequence": "#f3df86",
    "parser": "#d8c2ee",
    "time": "#f2bcc4",
    "network": "#9adbc5",
    "iot": "#9adbc5",
    "storage": "#d9cbb0",
    "state": "#d9cbb0",
    "vision": "#c9b5f2",
    "ai": "#f0b3dd",
    "flow": "#cfd6de",
    "subflow": "#cfd6de",
}
_SPARE = ("#b6d7a8", "#f4b6a0", "#a7d3e8", "#e3c9a8", "#c5cae9", "#dce29a")
_INK, _SOFT_INK, _WIRE, _EDGE, _FOCUS = "#1f2933", "#52606d", "#7b8794", "#9aa5b1", "#c2410c"

_STYLES = {"latest": 'stroke-width="2" stroke-dasharray="6 4"', "durable": 'stroke-width="4"'}

_LETTER_PX = 6.7  # of the label's font, on the broad side, so that a label fits in any sans-serif
_SMALL_LETTER_PX = 5.6
_LONGEST_LABEL = 24
_HEIGHT_PX, _PORT_GAP_PX, _MARGIN_PX = 40, 18, 24
_COLUMN_GAP_PX, _ROW_GAP_PX = 70, 26
_NEAR, _ENOUGH = 2, 7  # steps from the focus, and nodes with which one step will do


@dataclass
class _Box:
    """A node to be drawn; x and y are its left upper corner."""

    id: str
    label: str
    type: str
    colour: str
    inputs: list[str]
    outputs: list[str]
    off: bool = False
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        return max(90.0, 26 + max(len(self.label) * _LETTER_PX, len(self.type) * _SMALL_LETTER_PX))

    @property
    def height(self) -> float:
        return float(max(_HEIGHT_PX, _PORT_GAP_PX * max(len(self.inputs), len(self.outputs)) + 6))

    def port(self, name: str, is_output: bool) -> tuple[float, float]:
        """Where a port is."""
        ports = self.outputs if is_output else self.inputs
        at = ports.index(name) if name in ports else 0
        y = self.y + self.height / 2 + (at - (len(ports) - 1) / 2) * _PORT_GAP_PX
        return self.x + (self.width if is_output else 0), y


@dataclass
class _Drawing:
    boxes: dict[str, _Box]
    wires: list[dict[str, Any]] = field(default_factory=list)


def draw(document: Mapping[str, Any], types: Mapping[str, NodeTypeInfo], focus: str | None = None) -> str:
    """A flow document, or what is around the node `focus` of it, as the text of an SVG file.

    What the document has wrong is left out: a wire to nowhere, a node without an id.
    """
    nodes = [node for node in document.get("nodes", ()) if isinstance(node, dict) and node.get("id")]
    known = {node["id"] for node in nodes}
    wires = [wire for wire in document.get("wires", ()) if {_node(wire, "from"), _node(wire, "to")} <= known]
    if focus is not None:
        near = _near(focus, [(_node(wire, "from"), _node(wire, "to")) for wire in wires])
        nodes = [node for node in nodes if node["id"] in near]
        wires = [wire for wire in wires if {_node(wire, "from"), _node(wire, "to")} <= near]
    boxes = {node["id"]: _box(node, document, types, wires) for node in nodes}
    drawing = _Drawing(boxes, wires)
    places = [node.get("ui") or {} for node in nodes]
    if all("x" in place and "y" in place for place in places):
        _as_placed(boxes.values(), places)
    else:
        _in_columns(drawing)
    return _svg(drawing, focus, str(document.get("name") or document.get("id") or "a flow"))


def _node(wire: Any, end: str) -> str:
    return str(wire.get(end, "") if isinstance(wire, dict) else "").partition(".")[0]


def _port(wire: Any, end: str) -> str:
    return str(wire.get(end, "")).partition(".")[2]


def _near(focus: str, pairs: Sequence[tuple[str, str]]) -> set[str]:
    """The focus and what it is wired to; what that is wired to, too, as long as the picture stays small."""
    near = {focus}
    for _ in range(_NEAR):
        wider = near | {one for pair in pairs if near & set(pair) for one in pair}
        if len(wider) > _ENOUGH and len(near) > 1:
            break
        near = wider
    return near


def _box(node: dict, document: Mapping[str, Any], types: Mapping[str, NodeTypeInfo], wires: list[dict]) -> _Box:
    type_name = str(node.get("type", ""))
    info = types.get(type_name)
    subflow = (document.get("subflows") or {}).get(type_name.removeprefix("subflow:")) or {}
    if info is not None:
        config = node.get("config") or {}
        inputs = [port.name for port in info.input_ports(config)]
        outputs = [port.name for port in info.output_ports(config)]
    else:
        inputs, outputs = list(subflow.get("inputs") or ()), list(subflow.get("outputs") or ())
    for wire in wires:  # hidden ports that are used, such as `error`, and those of types that are not known
        if _node(wire, "from") == node["id"] and _port(wire, "from") not in outputs:
            outputs.append(_port(wire, "from"))
        if _node(wire, "to") == node["id"] and _port(wire, "to") not in inputs:
            inputs.append(_port(wire, "to"))
    category = info.category if info else type_name.partition(":")[0].partition("/")[0]
    return _Box(
        id=node["id"],
        label=_cut(str(node.get("name") or subflow.get("name") or node["id"])),
        type=type_name,
        colour=colour(category),
        inputs=inputs,
        outputs=outputs,
        off=bool(node.get("disabled")),
    )


def colour(category: str) -> str:
    """The colour of a category of nodes, #rrggbb: its own, or one that stays the same for its name."""
    number = hashlib.sha256(category.encode()).digest()[0]
    return _COLOURS.get(category, _SPARE[number % len(_SPARE)])


def _cut(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1].rstrip() + "…"


def _as_placed(boxes: Iterable[_Box], places: Sequence[Mapping[str, float]]) -> None:
    """Where the author put them, drawn apart where labels need more room than the canvas gave."""
    ordered = list(zip(boxes, places, strict=True))
    columns = sorted({float(place["x"]) for _, place in ordered})
    left: dict[float, float] = {}
    edge = shift = 0.0
    for at, x in enumerate(columns):
        if at and x - columns[at - 1] >= 40 and x + shift < edge:
            shift = edge - x
        left[x] = x + shift
        edge = max([edge, *(left[x] + box.width + 40 for box, place in ordered if float(place["x"]) == x)])
    for box, place in ordered:
        box.x, box.y = left[float(place["x"])], float(place["y"]) - box.height / 2


def _in_columns(drawing: _Drawing) -> None:
    """A column a step along the wires; wires that lead back count for nothing."""
    order = list(drawing.boxes)
    depth = dict.fromkeys(order, 0)
    pairs = [(_node(wire, "from"), _node(wire, "to")) for wire in drawing.wires]
    for _ in order:
        for source, target in pairs:
            if order.index(source) < order.index(target):
                depth[target] = max(depth[target], depth[source] + 1)
    x = 0.0
    for column in range(max(depth.values(), default=0) + 1):
        boxes = [drawing.boxes[name] for name in order if depth[name] == column]
        y = 0.0
        for box in boxes:
            box.x, box.y = x, y
            y += box.height + _ROW_GAP_PX
        x += max((box.width for box in boxes), default=0) + _COLUMN_GAP_PX


def _svg(drawing: _Drawing, focus: str | None, title: str) -> str:
    boxes = list(drawing.boxes.values())
    left, top = min((box.x for box in boxes), default=0), min((box.y for box in boxes), default=0)
    for box in boxes:
        box.x += _MARGIN_PX - left
        box.y += _MARGIN_PX - top
    width = max((box.x + box.width for box in boxes), default=0) + _MARGIN_PX
    height = max((box.y + box.height for box in boxes), default=0) + _MARGIN_PX
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(width)} {_n(height)}" width="{_n(width)}" '
        f'height="{_n(height)}" role="img" font-family="system-ui, sans-serif">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_n(width)}" height="{_n(height)}" rx="8" fill="#ffffff"/>',
    ]
    parts += [_wire(wire, drawing.boxes) for wire in drawing.wires]
    for box in boxes:
        parts += _shape(box, box.id == focus)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _wire(wire: dict[str, Any], boxes: Mapping[str, _Box]) -> str:
    x1, y1 = boxes[_node(wire, "from")].port(_port(wire, "from"), is_output=True)
    x2, y2 = boxes[_node(wire, "to")].port(_port(wire, "to"), is_output=False)
    bend = max(40.0, abs(x2 - x1) / 2)
    style = _STYLES.get(str(wire.get("delivery")), 'stroke-width="2"')
    said = f"{wire['from']} to {wire['to']}" + (f", {wire['delivery']}" if wire.get("delivery") else "")
    path = f"M{_n(x1)} {_n(y1)} C{_n(x1 + bend)} {_n(y1)} {_n(x2 - bend)} {_n(y2)} {_n(x2)} {_n(y2)}"
    return f'<path d="{path}" fill="none" stroke="{_WIRE}" {style}><title>{escape(said)}</title></path>'


def _shape(box: _Box, is_focus: bool) -> Iterable[str]:
    edge, thick = (_FOCUS, 2.5) if is_focus else (_EDGE, 1)
    faint = ' opacity="0.45"' if box.off else ""
    middle, at = box.x + box.width / 2, box.y + box.height / 2
    yield f"<g{faint}>"
    yield (
        f'<rect x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" height="{_n(box.height)}" rx="6" '
        f'fill="{box.colour}" stroke="{edge}" stroke-width="{thick}"/>'
    )
    yield _text(middle, at - 3, 12, _INK, box.label, weight="600" if is_focus else "500")
    yield _text(middle, at + 12, 10, _SOFT_INK, box.type)
    for names, is_output in ((box.inputs, False), (box.outputs, True)):
        for name in names:
            x, y = box.port(name, is_output)
            yield (
                f'<rect x="{_n(x - 4)}" y="{_n(y - 4)}" width="8" height="8" rx="2" fill="#ffffff" stroke="{edge}">'
                f"<title>{escape(name)}</title></rect>"
            )
    yield "</g>"


def _text(x: float, y: float, size: int, ink: str, text: str, weight: str = "400") -> str:
    said = escape(text)
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" font-size="{size}" font-weight="{weight}" fill="{ink}" '
        f'text-anchor="middle">{said}</text>'
    )


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
