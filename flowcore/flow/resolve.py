"""From a document to what runs: env filled in, subflows expanded, virtual nodes turned into direct wires.

The steps have a file each: `expand` lays the nodes out, `ends` finds what wires join, `joints`, `listeners`, `calls`
and `followed` follow them through virtual nodes, `cycles` finds which close a cycle. Here they are put together, and
the types of both ends of every wire compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from flowcore.flow.calls import ANSWER, MOST_ANSWER_BYTES, MOST_ANSWERS, Call, answers, calls_of
from flowcore.flow.cycles import closing
from flowcore.flow.ends import Edge, Ends, Port
from flowcore.flow.expand import Expander, Level, Placed
from flowcore.flow.followed import to_followers
from flowcore.flow.joints import Net, Way, through_junctions, through_links
from flowcore.flow.listeners import to_listeners
from flowcore.flow.model import Durable, FlowDocument, Jpeg, SubflowDef, WireDef, Zstd
from flowcore.flow.problems import FlowError, Report
from flowcore.flow.resolved import NodeSpec, ResolvedFlow, WireSpec
from flowcore.flow.types import HIDDEN_PORTS, NodeTypeInfo, fits, may_hold_frame

BEST_EFFORT_S = 10.0
"""How long a handler of a node of best effort may take, where its settings do not say."""


def resolve(
    document: FlowDocument,
    types: Mapping[str, NodeTypeInfo],
    environ: Mapping[str, str],
    others: Iterable[FlowDocument] = (),
    *,
    secrets: Collection[str] | None = None,
    report: Report | None = None,
    broken: Mapping[str, Collection[str]] | None = None,
) -> ResolvedFlow:
    """Resolve a document.

    Args:
        document: the flow.
        types: node types by name.
        environ: the host's environment, the last place where `${NAME}` is looked up.
        others: the other flows there are, for links across flows.
        secrets: names of the secrets there are; None: any name will do.
        report: takes what is wrong, and then what is left without it is returned; None: what is wrong is raised.
        broken: ids of nodes that are left out of `document`, by pointer of their level; wires to them say nothing.
    Raises:
        FlowError: something is wrong, and there is no `report` to take it.
    """
    found = report or Report()
    resolved = _Resolution(document, types, environ, found, secrets, broken).resolved(others)
    if report is None and found.errors:
        raise FlowError([one for one in found.problems(document.id) if one.severity == "error"])
    return resolved


class _Resolution:
    """One document on its way to a resolved flow."""

    def __init__(
        self,
        document: FlowDocument,
        types: Mapping[str, NodeTypeInfo],
        environ: Mapping[str, str],
        report: Report,
        secrets: Collection[str] | None = None,
        broken: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self._document, self._types, self._environ, self._report = document, types, environ, report
        self._expander = Expander(document, types, environ, report, secrets)
        self._ends = Ends(report, broken)
        self.root = self._expander.expand()
        self.edges: list[Edge] = []
        self.calls: list[Call] = []

    def resolved(self, others: Iterable[FlowDocument]) -> ResolvedFlow:
        linked = [
            _Resolution(other, self._types, self._environ, Report())
            for other in others
            if other.id != self._document.id and (_names_other_flows(self._document) or _names_other_flows(other))
        ]
        everyone = [self, *linked]
        levels = {one.root.flow: one.root for one in everyone}
        for one in everyone:
            one.follow_wires(levels)
        net = Net(edge for one in everyone for edge in one.edges)
        for one in everyone:
            for edge in list(to_listeners(one.root, net, one._report)):
                one.edges.append(edge)
                net.add(edge)
        for one in everyone:
            for edge in list(answers(one.calls, levels.values(), net, one._report)):
                net.add(edge)
        nodes = {
            (flow, placed.id): placed for flow, root in levels.items() for placed in root.all_nodes() if placed.runs
        }
        for one in everyone:
            for edge in list(to_followers(one.root, net, frozenset(nodes), one._report)):
                one.edges.append(edge)
                net.add(edge)
        ways = self._ways(net, [edge.start for one in everyone for edge in one.edges], nodes)
        return self._put_together(ways, nodes)

    def follow_wires(self, levels: dict[str, Level]) -> None:
        """Find all ways between ports in this document, and check the levels that nobody uses."""
        for level in self.root.all_levels():
            self.edges += self._ends.edges(level)
            self.edges += through_junctions(level)
            self.edges += through_links(level, self.root, levels, self._report)
            self.calls += calls_of(level, self.root, levels, self._report)
        self.edges += (edge for call in self.calls for edge in call.edges)
        for unused in self._expander.expand_unused(self.root):
            for level in unused.all_levels():
                for _ in self._ends.edges(level):
                    pass

    def _ways(self, net: Net, starts: list[Port], nodes: Mapping[tuple[str, str], Placed]) -> list[Way]:
        """The direct ways between all nodes, in file order, whose two types fit."""
        running = frozenset(nodes)
        sending = [one for one in dict.fromkeys(starts) if one.side == "out" and (one.flow, one.node) in running]
        return [way for start in sending for way in net.direct(start, running) if self._fits(way, nodes)]

    def _fits(self, way: Way, nodes: Mapping[tuple[str, str], Placed]) -> bool:
        out_type = _port_type(nodes[way.start.flow, way.start.node], way.start)
        in_type = _port_type(nodes[way.end.flow, way.end.node], way.end)
        if fits(out_type, in_type):
            if self._is_own(way):
                self._check_encoding(way, out_type, in_type)
            return True
        if not self._is_own(way):
            return False  # its own flow says so
        start, end = f"'{way.start.node}.{way.start.name}'", f"'{way.end.node}.{way.end.name}'"
        own = way.last if way.end.flow == self._document.id else way.first
        self._report.error(own.pointer, f"{start} sends {out_type} and {end} takes {in_type}: they don't fit")
        return False

    def _check_encoding(self, way: Way, out_type: str, in_type: str) -> None:
        encoding = _encoding(way.wire)
        if encoding is None:
            return
        pointer = f"{way.wire.pointer}/encode"
        for one in dict.fromkeys((out_type, in_type)):
            if one in ("bool", "number", "time"):
                self._report.warning(pointer, f"has no effect: a {one} is no tensor")
                return
            if encoding["kind"] == "jpeg" and not may_hold_frame(one):
                what = f"{one} can't travel as JPEG, only frames can: uint8, (H, W) or (H, W, 3)"
                self._report.error(pointer, f'{what}; "zstd" takes whatever it is')
                return

    def _put_together(self, ways: list[Way], nodes: Mapping[tuple[str, str], Placed]) -> ResolvedFlow:
        own = {id_: placed for (flow, id_), placed in nodes.items() if flow == self._document.id}
        in_order = sorted(nodes, key=lambda node: node[0])  # flow by flow, and in each in file order
        forward = [way for way in ways if not _answers(way, nodes)]
        closes = {(one.way.start, one.way.end): one for one in closing(in_order, forward)}
        notes, wires = [], []
        for way in filter(self._is_own, ways):
            found = closes.get((way.start, way.end))
            producer, consumer = nodes[way.start.flow, way.start.node], nodes[way.end.flow, way.end.node]
            wire = self._wire(way, found is not None, producer, consumer)
            wires.append(wire)
            if found is not None:
                cycle = f"closes the cycle {found}"
                then = f"it never blocks, past {wire.bound} un-acked the newest goes to .error"
                notes.append(f"the wire {wire.id.replace('>', ' > ')} {cycle}: {then}")
                if way.feedback is False:
                    what = f'{cycle}, so it can\'t be "feedback": false; mark another wire of the cycle true'
                    own_wire = way.last if not wire.to_flow else way.first
                    self._report.error(f"{own_wire.pointer}/feedback", what)
            elif way.feedback and not wire.answers and not _leads_back(way, ways):
                self._report.warning(f"{way.last.pointer}/feedback", "closes no cycle, so it need not be marked")
        off = [placed.id for placed in self.root.all_nodes() if placed.disabled]
        if off:
            notes.append(f"disabled: {', '.join(off)}")
        specs = {id_: _node(placed) for id_, placed in own.items()}
        return ResolvedFlow(self._document.id, self._document.name, specs, tuple(wires), notes)

    def _is_own(self, way: Way) -> bool:
        return self._document.id in (way.start.flow, way.end.flow)

    def _wire(self, way: Way, closes: bool, producer: Placed, consumer: Placed) -> WireSpec:
        wire, settings, own = way.wire, consumer.node.settings, self._document.id
        if _answers(way, {(way.end.flow, way.end.node): consumer}):
            return WireSpec(
                producer=way.start.node,
                port=way.start.name,
                consumer=way.end.node,
                in_port=way.end.name,
                window_bytes=MOST_ANSWER_BYTES,
                feedback=True,
                answers=True,
                bound=MOST_ANSWERS,
                encode=_encoding(way.wire),
                producer_replicas=producer.node.settings.replicas,
                from_flow="" if way.start.flow == own else way.start.flow,
                to_flow="" if way.end.flow == own else way.end.flow,
            )
        durable = (wire.durable or Durable()).model_dump() if wire.delivery == "durable" else None
        return WireSpec(
            producer=way.start.node,
            port=way.start.name,
            consumer=way.end.node,
            in_port=way.end.name,
            delivery=wire.delivery,
            window=wire.window,
            window_bytes=wire.window_bytes,
            keep=wire.keep,
            feedback=closes or (way.feedback is True and wire.delivery == "reliable"),
            bound=wire.bound,
            when_failed=_when_failed(wire, consumer),
            share=settings.share,
            replicas=settings.replicas,
            producer_replicas=producer.node.settings.replicas,
            durable=durable,
            encode=_encoding(wire),
            from_flow="" if way.start.flow == own else way.start.flow,
            to_flow="" if way.end.flow == own else way.end.flow,
        )


def _when_failed(wire: WireDef, consumer: Placed) -> str:
    """Whoever sends to a node of best effort does not wait for one that has failed, unless the wire says so."""
    is_best_effort = consumer.info is not None and consumer.info.best_effort
    return "drop" if is_best_effort and "when_failed" not in wire.model_fields_set else wire.when_failed


def _answers(way: Way, nodes: Mapping[tuple[str, str], Placed]) -> bool:
    """Whether this way is one of answers to a caller."""
    info = nodes[way.end.flow, way.end.node].info
    return way.end.name == ANSWER and info is not None and info.caller


def _encoding(wire: WireDef) -> dict[str, Any] | None:
    """A wire's encoding with all its fields: the short form has only the kind."""
    encode: Any = wire.encode
    if isinstance(encode, str):
        encode = Jpeg(kind="jpeg") if encode == "jpeg" else Zstd(kind="zstd")
    return encode.model_dump() if encode is not None else None


