"""Which node of a flow runs on which host, and whether that host can run it.

A node's setting `host` says where: empty is the main host. All here is plain data; who the hosts are and whether they
are there is the runtime's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flowcore.flow.model import MAIN_HOST
from flowcore.flow.problems import Report
from flowcore.flow.resolved import NodeSpec, ResolvedFlow
from flowcore.flow.types import NodeTypeInfo


def host_of(node: NodeSpec) -> str:
    """The host that a node is placed on, "" for the main one."""
    return str(node.settings.get("host") or "")


def nodes_by_host(flow: ResolvedFlow | None) -> dict[str, list[str]]:
    """Host -> its nodes in file order; only hosts that have one."""
    found: dict[str, list[str]] = {}
    for node in flow.nodes.values() if flow else ():
        found.setdefault(host_of(node), []).append(node.id)
    return found


def is_spread(flow: ResolvedFlow | None) -> bool:
    """Whether any node is placed on another host than the main one."""
    return flow is not None and any(host_of(node) for node in flow.nodes.values())


def part_of(flow: ResolvedFlow, host: str) -> ResolvedFlow:
    """What of a flow runs on `host`: its nodes, and the wires that begin or end at one of them."""
    nodes = {id_: node for id_, node in flow.nodes.items() if host_of(node) == host}
    wires = tuple(
        wire
        for wire in flow.wires
        if (not wire.from_flow and wire.producer in nodes) or (not wire.to_flow and wire.consumer in nodes)
    )
    return replace(flow, nodes=nodes, wires=wires)


def moved_nodes(old: ResolvedFlow | None, new: ResolvedFlow | None) -> list[str]:
    """The nodes that are placed on another host than before."""
    before = old.nodes if old else {}
    after = new.nodes if new else {}
    return [id_ for id_, node in after.items() if id_ in before and host_of(before[id_]) != host_of(node)]


def check_places(flow: ResolvedFlow, hosts: Mapping[str, Mapping[str, NodeTypeInfo]], report: Report) -> None:
    """Report each node whose host does not have its type, or lacks what the type needs.

    Args:
        hosts: host -> the node types it has; nothing is said of nodes on a host that is not among them.
    """
    for node in flow.nodes.values():
        host = host_of(node)
        if host not in hosts:
            continue
        info = hosts[host].get(node.type)
        where = f"host '{host or MAIN_HOST}'"
        if info is None:
            have = sorted(name or MAIN_HOST for name, types in hosts.items() if node.type in types)
            there = f": install it there, or place the node on {' or '.join(have)}" if have else ""
            report.error(f"{node.pointer}/type", f"{where} has no node type '{node.type}'{there}")
        elif info.missing is not None:
            report.error(f"{node.pointer}/type", f"'{node.type}' lacks a library on {where}: {info.missing}")
        elif info.refused:
            report.error(f"{node.pointer}/type", f"'{node.type}' is not run on {where}: {info.refused}")
