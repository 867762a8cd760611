"""The flow that runs in a test: the document with other values in its env, and stubs in the place of nodes.

A node inside a subflow instance (`line:press`) is replaced in a copy of the subflow that this instance alone uses.
"""

import copy
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flowcore.flow.model import FlowDocument, NodeDef
from flowcore.flow.problems import Report
from flowcore.flow.resolved import ResolvedFlow
from flowcore.flow.types import HIDDEN_PORTS, NodeTypeInfo
from flowcore.testing.model import Stub, StubUse
from flowcore.testing.stubs import GOT, PUT, TYPE

TEST_DIR = "TEST_DIR"
EVENTS = ("error", "status", "debug", "log")
_SUBFLOW = "subflow:"

Spot = tuple[str, str, str]
"""Where a message was seen: node, "out" and a port, or node, "in" and a port, or node, "event" and its kind."""


def with_env(document: Mapping[str, Any], env: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """A copy with these values, and the folder of the case as `${TEST_DIR}`."""
    changed = copy.deepcopy(dict(document))
    own = changed.get("env")
    changed["env"] = {**(own if isinstance(own, dict) else {}), TEST_DIR: folder, **env}
    return changed


def runnable(types: Mapping[str, NodeTypeInfo]) -> dict[str, NodeTypeInfo]:
    """The types as if nothing was missing: what a stub stands for need not be installed."""
    return {name: replace(info, missing=None) for name, info in types.items()}


@dataclass
class Layout:
    """Which nodes and ports there are in a flow under test, and where their messages are seen.

    Attributes:
        document: of the flow as it is.
        resolved: of the flow as it is.
        stubbed: the nodes and instances that stubs stand for: (inputs, outputs) of each.
        running: of the flow with its stubs.
    """

    document: FlowDocument
    resolved: ResolvedFlow
    types: Mapping[str, NodeTypeInfo]
    stubbed: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)
    running: ResolvedFlow = field(default_factory=lambda: ResolvedFlow(""))

    def nodes(self) -> list[str]:
        """Ids of what a case may name."""
        return [*self.resolved.nodes, *(name for name in self._instances() if name not in self.resolved.nodes)]

    def _instances(self) -> dict[str, str]:
        """Instance -> name of its subflow, at any depth."""
        found: dict[str, str] = {}
        waiting: list[tuple[str, list[NodeDef]]] = [("", self.document.nodes)]
        while waiting:
            prefix, nodes = waiting.pop(0)
            for node in nodes:
                name = node.type.removeprefix(_SUBFLOW)
                if node.type.startswith(_SUBFLOW) and name in self.document.subflows and len(waiting) < 10_000:
                    found[prefix + node.id] = name
                    waiting.append((f"{prefix}{node.id}:", self.document.subflows[name].nodes))
        return found

    def ports(self, node: str) -> tuple[list[str], list[str]] | None:
        """Inputs and outputs of a node or an instance; None when there is none of that name."""
        if self._stub_around(node):
            return None
        if node in self.resolved.nodes:
            spec = self.resolved.nodes[node]
            info = self.types.get(spec.type)
            if info is None:
                return [], []
            inputs, outputs = info.input_ports(spec.config), info.output_ports(spec.config)
            return [port.name for port in inputs], [port.name for port in outputs]
        subflow = self.document.subflows.get(self._instances().get(node, ""))
        return None if subflow is None else (list(subflow.inputs), list(subflow.outputs))

    def _stub_around(self, node: str) -> str:
        return next((instance for instance in self.stubbed if node.startswith(f"{instance}:")), "")

    def why_not(self, node: str, report: Report) -> str:
        """Why a case can't name this node."""
        if stubbed := self._stub_around(node):
            return f"'{node}' is inside '{stubbed}', in whose place is a stub"
        scope: Any = self.document
        *instances, last = node.split(":")
        for name in instances:
            instance = next((one for one in scope.nodes if one.id == name), None)
            scope = self.document.subflows.get(instance.type.removeprefix(_SUBFLOW)) if instance else None
            if scope is None:
                break
        found = next((one for one in scope.nodes if one.id == last), None) if scope is not None else None
        if found is None:
            return f"no node '{node}'{report.near(node, self.nodes(), 'nodes')}"
        if found.disabled:
            return f"node '{node}' is disabled in the flow"
        return f"'{node}' is a {found.type}, which has no process: name the nodes that it joins"

    def puts_into(self, node: str, port: str, report: Report) -> tuple[list[tuple[str, str]], str]:
        """The processes and inputs that a put goes to; or none, and why."""
        ports = self.ports(node)
        if ports is None:
            return [], self.why_not(node, report)
        inputs, outputs = ports
        if node in self.stubbed:
            if port in outputs:
                return [(node, PUT + port)], ""
            if port in inputs:
                return [(node, port)], ""
            return [], f"node '{node}' has no port '{port}'{report.near(port, [*outputs, *inputs])}"
        if port in inputs:
            if node in self.resolved.nodes:
                return [(node, port)], ""
            return self._inside(node, port, "inputs", report)
        if port in outputs:
            do = f'stub it ("stubs": {{"{node}": "source"}}), or put into an input'
            return [], f"'{port}' is an output of '{node}', which is no stub: {do}{report.near(port, inputs)}"
        return [], f"node '{node}' has no input '{port}'{report.near(port, inputs)}"

    def _inside(self, node: str, port: str, side: str, report: Report) -> tuple[list[tuple[str, str]], str]:
        found: list[tuple[str, str]] = []
        for endpoint in getattr(self.document.subflows[self._instances()[node]], side)[port]:
            inner, _, name = endpoint.partition(".")
            more, why = self.puts_into(f"{node}:{inner}", name, report)
            if why:
                return [], why
            found += more
        return found, ""

    def seen_at(self, place: str, report: Report) -> tuple[list[Spot], str]:
        """Where messages of a place are seen: `node.port`, or `node.port -> node.port`; or nowhere, and why."""
        if " -> " in place:
            start, end = place.split(" -> ")
            spots, why = self.seen_at(start, report)
            if why:
                return [], why
            wires = {f"{wire.producer}.{wire.port}": wire for wire in self.running.wires}
            ends = [
                f"{wire.consumer}.{wire.in_port}"
                for wire in self.running.wires
                if f"{wire.producer}.{wire.port}" == start
            ]
            if end in ends:
                return spots, ""
            near = report.near(end, ends, "it leads to") if start in wires else " (no wire begins there)"
            return [], f"no wire leads from '{start}' to '{end}'{near}"
        node, _, port = place.rpartition(".")
        ports = self.ports(node)
        if ports is None:
            return [], self.why_not(node, report)
        inputs, outputs = ports
        if port in outputs:
            if node in self.stubbed or node in self.resolved.nodes:
                return [(node, "out", port)], ""
            subflow = self.document.subflows[self._instances()[node]]
            return self._all_seen([f"{node}:{endpoint}" for endpoint in subflow.outputs[port]], report)
        if port in inputs:
            if node in self.stubbed:
                return [(node, "out", GOT + port)], ""
            if node in self.resolved.nodes:
                into = [wire for wire in self.running.wires if (wire.consumer, wire.in_port) == (node, port)]
                return [(node, "in", port), *((wire.producer, "out", wire.port) for wire in into)], ""
            subflow = self.document.subflows[self._instances()[node]]
            return self._all_seen([f"{node}:{endpoint}" for endpoint in subflow.inputs[port]], report)
        if port in EVENTS:
            return [(node, "event", port)], ""
        if port in HIDDEN_PORTS:
            return [(node, "out", port)], ""
        return [], f"node '{node}' has no port '{port}'{report.near(port, [*outputs, *inputs, *EVENTS])}"

    def _all_seen(self, places: list[str], report: Report) -> tuple[list[Spot], str]:
        found: list[Spot] = []
        for place in places:
            spots, why = self.seen_at(place, report)
            if why:
                return [], why
            found += spots
        return found, ""

    def outside(self, real: Collection[str]) -> list[str]:
        """The nodes that reach beyond the flow, and are neither stubbed nor named as `real`."""
        return [
            node
            for node, spec in self.resolved.nodes.items()
            if node not in self.stubbed
            and not self._stub_around(node)
            and node not in real
            and (info := self.types.get(spec.type)) is not None
            and info.outside
        ]


