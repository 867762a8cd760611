"""A host's flows as they stand on all hosts: where a node is, and what a change did there."""

import logging
from contextlib import suppress
from dataclasses import dataclass

from flowcore.bus.envelope import Malformed, unpack
from flowcore.flow.model import MAIN_HOST
from flowcore.flow.placement import host_of, nodes_by_host
from flowcore.flow.resolved import ResolvedFlow
from flowcore.runtime.drain import is_calm, quiesce
from flowcore.runtime.flowstore import FlowStore
from flowcore.runtime.hosts.shared import SharedBus
from flowcore.runtime.hosts.view import everywhere, hosts
from flowcore.runtime.logs import event
from flowcore.runtime.reconcile import Reconciler
from flowcore.runtime.results import DeployResult, FlowStatus, HostStatus


@dataclass(frozen=True)
class Before:
    """A flow before a change: on all hosts, and the revisions of what the members know of it."""

    whole: ResolvedFlow | None
    version: int
    desired: int


class Elsewhere:
    """For the main host; a member sees nothing but its own nodes."""

    def __init__(self, shared: SharedBus, store: FlowStore, reconciler: Reconciler) -> None:
        self._shared, self._store, self._reconciler = shared, store, reconciler

    def hosts_of(self, flow: str) -> list[str]:
        """The other hosts that nodes of a flow are placed on."""
        return [host for host in nodes_by_host(self._wholes().get(flow)) if host]

    def host_of(self, flow: str, node: str) -> str:
        """The other host that a node, or one of its replicas, is placed on; "" when it is this one."""
        whole = self._wholes().get(flow)
        placed = whole.nodes.get(node.partition("#")[0]) if whole else None
        return host_of(placed) if placed else ""

    def before(self, flow: str) -> Before:
        """A flow as it is now, for `joined` after a change."""
        version = self._shared.placed.version(flow)
        return Before(self._wholes().get(flow), version, self._store.desired_revision(flow))

    async def joined(self, result: DeployResult, before: Before, timeout_s: float) -> DeployResult:
        """What a change did here, with what it did on the members."""
        flow = result.flow
        if not self._shared.placed.is_shared(flow) or result.problems:
            return result
        now = self.before(flow)
        changed = "version" if now.version != before.version else "desired" if now.desired != before.desired else ""
        request = {"version": now.version, "desired": now.desired, "changed": changed}
        return await self._shared.members.joined(result, before.whole, now.whole, timeout_s, **request)

    async def quiet(self, flow: str, drain_s: float) -> None:
        """Before a flow stops on several hosts: its sources everywhere, and then until all is through."""
        elsewhere, run = self.hosts_of(flow), self._reconciler.runs.get(flow)
        if elsewhere and run is not None:
            quiesce(run)
            await self._shared.members.quiet(elsewhere, flow, drain_s, lambda: is_calm(run, with_fed=True))

    async def everywhere(self, own: list[FlowStatus], flow: str | None) -> list[FlowStatus]:
        """What this host sees of flows, with the nodes on other hosts as those say."""
        return await everywhere(own, self._wholes(), self._shared, flow)

    def hosts(self) -> list[HostStatus]:
        """The members that are there, or that nodes are placed on."""
        return [] if self._shared.host else hosts(self._shared, self._wholes().values())

    def _wholes(self) -> dict[str, ResolvedFlow]:
        if self._shared.host:
            return {}
        return {flow: run.whole for flow, run in self._reconciler.runs.items() if run.whole is not None}

    def on_log(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        """A node on another host, or its supervisor, logged something: it is in this host's log, too."""
        with suppress(Malformed, AttributeError, TypeError, KeyError):
            entry = unpack(data)
            host = entry.pop("host", MAIN_HOST)
            if reply or headers or host == (self._shared.host or MAIN_HOST):
                return
            _, flow, node, _ = subject.split(".")
            level = logging.getLevelNamesMapping().get(str(entry.pop("level", "info")).upper(), logging.INFO)
            entry.pop("ts", None)
            event(str(entry.pop("event", "")), level, **{**entry, "flow": flow, "node": node, "host": host})
