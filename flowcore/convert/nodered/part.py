"""A tab, or the inside of a subflow, on its way: its nodes, wires, groups and the resources that they use."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from flowcore.convert.nodered import environment
from flowcore.convert.nodered.export import Export, Raw, Scope
from flowcore.convert.nodered.findings import CannotTurn, Finding
from flowcore.convert.nodered.names import Names
from flowcore.convert.nodered.node import Given, Turned
from flowcore.convert.nodered.nodes import BY_TYPE
from flowcore.convert.nodered.placeholder import placeholder, placeholder_note, without_counterpart
from flowcore.convert.nodered.places import Columns
from flowcore.convert.nodered.resources import resource_of
from flowcore.convert.nodered.scope import Around, Placed

Document = dict[str, Any]
_NOT_IN_FORM = ("its settings are not in the form that Node-RED gives them", "open it in Node-RED and export again")


class Part:
    """A tab or the inside of a subflow on its way."""

    def __init__(
        self, export: Export, scope: Scope, everywhere: dict[str, Placed], findings: list[Finding], kept: set[str]
    ) -> None:
        """`everywhere`: the ids of all scopes; `findings` and `kept` (config nodes of which something stays) grow."""
        self._export, self._findings, self._kept = export, findings, kept
        self.scope, self.placed = scope, everywhere[scope.id]
        self.around = Around(export, self.placed, everywhere, self._resource, findings, kept)
        self.resources: dict[str, Document] = {}
        self.nodes: list[Document] = []
        self.wires: list[Document] = []
        self.groups: list[Document] = []
        self.env: dict[str, Any] = {}
        self._resource_names: dict[str, str] = {}
        self._ends: dict[str, tuple[str, list[str]]] = {}  # Node-RED's id -> our input, our outputs ("node.port")
        self._columns = Columns()
        self._stands: list[tuple[Document, Raw, int]] = []  # what is placed when all columns are known: how far behind

    def tell(self, kind: Any, why: str, instead: str = "") -> None:
        """A finding about the tab or subflow itself."""
        definition = self.scope.definition
        name = str(definition.get("label") or definition.get("name") or "")
        source = str(definition.get("id") or "")
        self._findings.append(Finding(kind, self.placed.flow, "", source, name, str(definition["type"]), why, instead))

    def fill(self) -> None:
        """Turn all that stands here."""
        self.env = environment.of_scope(self.scope, self.tell)
        for node in self.scope.nodes:
            self._turn(node)
        for node in self.scope.nodes:
            self._wire(node)
        for ui, raw, at in self._stands:
            ui |= self._columns.node(raw, at)
        self._group()

    def _turn(self, raw: Raw) -> None:
        given = Given(raw, self.around)
        made: Turned
        note = [str(raw["info"])] if raw.get("info") and given.type != "comment" else []
        off = bool(raw.get("d"))
        try:
            turn = BY_TYPE.get("subflow" if given.type.startswith("subflow:") else given.type)
            if turn is None:
                raise without_counterpart(given.type)
            made = turn(given)
            for key, value in given.unseen().items():
                self.around.tell("setting", given, f"{key} = {value!r} has no counterpart here")
        except (CannotTurn, AttributeError, LookupError, TypeError, ValueError) as found:
            error = found if isinstance(found, CannotTurn) else CannotTurn(*_NOT_IN_FORM)
            self.around.tell("not turned", given, error.why, error.instead)
            made, off = placeholder(raw), True
            note.append(placeholder_note([raw, *self._configs_of(raw)], error))
        id = self.placed.nodes[given.id]
        chain = [(id, made.type, made.config)]
        for after, type, config in made.then:
            chain.append((self.placed.names.take(f"{id}-{after}"), type, config))
        first = [(self.placed.names.take(f"{id}-{before}"), type, config) for before, type, config in made.before]
        chain = [*first, *chain]
        self._columns.make(raw, len(first), len(made.then))
        for at, (one, type, config) in enumerate(chain):
            node: Document = {"id": one, "type": type}
            if given.name and one == id:
                node["name"] = given.name[:200]
            if config:
                node["config"] = config
            if made.env and one == id:
                node["env"] = made.env
            if off:
                node["disabled"] = True
            if raw.get("g") in self.placed.groups:
                node["group"] = self.placed.groups[str(raw["g"])]
            node["ui"] = _ui(raw)
            self._stands.append((node["ui"], raw, at - len(first)))
            if note and one == id:
                node["note"] = "\n\n".join(note)
            self.nodes.append(node)
        for before, behind in pairwise(chain):
            leaves = made.outputs[0] if before[0] == id else "out"
            self.wires.append(
                {"from": f"{before[0]}.{leaves}", "to": f"{behind[0]}.{made.input if behind[0] == id else 'in'}"}
            )
        self.wires += [{"from": one.format(id=id), "to": other.format(id=id)} for one, other in made.joins]
        outputs = [f"{id}.{port}" for port in made.outputs]
        if made.then and outputs:
            outputs[0] = f"{chain[-1][0]}.out"
        self._ends[given.id] = (f"{first[0][0]}.in" if first else f"{id}.{made.input}", outputs)

    def _configs_of(self, raw: Raw) -> list[Raw]:
        """The config nodes that a node names, and those that they name: they stay with its placeholder."""
        found: dict[str, Raw] = {}
        waiting = [raw]
        while waiting:
            for value in waiting.pop().values():
                if isinstance(value, str) and value in self._export.configs and value not in found:
                    found[value] = self._export.configs[value]
                    waiting.append(found[value])
        self._kept.update(found)
        return list(found.values())

    def _wire(self, raw: Raw) -> None:
        _, outputs = self._ends[str(raw["id"])]
        for at, targets in enumerate(raw.get("wires") or []):
            for target in targets if isinstance(targets, list) else [targets]:
                if str(target) not in self._ends:
                    continue  # a wire to a node that is not in the export
                if at >= len(outputs):
                    given = Given(raw, self.around)
                    self.around.tell("setting", given, f"a wire from its output {at + 1}, which ours has not")
                    continue
                wire = {"from": outputs[at], "to": self._ends[str(target)][0]}
                if wire not in self.wires:
                    self.wires.append(wire)

    def _group(self) -> None:
        for raw in self.scope.groups:
            group: Document = {"id": self.placed.groups[str(raw["id"])]}
            if raw.get("name"):
                group["name"] = str(raw["name"])[:200]
            group["ui"] = self._columns.frame(raw) | {key: raw[key] for key in ("style",) if key in raw}
            if raw.get("info"):
                group["note"] = str(raw["info"])
            self.groups.append(group)
            given = Given(raw, self.around)
            if raw.get("g"):
                given.differs("it stands in another group, and ours are not nested", "its nodes belong to it alone")
            if raw.get("env"):
                given.lacks("env", "groups have no environment", "put the values into the env of the flow")

    def _resource(self, raw: Raw) -> str:
        """The name of the resource that a config node has become."""
        id = str(raw["id"])
        if id not in self._resource_names:
            names = Names()
            for taken in self._resource_names.values():
                names.take(taken)
            self._resource_names[id] = name = names.take(
                str(raw.get("name") or ""), str(raw.get("broker") or raw["type"])
            )
            self.resources[name] = resource_of(Given(raw, self.around), self._export)
            self._kept.update((id, str(raw.get("tls"))))
        return self._resource_names[id]

    def subflow(self) -> Document:
        """This part as a subflow definition."""
        definition = self.scope.definition
        made: Document = {}
        if definition.get("name"):
            made["name"] = str(definition["name"])[:200]
        if definition.get("info"):
            made["description"] = str(definition["info"])
        params = environment.parameters(self.scope, self.tell)
        if params:
            made["params"] = params
        if definition.get("status"):
            self._speak(definition["status"])
        made["inputs"] = {
            name: [self._ends[str(wire["id"])][0] for wire in port.get("wires", []) if str(wire["id"]) in self._ends]
            for name, port in _ports("in", definition.get("in") or [])
        }
        made["outputs"] = {
            name: [end for wire in port.get("wires", []) if (end := self._leaves(wire))]
            for name, port in _ports("out", definition.get("out") or [])
        }
        made |= {"nodes": self.nodes, "wires": self.wires}
        if self.groups:
            made["groups"] = self.groups
        return made

    def _speak(self, status: Raw) -> None:
        """What comes to the subflow's status output is what its instances show."""
        id = self.placed.names.take("status")
        self.nodes.append({"id": id, "type": "core/subflow-status", "ui": self._columns.node(status)})
        for wire in status.get("wires") or []:
            if end := self._leaves(wire):
                self.wires.append({"from": end, "to": f"{id}.in"})

    def _leaves(self, wire: Raw) -> str | None:
        if str(wire["id"]) == self.scope.id:
            self.tell(
                "differs", "a wire leads straight from its input to its output", "put a core/junction between them"
            )
            return None
        _, outputs = self._ends.get(str(wire["id"]), ("", []))
        port = int(wire.get("port") or 0)
        return outputs[port] if port < len(outputs) else None


def _ports(stem: str, ports: list[Raw]) -> list[tuple[str, Raw]]:
    """Subflow ports with their names: `in`, or `out1`, `out2`."""
    if len(ports) == 1:
        return [(stem, ports[0])]
    return [(f"{stem}{number}", port) for number, port in enumerate(ports, 1)]


def _ui(raw: Raw) -> dict[str, Any]:
    """How a node is drawn; its place is seen to later."""
    ui: dict[str, Any] = {"x": 0, "y": 0}
    if raw.get("icon"):
        ui["icon"] = raw["icon"]
    if raw.get("l") is False:
        ui["label"] = False
    for theirs, ours in (("inputLabels", "input_labels"), ("outputLabels", "output_labels")):
        if any(raw.get(theirs) or []):
            ui[ours] = raw[theirs]
    return ui
