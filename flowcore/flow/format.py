"""A flow written back to its file: always the same text for the same flow, and one that makes a small diff.

Fields stand in the order of the model, nodes and wires in the order they have (it means something: cycles are found in
it), a config's fields as their author wrote them. What fits on a line stands on one, so a changed value is one line.
Nothing is added that the author left out.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from flowcore.flow.model import (
    FlowDocument,
    GroupDef,
    NodeDef,
    NodeSettings,
    ParameterDef,
    ResourceDef,
    SubflowDef,
    WireDef,
)

WIDTH = 110

_ORDER: dict[str, type[BaseModel]] = {"nodes": NodeDef, "wires": WireDef, "groups": GroupDef}
_ORDER_IN: dict[str, type[BaseModel]] = {"subflows": SubflowDef, "resources": ResourceDef, "params": ParameterDef}
_SPREAD = (*_ORDER, "subflows", "resources")


def format_flow(flow: FlowDocument | dict[str, Any]) -> str:
    """The text of a flow file, ending in a line break. Formatting what it gives changes nothing."""
    value = flow.model_dump(by_alias=True, exclude_unset=True) if isinstance(flow, FlowDocument) else flow
    return _text(_ordered(value, FlowDocument), 0, 0) + "\n"


def format_node(node: dict[str, Any]) -> str:
    """The text of one node, as it stands in a flow file but for the indent."""
    return _text(_ordered(node, NodeDef), 0, 0, False)


def _ordered(value: Any, model: type[BaseModel]) -> Any:
    """A part of a document with its fields in the order of its model; fields the model has not come last."""
    if not isinstance(value, dict):
        return value
    names = [info.alias or name for name, info in model.model_fields.items()]
    ordered = {}
    for name in [*(one for one in names if one in value), *(one for one in value if one not in names)]:
        inner = value[name]
        if name in _ORDER and isinstance(inner, list):
            inner = [_ordered(one, _ORDER[name]) for one in inner]
        elif name in _ORDER_IN and isinstance(inner, dict) and model is not NodeDef:
            inner = {key: _ordered(one, _ORDER_IN[name]) for key, one in inner.items()}
        elif name == "settings":
            inner = _ordered(inner, NodeSettings)
        ordered[name] = inner
    return ordered


def _text(value: Any, indent: int, used: int, spread: bool = True) -> str:
    """A value as text.

    Args:
        value: anything JSON has.
        indent: of the line it begins on.
        used: the width taken on that line.
        spread: an entry a line even if all would fit on one, so that a further node or wire is one more line.
    """
    spread = spread or (isinstance(value, dict) and any(key in value for key in _ORDER))
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if not isinstance(value, dict | list) or not value or (not spread and used + len(line) <= WIDTH):
        return line
    inside = " " * (indent + 2)
    if isinstance(value, list):
        entries = [_text(one, indent + 2, indent + 2, False) for one in value]
    else:
        keys = {key: json.dumps(key, ensure_ascii=False) + ": " for key in value}
        entries = [
            keys[key] + _text(one, indent + 2, indent + 2 + len(keys[key]), key in _SPREAD)
            for key, one in value.items()
        ]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n" + ",\n".join(inside + entry for entry in entries) + f"\n{' ' * indent}{closing}"
