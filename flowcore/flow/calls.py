"""Link calls: from a node that calls to the link-ins it may call, and from where it is answered back to it.

A caller (`NodeTypeInfo.caller`) names link-ins in its config's `links`: with `"mode": "static"` the one it calls, with
`"dynamic"` those that a message may name (none: all of its flow; `<flow>/*`: all of another). Each link-in gets an
output port of the caller, from which a call goes over ordinary wires; which name leads to which port is put into the
config's `targets`.

Answers come out of link-outs whose mode is `return`. One that can be reached from what a caller calls gets wires back
to the caller's hidden input `answer`. Such a wire takes only the messages that are this caller's, and no ack waits for
it: a callee is done with a call when it has answered, not when the caller is done with the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from flowcore.flow.ends import Edge, Port
from flowcore.flow.expand import Level, Placed
from flowcore.flow.joints import Net, link_ins, link_name, virtual_nodes
from flowcore.flow.problems import Report, shown
from flowcore.flow.types import HIDDEN_PORTS

CALL, ANSWER = "call", "answer"
MOST_ANSWERS, MOST_ANSWER_BYTES = 10_000, 64 << 20
"""What may wait on a wire of answers: as many as one node may call at once."""

_Key = tuple[str, str]  # flow, id


@dataclass(frozen=True)
class Call:
    """A link-in that a caller may call, and where the document says so."""

    caller: Placed
    port: str
    link_in: Placed
    where: str

    @property
    def edges(self) -> Iterator[Edge]:
        """The ways from the caller's port to what the link-in leads to."""
        start = Port(self.caller.level.flow, self.caller.id, "out", self.port)
        for leaving in self.link_in.ports("out"):
            yield Edge(start, Port(self.link_in.level.flow, self.link_in.id, "out", leaving.name))


def is_return(placed: Placed) -> bool:
    """Whether this is a link-out that answers."""
    return placed.virtual == "link-out" and not placed.broken and placed.config.value.get("mode") == "return"


def calls_of(level: Level, root: Level, others: Mapping[str, Level], report: Report) -> Iterator[Call]:
    """What the callers of a level may call; their config's `targets` is filled in.

    Args:
        level: where the callers stand.
        root: the document's level.
        others: document levels of the other flows that are known.
        report: takes names that are not there, or not one link-in's.
    """
    for caller in level.nodes.values():
        if not caller.runs or caller.info is None or not caller.info.caller:
            continue
        value = caller.config.value
        if value.get("targets"):
            report.error(caller.config.pointer(("targets",)), "is filled in at deploy; name link-ins in `links`")
        found = list(_called(caller, level, root, others, report))
        caller.config.value = {**value, "targets": _targets(found, level)}
        yield from found


def _called(caller: Placed, level: Level, root: Level, others: Mapping[str, Level], report: Report) -> Iterator[Call]:
    config = caller.config
    links, is_dynamic = config.value.get("links", []), config.value.get("mode") == "dynamic"
    names = [one for one in links if isinstance(one, str)] if isinstance(links, list) else []
    if not is_dynamic and len(names) != 1:
        where = config.pointer(("links",)) if "links" in config.value else caller.node.pointer
        report.error(where, f'"links" names the one link-in that is called, is {shown(links)}')
        return
    taken: set[str] = set()
    for index, name in enumerate(names or ["*"]):
        where = config.pointer(("links", index)) if names else caller.node.pointer
        for one in _named(name, where, is_dynamic, level, root, others, report):
            port = _port(one, taken) if is_dynamic else CALL
            taken.add(port)
            yield Call(caller, port, one, where)


def _named(
    name: str, where: str, is_dynamic: bool, level: Level, root: Level, others: Mapping[str, Level], report: Report
) -> Iterable[Placed]:
    flow, _, link = name.rpartition("/")
    if is_dynamic and link == "*":
        if flow and flow != level.flow:
            if flow not in others:
                later = "its link-ins can be called once it is deployed"
                report.warning(where, f"flow '{flow}' is not known here: {later}")
                return []
            return virtual_nodes(others[flow], "link-in")
        levels = [root] if flow or level is root else [level, root]
        return [placed for one in levels for placed in virtual_nodes(one, "link-in")]
    found = link_ins(name, where, level, root, dict(others), report)
    if len(found) > 1:
        ids = ", ".join(one.node.id for one in found)
        report.error(where, f"'{name}' names several link-ins ({ids}), and a call goes to one: name it by its id")
        return []
    return found


def _port(link_in: Placed, taken: set[str]) -> str:
    """A port name of its own for a link-in that may be called: readable, since whoever listens to the bus sees it."""
    stem = re.sub(r"[^a-z0-9_]", "_", f"{CALL}_{link_in.id}")[:56]
    number, name = 1, stem
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    return name


def _targets(found: list[Call], level: Level) -> dict[str, str]:
    """What a message may say -> the port it leads to; "" where a name means several. Ids come before names."""
    targets: dict[str, str] = {}
    for name_of in (lambda one: one.node.id, link_name):
        names: dict[str, list[Call]] = {}
        for call in found:
            name = name_of(call.link_in)
            if not name:
                continue
            flow = call.link_in.level.flow
            for form in (f"{flow}/{name}", *((name,) if flow == level.flow else ())):
                names.setdefault(form, []).append(call)
        for form, calls in names.items():
            # Those of the caller's own instance come first, as for a link-out.
            nearest = [one for one in calls if one.link_in.level is level] or calls
            ports = {one.port for one in nearest}
            targets.setdefault(form, ports.pop() if len(ports) == 1 else "")
    return targets


def answers(calls: Iterable[Call], roots: Iterable[Level], net: Net, report: Report) -> Iterator[Edge]:
    """From each link-out that answers to each caller it can answer: it is reached from what that one calls."""
    placed_at = {(root.flow, placed.id): placed for root in roots for placed in root.all_nodes()}
    given: set[tuple[_Key, str]] = set()
    for call in calls:
        reached = _reached(call, net, placed_at)
        returns = [key for key in dict.fromkeys(reached) if is_return(placed_at[key])]
        if not returns:
            name = call.link_in.node.id
            report.warning(call.where, f"nothing behind link-in '{name}' answers: calls of it can only time out")
        flow, caller = call.caller.level.flow, call.caller.id
        for key in returns:
            if (key, f"{flow}/{caller}") in given:
                continue
            given.add((key, f"{flow}/{caller}"))
            for entry in placed_at[key].ports("in"):
                yield Edge(Port(*key, "in", entry.name), Port(flow, caller, "in", ANSWER))


def _reached(call: Call, net: Net, placed_at: Mapping[_Key, Placed]) -> list[_Key]:
    """Every node that a call can reach, over what it leads to; not beyond calls that are made on the way."""
    reached: dict[_Key, None] = {}
    waiting = [port for edge in call.edges for port in net.downstream(edge.end)]
    seen: set[Port] = set(waiting)
    while waiting:
        port = waiting.pop()
        key = (port.flow, port.node)
        placed = placed_at.get(key)
        if placed is None or port.side != "in" or key in reached:
            continue
        reached[key] = None
        if not placed.runs:
            continue  # what a virtual node leads to is downstream of it already
        for name in (*(one.name for one in placed.ports("out")), *HIDDEN_PORTS):
            for onward in net.downstream(Port(*key, "out", name)):
                if onward not in seen:
                    seen.add(onward)
                    waiting.append(onward)
    return list(reached)
