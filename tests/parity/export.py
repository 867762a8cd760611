"""A case as an export with ids of its own and with its ends on it, so that many fit into one runtime."""

import json
from collections.abc import Callable
from typing import Any

from tests.parity.cases import Case

End = Callable[[int], dict[str, Any]]


def own_id(case: Case, name: str) -> str:
    """A Node-RED id that no other case has."""
    return f"{case.id}-{name}"


def end_id(case: Case, port: int) -> str:
    """The id of what stands at an output."""
    return own_id(case, f"end{port}")


def own_export(case: Case, end: End) -> list[dict[str, Any]]:
    """The export; `end(port)` is the node that stands at an output, without its id and place."""
    ids = {node["id"] for node in case.flow}
    ports: set[int] = set()
    made = []
    for node in case.flow:
        text = json.dumps({key: value for key, value in node.items() if key != "type"})
        for name in ids:
            text = text.replace(f'"{name}"', f'"{own_id(case, name)}"')
        renamed = {**json.loads(text), "type": node["type"]}
        renamed["name"] = renamed.get("name") or renamed["id"]  # from which ours makes the id
        if case.is_single and node["type"] != "tab":
            renamed["wires"] = [[f"out{port}"] for port in range(1, int(node.get("outputs", 1)) + 1)]
        renamed["wires"] = [[_wire(case, one, ports) for one in wires] for wires in renamed.get("wires", [])]
        made.append(renamed)
    place = {"z": own_id(case, "tab"), "x": 900, "y": 100, "wires": []}
    ends = [{**end(port), "id": end_id(case, port), "name": end_id(case, port), **place} for port in sorted(ports)]
    return [*made, *ends]


def _wire(case: Case, to: str, ports: set[int]) -> str:
    if not to.startswith("out"):
        return to
    port = int(to.removeprefix("out") or 1)
    ports.add(port)
    return end_id(case, port)
