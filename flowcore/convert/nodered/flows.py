"""The import itself: a flow document a tab, each with the subflows and resources that it uses."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowcore.convert.nodered import environment
from flowcore.convert.nodered.export import Export, Raw, Scope, read
from flowcore.convert.nodered.findings import Finding
from flowcore.convert.nodered.names import Names
from flowcore.convert.nodered.part import Document, Part
from flowcore.convert.nodered.scope import Placed


@dataclass
class Imported:
    """What came of an export."""

    flows: list[Document] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def not_turned(self) -> list[Finding]:
        """The nodes that are placeholders."""
        return [finding for finding in self.findings if finding.kind == "not turned"]


def turn(text: str | bytes, name: str = "") -> Imported:
    """Turn an export into flow documents; what is not as it was is among the findings.

    Args:
        text: the export.
        name: what a tab without a name is called.
    Raises:
        NotAnExport: the text is none.
    """
    return _Turning(read(text), name).turned


class _Turning:
    def __init__(self, export: Export, name: str) -> None:
        self._export, self._name = export, name
        self.turned = Imported()
        self._kept: set[str] = set()  # config nodes of which something stays
        self._everywhere: dict[str, Placed] = {}
        self._name_everything()
        parts = {scope.id: self._part(scope) for scope in export.subflows.values()}
        self._parts = parts
        for part in parts.values():
            part.fill()
        for scope in export.tabs.values():
            self.turned.flows.append(self._flow(scope))
        self._tell_of_the_rest()

    def _part(self, scope: Scope) -> Part:
        return Part(self._export, scope, self._everywhere, self.turned.findings, self._kept)

    def _name_everything(self) -> None:
        flows, subflows = Names(), Names()
        for scope in self._export.tabs.values():
            label = str(scope.definition.get("label") or "")
            self._everywhere[scope.id] = Placed(scope, flows.take(label, self._name, "flow"))
        for scope in self._export.subflows.values():
            self._everywhere[scope.id] = Placed(
                scope, subflows.take(str(scope.definition.get("name") or ""), "subflow")
            )
        for placed in self._everywhere.values():
            for node in placed.scope.nodes:
                placed.nodes[str(node["id"])] = placed.names.take(_called(node), _kind(node, self._everywhere))
            groups = Names()
            for group in placed.scope.groups:
                placed.groups[str(group["id"])] = groups.take(str(group.get("name") or ""), "group")

    def _flow(self, scope: Scope) -> Document:
        part = self._part(scope)
        part.fill()
        definition = scope.definition
        document: Document = {"flowcore": 1, "id": part.placed.flow}
        if definition.get("label"):
            document["name"] = str(definition["label"])[:200]
        if definition.get("info"):
            document["description"] = str(definition["info"])
        env = {**environment.of_globals(self._export, part.around), **part.env}
        if env:
            document["env"] = env
        document |= {"nodes": part.nodes, "wires": part.wires}
        used = self._used(part)
        if used:
            document["subflows"] = {one.placed.flow: one.subflow() for one in used}
        if part.groups:
            document["groups"] = part.groups
        resources = {name: made for one in (part, *used) for name, made in one.resources.items()}
        if resources:
            document["resources"] = resources
        texts = [node.get("config") for node in part.nodes], document.get("resources")
        for one in environment.of_the_machine(texts, document.get("env", {})):
            part.tell(
                "differs", f"${{{one}}} is set nowhere in the export", "set it where flowcore runs, or in its env"
            )
        if definition.get("disabled"):
            for node in part.nodes:
                node["disabled"] = True
            part.tell("differs", "the tab was disabled, which a flow can't be: each of its nodes is", "enable them")
        return document

    def _tell_of_the_rest(self) -> None:
        """Config nodes that no node here has anything of."""
        for id, raw in self._export.configs.items():
            if id in self._kept:
                continue
            name = str(raw.get("name") or "")
            if raw["type"] == "global-config":
                if raw.get("modules"):
                    why = f"its nodes came from the packages {', '.join(raw['modules'])}"
                    self.turned.findings.append(Finding("setting", "", "", id, name, raw["type"], why))
                continue
            why = "settings that no node here uses are left out"
            self.turned.findings.append(Finding("setting", "", "", id, name, str(raw["type"]), why))

    def _used(self, part: Part) -> list[Part]:
        """The subflows that a part uses, and those that these use."""
        used: dict[str, Part] = {}
        waiting = [part]
        while waiting:
            for node in waiting.pop().scope.nodes:
                kind, _, id = str(node["type"]).partition(":")
                if kind == "subflow" and id in self._parts and id not in used:
                    used[id] = self._parts[id]
                    waiting.append(used[id])
        return list(used.values())


def _called(raw: Raw) -> str:
    return str(raw.get("name") or "")


def _kind(raw: Raw, everywhere: dict[str, Placed]) -> str:
    type = str(raw["type"])
    if type.startswith("subflow:"):
        placed = everywhere.get(type.removeprefix("subflow:"))
        return placed.flow if placed else "subflow"
    return {"rbe": "filter"}.get(type, type)
