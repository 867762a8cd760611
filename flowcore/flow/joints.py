"""Wires through virtual nodes and subflow ports, followed from a node that runs to a node that runs.

Junctions, links, and the ports of instances become ways in one net of ports; catch, status and complete nodes are
where the hidden ports of the nodes in their scope lead to. `direct` follows every way to its end. Loops of junctions
lead nowhere and are no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from flowcore.flow.ends import Edge, Port
from flowcore.flow.expand import Level, Placed
from flowcore.flow.model import WireDef
from flowcore.flow.problems import Report, shown

LISTENERS = {"catch": "error", "status": "status", "complete": "complete"}
"""Virtual nodes that listen to a hidden port of the nodes in their scope."""

_WIRE_SETTINGS = frozenset({"delivery", "window", "window_bytes", "keep", "bound", "when_failed", "durable", "encode"})


class Way(NamedTuple):
    """A direct way between two ports of nodes that run."""

    start: Port
    end: Port
    wire: WireDef  # whose settings it has
    first: WireDef  # the one that leaves `start`, and the one that reaches `end`: for messages
    last: WireDef
    feedback: bool | None


class Net:
    """All ways between ports, of one flow or of several that are linked."""

    def __init__(self, edges: Iterable[Edge]) -> None:
        self._edges: dict[Port, list[Edge]] = {}
        for edge in edges:
            self.add(edge)

    def add(self, edge: Edge) -> None:
        """Add a way."""
        self._edges.setdefault(edge.start, []).append(edge)

    def direct(self, start: Port, running: frozenset[tuple[str, str]]) -> Iterator[Way]:
        """Every way from `start` to an input of a running node (flow, id); the first of those that end alike."""
        reached: set[Port] = set()
        waiting: list[tuple[Port, tuple[WireDef, ...]]] = [(start, ())]
        while waiting:
            port, wires = waiting.pop()
            if port in reached:
                continue
            reached.add(port)
            if port.side == "in" and (port.flow, port.node) in running:
                yield _way(start, port, wires)
                continue
            onward = self._edges.get(port, ())
            waiting += [(edge.end, (*wires, edge.wire) if edge.wire else wires) for edge in reversed(onward)]

    def downstream(self, start: Port) -> set[Port]:
        """All ports that can be reached through wires, virtual nodes and instances, but not through running nodes."""
        reached: set[Port] = set()
        waiting = [start]
        while waiting:
            port = waiting.pop()
            if port not in reached:
                reached.add(port)
                waiting += [edge.end for edge in self._edges.get(port, ())]
        return reached


def _way(start: Port, end: Port, wires: tuple[WireDef, ...]) -> Way:
    """Of several wires in a row the last that sets anything gives the settings; any of them may be marked feedback."""
    telling = [wire for wire in wires if wire.model_fields_set & _WIRE_SETTINGS] or [wires[-1]] if wires else []
    wire = telling[-1] if telling else WireDef.model_construct(from_="", to="")
    marks = {one.feedback for one in wires}
    feedback = True if True in marks else False if False in marks else None
    return Way(start, end, wire, wires[0] if wires else wire, wires[-1] if wires else wire, feedback)


def through_junctions(level: Level) -> Iterator[Edge]:
    """From every input of a junction to every output of it."""
    for placed in virtual_nodes(level, "junction"):
        for entry in placed.ports("in"):
            for leaving in placed.ports("out"):
                yield Edge(
                    Port(level.flow, placed.id, "in", entry.name), Port(level.flow, placed.id, "out", leaving.name)
                )


def through_links(level: Level, root: Level, others: dict[str, Level], report: Report) -> Iterator[Edge]:
    """From every link-out to the link-ins that it names.

    Args:
        level: where the link-outs stand.
        root: the document's level, whose link-ins an instance may name as well as its own.
        others: document levels of the other flows that are known, for names `<flow>/<link-in>`.
        report: takes names that are not there.
    """
    for placed in virtual_nodes(level, "link-out"):
        if placed.config.value.get("mode") == "return":
            continue  # it answers calls: see `calls`
        links = placed.config.value.get("links", [])
        for index, name in enumerate(links if isinstance(links, list) else []):
            where = placed.config.pointer(("links", index))
            if not isinstance(name, str):
                report.error(where, f"must be the id or name of a link-in, is {shown(name)}")
                continue
            for target in link_ins(name, where, level, root, others, report):
                for entry in placed.ports("in"):
                    for leaving in target.ports("out"):
                        yield _across(placed, entry.name, target, leaving.name)


def _across(entered: Placed, entry: str, left: Placed, leaving: str) -> Edge:
    return Edge(Port(entered.level.flow, entered.id, "in", entry), Port(left.level.flow, left.id, "out", leaving))


def link_ins(
    name: str, where: str, level: Level, root: Level, others: dict[str, Level], report: Report
) -> list[Placed]:
    """The link-ins that a link of this level means by a name; reports one that is not there."""
    flow, slash, link = name.rpartition("/")
    if slash and flow != level.flow:
        if flow not in others:
            report.warning(where, f"flow '{flow}' is not known here: the link is made when both are deployed")
            return []
        levels = [others[flow]]
    else:
        levels = [root] if slash or level is root else [level, root]
    for one in levels:
        entries = virtual_nodes(one, "link-in")
        named = [placed for placed in entries if placed.node.id == link]  # an id comes before names
        if named := named or [placed for placed in entries if link_name(placed) == link]:
            return named
    here = [placed.node.id for one in levels for placed in virtual_nodes(one, "link-in")]
    names = [link_name(placed) for one in levels for placed in virtual_nodes(one, "link-in") if link_name(placed)]
    if any(link in one.nodes for one in levels) and link not in here:
        off = any(one.nodes[link].disabled for one in levels if link in one.nodes)
        if not off:
            report.error(where, f"node '{link}' is no link-in{report.near(link, [*here, *names], 'link-ins')}")
        return []
    report.error(where, f"no link-in '{name}'{report.near(link, [*here, *names], 'link-ins')}")
    return []


def link_name(placed: Placed) -> str:
    """What a link-in may be called beside its id."""
    name = placed.config.value.get("name")
    return name if isinstance(name, str) and name else placed.node.name


def virtual_nodes(level: Level, kind: str) -> list[Placed]:
    """The virtual nodes of one kind in a level, without those that are broken or off."""
    return [placed for placed in level.nodes.values() if placed.virtual == kind and not placed.broken]
