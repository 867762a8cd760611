"""The ends of a level's wires: whether nodes and ports are there, and which port of which place each means.

A wire that has a fault is reported and left out; one whose node is broken for another reason is left out quietly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from flowcore.flow.expand import Level, Placed, Side
from flowcore.flow.model import SubflowDef, WireDef
from flowcore.flow.problems import Report
from flowcore.flow.types import HIDDEN_PORTS


class Port(NamedTuple):
    """A port of a node in its place."""

    flow: str
    node: str
    side: Side
    name: str


class Edge(NamedTuple):
    """A way from port to port; `wire` is None where no wire is drawn, as from an instance's port to the node inside."""

    start: Port
    end: Port
    wire: WireDef | None = None


class Ends:
    """Finds the ends of wires; `broken` are the ids, by pointer of their level, of nodes whose own JSON is wrong."""

    def __init__(self, report: Report, broken: Mapping[str, Collection[str]] | None = None) -> None:
        self._report, self._broken = report, broken or {}

    def edges(self, level: Level) -> Iterator[Edge]:
        """The ways that the wires of one level make, and those from its ports to the nodes inside, in file order."""
        first: dict[tuple[str, str], WireDef] = {}
        for wire in level.scope.wires:
            start = self._end(level, wire.from_, "out", f"{wire.pointer}/from")
            end = self._end(level, wire.to, "in", f"{wire.pointer}/to")
            if (wire.from_, wire.to) in first:
                other = first[wire.from_, wire.to].pointer
                twice = f"the wire from '{wire.from_}' to '{wire.to}' is there twice: {other} is the same; remove one"
                self._report.error(wire.pointer, twice)
                continue
            first[wire.from_, wire.to] = wire
            self._check_settings(wire)
            if start is None or end is None:
                continue
            if start.node == end.node and not wire.feedback:
                itself = f"the wire leads from '{start.node}' to itself; where that is meant, mark it"
                self._report.error(wire.pointer, f'{itself} "feedback": true')
            elif not wire.disabled and self._on(level, wire.from_) and self._on(level, wire.to):
                yield Edge(start, end, wire)
        if isinstance(level.scope, SubflowDef):
            yield from self._through_ports(level, level.scope)

    def _through_ports(self, level: Level, subflow: SubflowDef) -> Iterator[Edge]:
        instance = level.prefix.removesuffix(":")
        for name, inner in subflow.inputs.items():
            for index, endpoint in enumerate(inner):
                end = self._end(level, endpoint, "in", f"{subflow.pointer}/inputs/{name}/{index}")
                if end is not None and self._on(level, endpoint):
                    yield Edge(Port(level.flow, instance, "in", name), end)
        for name, inner in subflow.outputs.items():
            for index, endpoint in enumerate(inner):
                start = self._end(level, endpoint, "out", f"{subflow.pointer}/outputs/{name}/{index}")
                if start is not None and self._on(level, endpoint):
                    yield Edge(start, Port(level.flow, instance, "out", name))

    def _on(self, level: Level, endpoint: str) -> bool:
        return not level.nodes[endpoint.partition(".")[0]].disabled

    def _end(self, level: Level, endpoint: str, side: Side, pointer: str) -> Port | None:
        node, _, port = endpoint.partition(".")
        placed = level.nodes.get(node)
        if placed is None:
            if node not in self._broken.get(level.scope.pointer, ()):
                near = self._report.near(node, level.nodes, "nodes")
                self._report.error(pointer, f"no node '{node}'{near}")
            return None
        if placed.broken:
            return None
        names = [one.name for one in placed.ports(side)]
        if port in names or (side == "out" and self._hidden(placed, port, pointer)):
            return Port(level.flow, placed.id, side, port)
        if not (side == "out" and port in HIDDEN_PORTS and placed.info and not placed.info.virtual):
            self._report.error(pointer, self._no_port(placed, port, side, names))
        return None

    def _hidden(self, placed: Placed, port: str, pointer: str) -> bool:
        """Whether a wire may begin at this hidden port; says why it may not."""
        if port not in HIDDEN_PORTS or placed.info is None or placed.info.virtual:
            return False
        if port == "late":
            if placed.node.settings.deadline.late == "port":
                return True
            unless = 'unless its settings say "deadline": {"late": "port"}'
            self._report.error(pointer, f"'{placed.node.id}' sends nothing from 'late' {unless}")
            return False
        listener = f"core/{'catch' if port == 'error' else port}"
        how = f'give one "scope": ["{placed.node.id}"] and wire its \'out\''
        self._report.error(pointer, f"the port '{port}' is reached through a {listener} node: {how}")
        return False

    def _no_port(self, placed: Placed, port: str, side: Side, names: list[str]) -> str:
        node = placed.node.id
        kind = {"in": "input", "out": "output"}[side]
        if not names:
            if side == "in" and placed.info is not None and placed.info.is_source:
                return f"node '{node}' takes no input: '{placed.node.type}' is a source"
            return f"node '{node}' has no {kind}s: no wire can {'end' if side == 'in' else 'begin'} there"
        other: Side = "in" if side == "out" else "out"
        if any(one.name == port for one in placed.ports(other)):
            has = ", ".join(names)
            which = {"in": "an input", "out": "an output"}
            verb = {"in": "ends", "out": "begins"}[side]
            return f"'{port}' is {which[other]} of '{node}', and a wire {verb} at {which[side]} (it has: {has})"
        return f"node '{node}' has no port '{port}'{self._report.near(port, names)}"

    def _check_settings(self, wire: WireDef) -> None:
        given = wire.model_fields_set
        if "durable" in given and wire.durable is not None and wire.delivery != "durable":
            self._report.warning(f"{wire.pointer}/durable", f"has no effect: the wire's delivery is '{wire.delivery}'")
        if "keep" in given and wire.delivery != "latest":
            self._report.warning(f"{wire.pointer}/keep", f"has no effect: the wire's delivery is '{wire.delivery}'")