def _node(placed: Placed) -> NodeSpec:
    node = placed.node
    settings = node.settings.model_dump()
    settings["host"] = settings["host"] or placed.level.host
    if placed.info is not None and placed.info.best_effort and "timeout_s" not in node.settings.model_fields_set:
        settings["timeout_s"] = BEST_EFFORT_S
    return NodeSpec(placed.id, node.type, placed.config.value, settings, node.pointer, node.name)


def _port_type(placed: Placed, port: Port) -> str:
    types = {one.name: one.type for one in placed.ports(port.side)}
    return types.get(port.name) or HIDDEN_PORTS.get(port.name, "any")


def _names_other_flows(document: FlowDocument) -> bool:
    """Whether a link of this document may lead to another flow: a name with a `/`, or one that is filled in."""
    scopes: list[FlowDocument | SubflowDef] = [document, *document.subflows.values()]
    links: list[Any] = [node.config.get("links", ()) for scope in scopes for node in scope.nodes]
    names = [name for link in links for name in ([link] if isinstance(link, str) else link)]
    return any(isinstance(name, str) and ("/" in name or "${" in name) for name in names)


def _leads_back(way: Way, ways: list[Way]) -> bool:
    """Whether the producer of this way can be reached from its consumer."""
    onward: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for one in ways:
        onward.setdefault((one.start.flow, one.start.node), []).append((one.end.flow, one.end.node))
    reached, waiting = set(), [(way.end.flow, way.end.node)]
    while waiting:
        node = waiting.pop()
        if node == (way.start.flow, way.start.node):
            return True
        if node not in reached:
            reached.add(node)
            waiting += onward.get(node, ())
    return False
