"""The part of a document that has the right shape, so that its meaning can be checked while the rest is mended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from flowcore.flow.model import FlowDocument
from flowcore.flow.problems import pointer
from flowcore.flow.wording import Fault

_LISTS = ("nodes", "wires", "groups")
_NEEDED = ("id", "type", "from", "to")  # fields without which a node, wire or group is none


@dataclass
class Sound:
    """What is left of a document, and what is needed to speak of it as if it were whole."""

    value: dict[str, Any]
    broken: dict[str, set[str]] = field(default_factory=dict)  # ids of nodes left out, by pointer of their level
    kept: dict[str, list[int]] = field(default_factory=dict)  # by pointer of a list: where its entries stood before

    def restore_pointers(self, document: FlowDocument) -> None:
        """Let the parts of a document made of this say where they stood in the whole one."""
        for scope in (document, *document.subflows.values()):
            for kind in _LISTS:
                places = self.kept.get(f"{scope.pointer}/{kind}")
                for part, index in zip(getattr(scope, kind), places or (), strict=False):
                    part._pointer = f"{scope.pointer}/{kind}/{index}"


def without(value: dict[str, Any], faults: Iterable[Fault]) -> Sound:
    """A document without what is at fault: unknown fields, wrong values, nodes without an id, wires without an end."""
    dead = {fault.path if fault.at_key else _part(fault.path) for fault in faults}
    if not dead:
        return Sound(value)
    # Where the nodes are no list, there is nothing that wires could be checked against.
    dead |= {(*path[:-1], "wires") for path in dead if path[-1:] == ("nodes",)}
    sound = Sound({})
    for path in dead:
        node = _at(value, path) if len(path) > 1 and path[-2] == "nodes" else None
        if isinstance(node, dict) and isinstance(node.get("id"), str):
            sound.broken.setdefault(pointer(*path[:-2]), set()).add(node["id"])
    sound.value = {"id": "unnamed", **_rest(value, (), dead, sound), "flowcore": 1}
    return sound


def _part(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """What must go because of a wrong value here: the node or wire for which it is needed, else the value alone."""
    for index, step in enumerate(path):
        if isinstance(step, int) and index and path[index - 1] in _LISTS:
            needed = len(path) == index + 1 or path[index + 1] in _NEEDED
            return path[: index + 1] if needed else path[: index + 2]
    return path


def _rest(value: Any, path: tuple[Any, ...], dead: set[tuple[Any, ...]], sound: Sound) -> Any:
    if not any(one[: len(path)] == path for one in dead):
        return value
    if isinstance(value, dict):
        return {
            key: _rest(inner, (*path, key), dead, sound) for key, inner in value.items() if (*path, key) not in dead
        }
    if isinstance(value, list):
        kept = [index for index in range(len(value)) if (*path, index) not in dead]
        sound.kept[pointer(*path)] = kept
        return [_rest(value[index], (*path, index), dead, sound) for index in kept]
    return value


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value
