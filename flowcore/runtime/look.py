"""What a host shows of its flows: from the store, the supervisors, the pages and the newest stats. Asks no node."""

import contextlib
from typing import Any

from flowcore.bus.envelope import Malformed, unpack
from flowcore.runtime.flowstore import FlowStore
from flowcore.runtime.health import Health, rss_bytes
from flowcore.runtime.plans import EVERY_NODE, Desired
from flowcore.runtime.reconcile import Reconciler
from flowcore.runtime.results import FlowStatus, NodeStatus
from flowcore.runtime.supervise import Supervised


class Look:
    """Snapshots of flows; keeps the newest stats of each process."""

    def __init__(self, store: FlowStore, reconciler: Reconciler, health: Health, host: str = "") -> None:
        self._host = host
        self._store, self._reconciler, self._health = store, reconciler, health
        self._stats: dict[tuple[str, str], dict[str, Any]] = {}

    def on_stats(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        """Stats came; the subject says whose they are, the server checked that."""
        if reply or headers:
            return
        _, flow, node, _ = subject.split(".")
        run = self._reconciler.runs.get(flow)
        if run is None:
            return
        with contextlib.suppress(Malformed, AttributeError, TypeError):
            stats = unpack(data)
            if stats.get("process") in {one.plan.process for one in run.of_node(node)}:
                self._stats[flow, stats["process"]] = stats

    def at(self, flow: str) -> FlowStatus:
        """A flow that the store knows, now."""
        stored, desired = self._store.documents[flow], self._store.desired.get(flow, Desired())
        run, result = self._reconciler.runs.get(flow), self._reconciler.results.get(flow)
        wanted = "stopped" if not desired.running else "paused" if EVERY_NODE in desired.paused else "running"
        nodes = [self._node(one) for one in run.processes.values()] if run else []
        if run is not None and run.resolved is not None:
            for node, why in run.impossible.items():
                if node in run.resolved.nodes and not run.of_node(node):
                    type_ = run.resolved.nodes[node].type
                    nodes.append(NodeStatus(flow, node, node, type_, "failed", self._host, reason=why))
        return FlowStatus(
            flow=flow,
            name=str((stored.document or {}).get("name", "")),
            revision=run.revision if run else 0,
            wanted=wanted,
            nodes=tuple(nodes),
            notes=(*result.problems, *result.notes) if result else (),
        )

    def _node(self, one: Supervised) -> NodeStatus:
        plan, pid = one.plan, one.pid
        badge, kind = one.badge
        return NodeStatus(
            flow=plan.flow,
            node=plan.node,
            process=plan.process,
            type=plan.type,
            state=one.state,
            host=self._host,
            pid=pid,
            inc=one.inc,
            restarts=one.restarts,
            reason=one.reason,
            badge=badge,
            badge_kind=kind,
            since_ns=one.since_ns,
            ready_ms=one.ready_ms,
            cpu=self._health.cpu(pid) if pid else 0.0,
            rss_bytes=rss_bytes(pid) if pid else 0,
            handled=one.handled,
            stats=self._stats.get((plan.flow, plan.process), {}),
        )
