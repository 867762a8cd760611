"""Reading an export: which nodes there are, and on which tab or in which subflow each stands.

Takes what Node-RED's editor exports and what its runtime writes: a list of nodes, `{"flows": [...]}` of its admin API
(v2), a single flow of it (`{"label": .., "nodes": [...], "configs": [...]}`), and the old form of such a list in which
a tab is called `tab` and nodes without one stand together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Raw = dict[str, Any]


class NotAnExport(ValueError):
    """The text is not a Node-RED export; says why."""


@dataclass
class Scope:
    """A tab, or the inside of a subflow: its definition, and the nodes and groups that stand in it, in file order."""

    definition: Raw
    nodes: list[Raw] = field(default_factory=list)
    groups: list[Raw] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Node-RED's id of it."""
        return str(self.definition.get("id", ""))


@dataclass
class Export:
    """All of an export, sorted by what it is."""

    tabs: dict[str, Scope]
    subflows: dict[str, Scope]
    configs: dict[str, Raw]  # nodes that stand nowhere: brokers, certificates, ...

    def node(self, id: str) -> Raw | None:
        """A node on any tab or in any subflow."""
        return self._all().get(id)

    def scope_of(self, id: str) -> Scope | None:
        """Where a node stands."""
        for scope in (*self.tabs.values(), *self.subflows.values()):
            if any(node.get("id") == id for node in scope.nodes):
                return scope
        return None

    def _all(self) -> Mapping[str, Raw]:
        scopes = (*self.tabs.values(), *self.subflows.values())
        return {str(node.get("id")): node for scope in scopes for node in scope.nodes}


def read(text: str | bytes) -> Export:
    """Sort an export.

    Raises:
        NotAnExport: no JSON, or not the JSON of an export.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotAnExport(f"not JSON: {error}") from None
    nodes = list(_nodes(value))
    if not nodes:
        raise NotAnExport("there are no nodes in it")
    seen: set[str] = set()
    for at, node in enumerate(nodes):
        if not isinstance(node, dict) or not isinstance(node.get("type"), str) or not node.get("id"):
            raise NotAnExport(f"entry {at + 1} is no node: each has an id and a type")
        if str(node["id"]) in seen:
            raise NotAnExport(f"the id {node['id']!r} is there twice")
        seen.add(str(node["id"]))
    return _sorted(nodes)


def _nodes(value: Any) -> Iterator[Any]:
    if isinstance(value, dict) and isinstance(value.get("flows"), list):
        value = value["flows"]
    elif isinstance(value, dict) and isinstance(value.get("nodes"), list):
        yield {**{key: one for key, one in value.items() if key not in ("nodes", "configs", "subflows")}, "type": "tab"}
        for subflow in value.get("subflows") or []:
            yield {**{key: one for key, one in subflow.items() if key not in ("nodes", "configs")}, "type": "subflow"}
            yield from (*(subflow.get("nodes") or []), *(subflow.get("configs") or []))
        value = [*value["nodes"], *(value.get("configs") or [])]
    if not isinstance(value, list):
        raise NotAnExport("an export is a list of nodes, or a map with `flows` or `nodes`")
    yield from value


def _sorted(nodes: list[Raw]) -> Export:
    tabs = {str(node["id"]): Scope(node) for node in nodes if node["type"] == "tab"}
    subflows = {str(node["id"]): Scope(node) for node in nodes if node["type"] == "subflow"}
    configs: dict[str, Raw] = {}
    scopes = {**tabs, **subflows}
    alone = Scope({"id": "", "type": "tab", "label": ""})  # an export of some nodes names a tab that is not in it
    for node in nodes:
        if node["type"] in ("tab", "subflow"):
            continue
        if node["type"] == "group":
            (scopes.get(str(node.get("z"))) or alone).groups.append(node)
        elif "x" in node and "y" in node:
            (scopes.get(str(node.get("z"))) or alone).nodes.append(node)
        else:
            configs[str(node["id"])] = node
    if alone.nodes:
        tabs[""] = alone
    return Export(tabs, subflows, configs)
