"""The reconciler: for each flow one task that makes what runs what the store says, again whenever that changes.

A flow's changes are applied one after the other; of several that wait, only the newest. So a deploy during a deploy
waits, and one overtaken by the next gets the result of that. Flows do not wait for each other.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Protocol

from pydantic import ValidationError

from flowcore.bus.bucket import BucketError
from flowcore.bus.ending import end
from flowcore.bus.storage import StorageError
from flowcore.flow.model import FlowDocument
from flowcore.flow.placement import part_of
from flowcore.flow.problems import Report
from flowcore.flow.resolve import resolve
from flowcore.flow.resolved import ResolvedFlow, WireSpec
from flowcore.flow.types import NodeTypeInfo
from flowcore.flow.versions import is_newer_format, newer_format, upgraded
from flowcore.runtime.drain import quiet
from flowcore.runtime.flowrun import FlowRun, Ground
from flowcore.runtime.flowstore import FlowStore, StoredFlow
from flowcore.runtime.hosts.placed import resolved_part
from flowcore.runtime.logs import event
from flowcore.runtime.plans import Desired, MqttFields, Planned, durable_wires, plan_flow, wire_changes
from flowcore.runtime.results import DeployResult
from flowcore.runtime.upgrades import Upgrades

_AGAIN_S, _LONGEST_AGAIN_S = 1.0, 30.0


class HostGround(Ground, Protocol):
    """What the reconciler needs of its host, beside what flows need."""

    drain_s: float
    host: str  # "" for the main host

    @property
    def types(self) -> Mapping[str, NodeTypeInfo]:
        """The node types installed here."""

    @property
    def all_types(self) -> Mapping[str, NodeTypeInfo]:
        """The node types of all hosts."""

    @property
    def upgrades(self) -> Upgrades:
        """What takes configs of older versions of their types to the installed ones."""

    @property
    def code(self) -> Mapping[str, str]:
        """Node type -> what stands for its source."""

    @property
    def mqtt_fields(self) -> Mapping[str, MqttFields]:
        """Node type -> the config fields that hold topics of the embedded MQTT broker."""

    async def ensure_streams(self, flow: str, resolved: ResolvedFlow) -> dict[str, dict[str, str]]:
        """Make the streams of durable wires. Raises StorageError, TimeoutError."""

    async def place(self, flow: str, whole: ResolvedFlow | None, running: Collection[str]) -> None:
        """Let other hosts know what a flow is now; `running`: its processes here. Raises BucketError, TimeoutError."""

    async def remove_streams(self, flow: str, keep: Mapping[str, WireSpec]) -> None:
        """Remove the streams of a flow's durable wires, except those of the wires in `keep`."""

    def applied(self, result: DeployResult) -> None:
        """A flow was looked at, with this result: for whoever watches."""


