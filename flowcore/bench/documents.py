"""Flow documents in few words."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

NodeLike = Mapping[str, Any] | str
WireLike = Mapping[str, Any] | str


def flow(id_: str, nodes: Mapping[str, NodeLike], wires: Iterable[WireLike]) -> dict[str, Any]:
    """A document; a node is its type or a map, a wire `"a.out > b.in"` or a map."""
    listed = [{"id": name, **({"type": node} if isinstance(node, str) else node)} for name, node in nodes.items()]
    return {"flowcore": 1, "id": id_, "name": id_, "nodes": listed, "wires": [_wire(wire) for wire in wires]}


def row_of(names: Sequence[str]) -> list[str]:
    """Wires that join these in a row, from `out` to `in`."""
    return [f"{a}.out > {b}.in" for a, b in pairwise(names)]


def _wire(wire: WireLike) -> dict[str, Any]:
    return dict(zip(("from", "to"), wire.split(" > "), strict=True)) if isinstance(wire, str) else dict(wire)
