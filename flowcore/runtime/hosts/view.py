"""Flows as they are on all hosts: what this host sees of its own nodes, with the members' answers put in."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from flowcore.flow.model import MAIN_HOST
from flowcore.flow.placement import host_of, is_spread, nodes_by_host
from flowcore.flow.resolved import ResolvedFlow
from flowcore.runtime.hosts.members import away_nodes, away_note
from flowcore.runtime.hosts.shared import SharedBus
from flowcore.runtime.results import FlowStatus, HostStatus, NodeStatus

_FIELDS = frozenset(one.name for one in fields(NodeStatus))


async def everywhere(
    own: Iterable[FlowStatus], wholes: Mapping[str, ResolvedFlow], shared: SharedBus, flow: str | None
) -> list[FlowStatus]:
    """The flows with their nodes on all hosts, in the order of the documents.

    Args:
        own: what this host sees.
        wholes: flow -> the flow on all hosts, of those that run.
        flow: the one that is asked for, None: all.
    """
    found = list(own)
    spread = {one.flow: wholes[one.flow] for one in found if is_spread(wholes.get(one.flow))}
    asked = sorted({host for whole in spread.values() for host in nodes_by_host(whole) if host})
    answers = await shared.members.status([host for host in asked if shared.presence.is_there(host)], flow)
    return [_put_together(one, spread[one.flow], answers) if one.flow in spread else one for one in found]


def _put_together(own: FlowStatus, whole: ResolvedFlow, answers: Mapping[str, dict[str, Any]]) -> FlowStatus:
    nodes: dict[str, list[NodeStatus]] = {}
    notes = list(own.notes)
    for one in own.nodes:
        nodes.setdefault(one.node, []).append(one)
    for host in nodes_by_host(whole):
        if not host:
            continue
        if host in answers:
            said = _nodes_in(answers[host], own.flow, host)
        else:
            said, notes = away_nodes(whole, host), [*notes, away_note(whole, host)]
        for one in said:
            if one.node in whole.nodes and host_of(whole.nodes[one.node]) == host:  # not one that is leaving it
                nodes.setdefault(one.node, []).append(one)
    ordered = [one for node in whole.nodes for one in nodes.pop(node, ())]
    rest = [one for left in nodes.values() for one in left]
    return replace(own, nodes=(*ordered, *rest), notes=tuple(notes))


def _nodes_in(answer: Mapping[str, Any], flow: str, host: str) -> list[NodeStatus]:
    """The nodes of a flow in a member's status; what a newer member says besides is left out."""
    found = []
    for one in answer.get("flows", ()):
        if one.get("flow") == flow:
            for node in one.get("nodes", ()):
                known = {name: value for name, value in node.items() if name in _FIELDS}
                found.append(NodeStatus(**{**known, "host": host}))
    return found


def hosts(shared: SharedBus, wholes: Collection[ResolvedFlow]) -> list[HostStatus]:
    """The other hosts that are there, or that nodes are placed on."""
    wanted = {host for whole in wholes for host in nodes_by_host(whole) if host}
    others = {name: seen for name, seen in shared.presence.others.items() if name != MAIN_HOST}
    found = []
    for name in sorted(wanted | {name for name, seen in others.items() if seen.is_there}):
        seen = others.get(name)
        count = sum(len(nodes_by_host(whole).get(name, ())) for whole in wholes)
        if seen is None:
            found.append(HostStatus(name, False, count))
        else:
            about = (seen.machine, seen.version, seen.pid, seen.since_ns)
            found.append(HostStatus(name, seen.is_there, count, *about))
    return found