class Reconciler:
    """Keeps every flow as the store wants it. `runs` holds what runs, by flow id."""

    def __init__(self, store: FlowStore, ground: HostGround) -> None:
        self.runs: dict[str, FlowRun] = {}
        self.results: dict[str, DeployResult] = {}  # the newest of each flow
        self._deployed: dict[str, DeployResult] = {}  # of each flow, what the first look at its revision did
        self._steered: dict[str, tuple[int, DeployResult]] = {}  # and at the revision of what is desired of it
        self._store, self._ground = store, ground
        self._asked: dict[str, int] = {}  # how often a flow was marked
        self._done: dict[str, int] = {}  # the mark up to which it was applied
        self._marked: dict[str, asyncio.Event] = {}
        self._applied = asyncio.Event()
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    def mark(self, flow: str) -> int:
        """Something about a flow changed: look at it soon. Returns the mark to wait for."""
        self._asked[flow] = self._asked.get(flow, 0) + 1
        if not self._closed:
            self._marked.setdefault(flow, asyncio.Event()).set()
            if flow not in self._workers:
                work = self._work(flow)
                self._workers[flow] = asyncio.get_running_loop().create_task(work, name=f"reconcile {flow}")
        return self._asked[flow]

    def changed(self, flow: str) -> None:
        """The store has something new for a flow; flows linked with it may get other wires."""
        self.mark(flow)
        stored = self._store.documents.get(flow)
        for other, known in self._store.documents.items():
            if other != flow and (_links_outside(known.document) or (stored and _links_outside(stored.document))):
                self.mark(other)

    def types_changed(self, types: set[str]) -> None:
        """Node types changed: flows that use one of them are looked at."""
        for flow, stored in self._store.documents.items():
            if stored.document and _types_of(stored.document) & types:
                self.mark(flow)

    def marks(self, flow: str) -> int:
        """How often a flow was marked: compared before and after a write, it says whether that changed anything."""
        return self._asked.get(flow, 0)

    async def settled(self, flow: str, mark: int) -> DeployResult:
        """Wait until everything up to `mark` is applied; the result of the last look.

        Raises:
            asyncio.CancelledError, TimeoutError: only of the caller's own making.
        """
        while self._done.get(flow, 0) < mark:
            if self._closed:
                raise TimeoutError("the host is stopping")
            self._applied.clear()
            await self._applied.wait()
        return self.results[flow]

    async def applied(self, flow: str, revision: int) -> DeployResult:
        """Wait until `revision`, or a later one, is applied; what that changed."""
        while True:
            result = self._deployed.get(flow)
            if result is not None and result.revision >= revision:
                return result
            await self.settled(flow, self._done.get(flow, 0) + 1)

    async def steered(self, flow: str, desired: int) -> DeployResult:
        """Wait until what is desired of a flow by this revision, or a later one, is applied; what that changed."""
        while True:
            revision, result = self._steered.get(flow, (0, None))
            if result is not None and revision >= desired:
                return result
            await self.settled(flow, self.mark(flow))

    def ended(self) -> list[str]:
        """Flows that nothing looks after any more though nobody closed this: a fault."""
        return [] if self._closed else [worker.get_name() for worker in self._workers.values() if worker.done()]

    async def close(self) -> None:
        """Apply nothing more; what runs is left running."""
        self._closed = True
        await end(self._workers.values())
        self._applied.set()

    async def _work(self, flow: str) -> None:
        again_s = _AGAIN_S
        while not self._closed:
            with contextlib.suppress(TimeoutError):
                # A flow that could not be applied (the bus was away) is tried again by itself.
                waiting = self.results.get(flow)
                async with asyncio.timeout(again_s if waiting is not None and waiting.retry else None):
                    await self._marked[flow].wait()
            self._marked[flow].clear()
            mark, desired = self._asked[flow], self._store.desired_revision(flow)
            result = await self._apply(flow)
            again_s = min(again_s * 2, _LONGEST_AGAIN_S) if result.retry else _AGAIN_S
            if flow not in self._deployed or self._deployed[flow].revision != result.revision:
                self._deployed[flow] = result
            if flow not in self._steered or self._steered[flow][0] != desired:
                self._steered[flow] = (desired, result)
            self.results[flow], self._done[flow] = result, mark
            self._applied.set()
            self._ground.applied(result)

    async def _apply(self, flow: str) -> DeployResult:
        stored = self._store.documents.get(flow, StoredFlow(flow, 0, None))
        desired = self._store.desired.get(flow, Desired())
        run = self.runs.setdefault(flow, FlowRun(flow, self._ground))
        try:
            async with run.turn:
                result = await self._apply_to(run, stored, desired)
        except asyncio.CancelledError:
            raise
        except (StorageError, BucketError, TimeoutError, OSError) as e:
            result = DeployResult(flow, stored.revision, problems=(f"{flow}: {e}",), retry=True)
        except Exception as e:
            logging.getLogger("flowcore.host").exception("reconcile %s", flow)
            result = DeployResult(flow, stored.revision, problems=(f"{flow}: {type(e).__name__}: {e}",), retry=True)
        if not run.processes and stored.document is None:
            self.runs.pop(flow, None)
        _say(result)
        return result

    async def _apply_to(self, run: FlowRun, stored: StoredFlow, desired: Desired) -> DeployResult:
        if not self._ground.host:
            known = [one.document for one in self._store.documents.values() if one.document]
            await self._ground.upgrades.prepare(known, self._ground.types, self._ground.code)
        target, problems = self._resolve(stored)
        if problems and run.whole is not None and (target is None or run.revision != stored.revision or run.processes):
            return DeployResult(run.flow, stored.revision, problems=tuple(problems), notes=("what ran goes on",))
        wanted = target if desired.running else None
        ground, planned, here = self._ground, Planned(), None
        if wanted is not None:
            streams = await ground.ensure_streams(run.flow, wanted)
            here = part_of(wanted, ground.host)
            planned = plan_flow(here, ground.types, ground.code, desired, streams, ground.mqtt_fields)
        elif run.processes:
            await quiet(run, ground.drain_s)
        await ground.place(run.flow, target, run.processes)
        had_streams = bool(durable_wires(run.whole))
        result = await run.apply(
            here,
            planned,
            stored.revision,
            keep_handovers=target is not None and wanted is None,
            elsewhere=wanted.nodes.keys() - here.nodes.keys() if wanted and here else (),
        )
        added, closed = wire_changes(run.whole, wanted)
        run.whole = wanted
        if had_streams or stored.document is None:  # a stopped flow keeps what its streams hold
            await self._ground.remove_streams(run.flow, durable_wires(target))
        return _with_problems(replace(result, wires_added=added, wires_closed=closed), problems)

    def _resolve(self, stored: StoredFlow) -> tuple[ResolvedFlow | None, list[str]]:
        """The flow as it can run now, and what is wrong with it; None when nothing of it can, or it is deleted."""
        if stored.document is None:
            return None, []
        if self._ground.host:  # the main host has resolved it
            try:
                return resolved_part(stored.document), []
            except ValueError as e:
                return None, [f"{stored.flow}: {e}"]
        if is_newer_format(stored.document):
            return None, [f"{stored.flow}: {newer_format(stored.document)}"]
        report = Report()
        try:
            document, notes = self._read(stored.document, report)
        except ValidationError as e:
            problems = [f"{stored.flow}: /{'/'.join(map(str, one['loc']))}: {one['msg']}" for one in e.errors()]
            return None, problems
        resolved = resolve(document, self._ground.all_types, os.environ, self.others(stored.flow), report=report)
        resolved.notes.extend(notes)
        return resolved, [str(one) for one in report.problems(stored.flow) if one.severity == "error"]

    def others(self, flow: str) -> list[FlowDocument]:
        """The documents of all other flows."""
        others = []
        for other, stored in self._store.documents.items():
            if other != flow and stored.document:
                with contextlib.suppress(ValidationError):
                    others.append(self._read(stored.document, Report())[0])
        return others

    def _read(self, value: dict[str, Any], report: Report) -> tuple[FlowDocument, list[str]]:
        """A stored document with its older configs upgraded, and what is said of that. Raises ValidationError."""
        value, notes = upgraded(value, self._ground.all_types, self._ground.upgrades.of, report)
        return FlowDocument.model_validate(value), notes


