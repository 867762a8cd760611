"""The flows that are drawn: chains of nodes beside each other, as many nodes as one likes."""

from typing import Any

_TYPES = ("core/inject", "core/change", "core/switch", "core/change", "core/debug")
_CONFIGS: dict[str, dict[str, Any]] = {
    "core/inject": {"every_s": 0.1, "payload": {"celsius": 21.5}},
    "core/switch": {"rules": [{"op": "not null"}]},
}
_OUTPUTS = {"core/switch": "out1"}


def chains(id_: str, nodes: int) -> dict[str, Any]:
    """A flow of so many nodes: chains of five, each `c<chain>-n<place>`, 25 chains above each other."""
    document: dict[str, Any] = {"flowcore": 1, "id": id_, "name": f"{nodes} nodes", "nodes": [], "wires": []}
    for k in range(nodes):
        chain, place = divmod(k, len(_TYPES))
        column, row = divmod(chain, 25)
        at = {"x": 60 + column * 1200 + place * 230, "y": 80 + row * 90}
        type_ = _TYPES[place]
        document["nodes"].append(
            {"id": f"c{chain}-n{place}", "type": type_, "config": _CONFIGS.get(type_, {}), "ui": at}
        )
        if place:
            output = _OUTPUTS.get(_TYPES[place - 1], "out")
            document["wires"].append({"from": f"c{chain}-n{place - 1}.{output}", "to": f"c{chain}-n{place}.in"})
    return document