def with_stubs(document: dict[str, Any], layout: Layout, stubs: Mapping[str, StubUse]) -> dict[str, Any]:
    """The document with stubs; those that `layout` knows are taken into its `stubbed`."""
    for node, use in stubs.items():
        ports = layout.ports(node)
        if ports is not None:
            layout.stubbed[node] = ports
            _replace(document, document, node.split(":"), _config(*ports, use), "")
    return document


def _config(inputs: list[str], outputs: list[str], use: StubUse) -> dict[str, Any]:
    does: dict[str, Any] = {"never": True} if use == "never" else {}
    if isinstance(use, Stub):
        does = {name: getattr(use, name) for name in use.model_fields_set}
        if use.answers is not None:
            does["answers"] = [{"when": one.when, "reply": one.reply} for one in use.answers]
        does |= {"then": use.then, "error": use.error}
    return {
        "inputs": [*inputs, *(PUT + name for name in outputs)],
        "outputs": [*outputs, *(GOT + name for name in inputs)],
        "does": json.dumps(does).replace("${", "$${"),
    }


def _replace(document: dict, scope: dict, path: list[str], config: dict, prefix: str) -> None:
    node = next(one for one in scope["nodes"] if one["id"] == path[0])
    if len(path) == 1:
        node["type"], node["config"] = TYPE, config
        return
    name = node["type"].removeprefix(_SUBFLOW)
    prefix += f"{path[0]}-"
    own = f"{name}-{prefix}stubbed"[:64]
    if name != own and not name.endswith("stubbed"):
        document["subflows"][own] = copy.deepcopy(document["subflows"][name])
        node["type"] = _SUBFLOW + own
    else:
        own = name
    _replace(document, document["subflows"][own], path[1:], config, prefix)