def _with_problems(result: DeployResult, problems: list[str]) -> DeployResult:
    return replace(result, problems=tuple(problems)) if problems else result


def _say(result: DeployResult) -> None:
    """One line for what changed; nothing when nothing did."""
    for problem in result.problems:
        event("not applied", logging.ERROR, flow=result.flow, revision=result.revision, detail=problem)
    kinds = ("started", "restarted", "reconfigured", "rewired", "stopped")
    changes = {kind: list(getattr(result, kind)) for kind in kinds if getattr(result, kind)}
    if changes:
        detail = ", ".join(f"{kind} {' '.join(nodes)}" for kind, nodes in changes.items())
        event("applied", flow=result.flow, revision=result.revision, detail=detail, took_s=round(result.took_s, 3))


def _nodes_of(document: dict | None) -> list[dict]:
    """Every node definition of a document, its subflows' too."""
    levels = [document or {}, *((document or {}).get("subflows") or {}).values()]
    return [node for level in levels for node in level.get("nodes") or ()]


def _types_of(document: dict) -> set[str]:
    return {node.get("type", "") for node in _nodes_of(document)}


def _links_outside(document: dict | None) -> bool:
    """Whether a link of this document may lead to another flow: a name with a `/`, or one that is filled in."""
    for node in _nodes_of(document):
        links = (node.get("config") or {}).get("links") or ()
        if any(
            isinstance(link, str) and ("/" in link or "${" in link)
            for link in ([links] if isinstance(links, str) else links)
        ):
            return True
    return False
