"""The processes of one flow, and the steps from what runs to what should: the smallest, in an order that loses nothing.

The order (`docs/wires.md`, joining and leaving): rights, streams, new processes, new wires, replaced processes, those
that left (upstream first), and only when the wires that were closed have drained the rights that nobody needs any more.
"""

import asyncio
import math
import time
from collections.abc import Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flowcore.bus.ending import end
from flowcore.flow.resolved import ResolvedFlow
from flowcore.runtime.late import PATIENCE_S, Late, LateStarts
from flowcore.runtime.plans import KEPT, RECONFIGURED, RESTARTED, REWIRED, Planned, step, upstream_first, wire_changes
from flowcore.runtime.process import LAST_ACKS_S, StartFailed
from flowcore.runtime.processplan import ProcessPlan
from flowcore.runtime.results import DeployResult
from flowcore.runtime.supervise import Supervised, Surroundings

STARTED, STOPPED = "started", "stopped"
_STRONGEST = (RESTARTED, RECONFIGURED, REWIRED, KEPT)


class Ground(Surroundings, Protocol):
    """What a flow needs of its host, beside what its processes need."""

    starts: asyncio.Semaphore

    def is_shared(self, flow: str) -> bool:
        """Whether other hosts run, or ever ran, nodes of this flow."""

    async def arrive(self, flow: str, processes: Collection[str], starting: Collection[str]) -> dict[str, str]:
        """Say what is to be here; process -> host, of those in `starting` that another host still holds."""

    async def cleared(self, flow: str, process: str) -> int:
        """Wait until no other host holds a process; only an incarnation above the one returned may go."""

    async def let_go(self, flow: str, keep: Collection[str], ended: Mapping[str, int]) -> None:
        """Say that of a flow only `keep` is here, and what the others' last incarnations were."""

    async def grant(self, flow: str, plans: Mapping[str, ProcessPlan]) -> None:
        """Give the processes of a flow their rights on the bus, beside those they have."""

    def revoke_later(self, flow: str, plans: Mapping[str, ProcessPlan], after_s: float) -> None:
        """Take away what these plans do not need, when closed wires have drained."""

    def take_handover(self, flow: str, process: str) -> bytes | None:
        """What the last process handed over when the host stopped, or the node left."""

    def keep_handover(self, flow: str, process: str, handover: bytes) -> None:
        """Keep what a process handed over until it is started again."""


@dataclass
class Steps:
    """What is to be done, process by process."""

    start: dict[str, ProcessPlan] = field(default_factory=dict)
    restart: dict[str, ProcessPlan] = field(default_factory=dict)
    reconfigure: dict[str, ProcessPlan] = field(default_factory=dict)
    rewire: dict[str, ProcessPlan] = field(default_factory=dict)
    keep: dict[str, ProcessPlan] = field(default_factory=dict)
    stop: list[str] = field(default_factory=list)


class FlowRun:
    """What runs of one flow. `apply` is called by one task at a time."""

    def __init__(self, flow: str, ground: Ground) -> None:
        self.flow = flow
        self.whole: ResolvedFlow | None = None  # the flow on all hosts
        self.resolved: ResolvedFlow | None = None  # what of it runs here
        self.revision = 0
        self.processes: dict[str, Supervised] = {}
        self.impossible: dict[str, str] = {}
        self.turn = asyncio.Lock()  # held by whoever starts, replaces or stops processes
        self.late = LateStarts(self.turn, self._go_late)
        self._ground = ground

    def of_node(self, node: str) -> list[Supervised]:
        """The processes of a node: one, or its replicas."""
        return [one for one in self.processes.values() if one.plan.node == node]

    async def apply(
        self,
        target: ResolvedFlow | None,
        planned: Planned,
        revision: int,
        keep_handovers: bool = False,
        elsewhere: Collection[str] = (),
    ) -> DeployResult:
        """Make what runs what `planned` says; returns what was done. Failures of nodes are in the result.

        Args:
            target: what of the flow is placed on this host.
            keep_handovers: what stops now will be started again: keep what it hands over.
            elsewhere: the nodes that are placed on other hosts: those keep what they hand over, too.
        """
        begun = time.perf_counter()
        for node in planned.impossible:  # its package is gone: what runs of it goes on
            planned.processes.update({one.plan.process: one.plan for one in self.of_node(node)})
        steps = self._compare(planned.processes, retry_failed=revision != self.revision)
        added, closed = wire_changes(self.resolved, target)
        failed = dict(planned.impossible)
        await self.late.drop([name for name in self.processes if name not in {**steps.keep, **steps.rewire}])
        await self._ground.grant(self.flow, planned.processes)

        held: Mapping[str, str] = {}
        if self._ground.is_shared(self.flow):
            held = await self._ground.arrive(self.flow, {*self.processes, *planned.processes}, list(steps.start))
        failed |= await self._prepare(steps, held)
        waits = {*held, *(name for name in steps.start if name in self.late)}
        free = {name: plan for name, plan in steps.start.items() if name not in waits and plan.node not in failed}
        await _all(self._go(name, plan) for name, plan in free.items())
        for name, plan in {**steps.keep, **steps.rewire, **steps.reconfigure}.items():
            self.processes[name].set_mode(plan.mode)
        await _all(self.processes[name].rewire(plan) for name, plan in {**steps.rewire, **steps.reconfigure}.items())
        failed |= await self._reconfigure(steps)
        failed |= await self._switch(steps, failed)
        ended = {name: self.processes[name].last_inc for name in steps.stop}
        scaled = {one.node for one in planned.processes.values() if one.replica is not None}
        byes = await self._stop(steps.stop, scaled=scaled)
        for name, bye in byes.items():
            if bye.handover and (keep_handovers or name.partition("#")[0] in elsewhere):
                self._ground.keep_handover(self.flow, name, bye.handover)
        if self._ground.is_shared(self.flow):
            # Before we wait for others: they may wait for us.
            await self._ground.let_go(self.flow, planned.processes.keys(), ended)
            failed |= await self._take_over({name: steps.start[name] for name in held})

        nodes = self._sort_nodes(steps, planned)
        self.resolved, self.revision, self.impossible = target, revision, planned.impossible
        self.processes = {name: self.processes[name] for name in planned.processes if name in self.processes}
        drain_s = max((one.plan.drain_s for one in self.processes.values()), default=0)
        self._ground.revoke_later(self.flow, planned.processes, drain_s + 1)
        return DeployResult(
            flow=self.flow,
            revision=revision,
            kept=tuple(nodes[KEPT]),
            reconfigured=tuple(nodes[RECONFIGURED]),
            rewired=tuple(nodes[REWIRED]),
            restarted=tuple(nodes[RESTARTED]),
            started=tuple(nodes[STARTED]),
            stopped=tuple(nodes[STOPPED]),
            wires_added=added,
            wires_closed=closed,
            failed=failed,
            starting=self.late.waiting(),
            notes=tuple(target.notes) if target else (),
            took_s=time.perf_counter() - begun,
        )

    async def stop(self, drain_s: float | None = None, acks_s: float = LAST_ACKS_S) -> dict[str, Any]:
        """Stop every process, upstream first; returns process -> Bye."""
        return await self._stop(list(self.processes), drain_s, acks_s)

    def _compare(self, plans: Mapping[str, ProcessPlan], retry_failed: bool) -> Steps:
        steps = Steps(stop=[name for name in self.processes if name not in plans])
        for name, plan in plans.items():
            there = self.processes.get(name)
            if going_on := self.late.goes_on(plan):
                (steps.keep if going_on == KEPT else steps.rewire)[name] = plan
                continue
            # One that is starting was prepared by an earlier try, which the bus did not let come to its end.
            if there is None or (there.state == "starting" and not there.is_up):
                steps.start[name] = plan
                continue
            change = step(there.plan, plan)
            if there.state == "stopped" or (there.state == "failed" and (retry_failed or change == RESTARTED)):
                change = RESTARTED
            kinds = {RESTARTED: steps.restart, RECONFIGURED: steps.reconfigure, REWIRED: steps.rewire, KEPT: steps.keep}
            kinds[change][name] = plan
        return steps

    async def _prepare(self, steps: Steps, held: Collection[str] = ()) -> dict[str, str]:
        """Bring new and replacing processes up to ready; node -> why not, for those that failed.

        One that another host holds still is started again when that has let go, so its failure is not told yet.
        """
        failed: dict[str, str] = {}

        async def prepare(name: str, plan: ProcessPlan, is_new: bool) -> None:
            there = self.processes.get(name)
            if there is None:
                there = self.processes[name] = Supervised(plan, self._ground)
                there.estate.handover = self._ground.take_handover(self.flow, name)
            try:
                async with self._ground.starts:
                    starting = asyncio.get_running_loop().create_task(there.prepare(plan))
                    is_done = await _within(starting, None if name in held else PATIENCE_S)
                if is_done:
                    await starting
                else:
                    self.late.add(name, Late(plan, is_new, starting))
                    await there.rewire(plan)  # the old one, where it has one
            except StartFailed as e:
                if name not in held:
                    failed[plan.node] = e.error
                    await self._keep_going(there, plan, e, is_new)

        await _all(
            [
                *(prepare(name, plan, True) for name, plan in steps.start.items()),
                *(prepare(name, plan, False) for name, plan in steps.restart.items()),
            ]
        )
        return failed

    async def _take_over(self, arriving: Mapping[str, ProcessPlan]) -> dict[str, str]:
        """Let processes go that another host held, each when that has let go of it; node -> why not."""
        failed: dict[str, str] = {}

        async def take_over(name: str, plan: ProcessPlan) -> None:
            least = await self._ground.cleared(self.flow, name)
            there = self.processes[name]
            there.estate.handover = self._ground.take_handover(self.flow, name)
            if there.next_inc <= least:  # it failed, or the other host has started one since
                try:
                    async with self._ground.starts:
                        await there.prepare(plan)
                except StartFailed as e:
                    failed[plan.node] = e.error
                    await there.start_later(e, plan)
                    return
            error = await self._go(name, plan)
            if error is not None:
                failed[plan.node] = error

        await _all(take_over(name, plan) for name, plan in arriving.items())
        return failed

    async def _keep_going(self, there: Supervised, plan: ProcessPlan, error: StartFailed, is_new: bool) -> None:
        """A process did not get ready: a new one is tried again or has failed, an old one goes on with new wires."""
        if is_new or there.state in ("stopped", "failed"):
            await there.start_later(error, plan)
            return
        self._ground.changed(
            there, "replace failed", f"{error.error}; the process that ran goes on", traceback=error.traceback
        )
        await there.rewire(plan)

    async def _go_late(self, name: str, late: Late, error: StartFailed | None) -> None:
        """What took long to start is ready: it gets what deploys have changed since."""
        there, plan = self.processes[name], late.plan
        if error is not None:
            await self._keep_going(there, plan, error, late.is_new)
            return
        if await self._go(name, plan, wired=plan) is None:
            there.set_mode(plan.mode)
            self._ground.changed(there, "started", f"after {late.waited_s:.1f} s")

    async def _go(self, name: str, plan: ProcessPlan, wired: ProcessPlan | None = None) -> str | None:
        there = self.processes[name]
        try:
            await there.switch(wired)
        except StartFailed as e:
            if there.pid is None:
                await there.start_later(e, plan)
            return e.error
        return None

    async def _switch(self, steps: Steps, failed: Mapping[str, str]) -> dict[str, str]:
        """Let replaced processes finish and their successors go; replicas of a node that failed keep the old ones."""
        errors: dict[str, str] = {}

        async def switch(name: str, plan: ProcessPlan) -> None:
            if plan.node in failed:
                await self.late.drop([name])
                await self.processes[name].discard()
                return
            if name in self.late:
                return
            error = await self._go(name, plan)
            if error is not None:
                errors[plan.node] = error

        # One after the other: a node's last outputs are acked while those behind it still run, and handled once.
        for layer in upstream_first(steps.restart):
            await _all(switch(name, steps.restart[name]) for name in layer)
        return errors

    async def _reconfigure(self, steps: Steps) -> dict[str, str]:
        """Change configs in place; a process that refuses is replaced."""
        refused: dict[str, ProcessPlan] = {}

        async def reconfigure(name: str, plan: ProcessPlan) -> None:
            if await self.processes[name].reconfigure(plan) is not None:
                refused[name] = plan

        await _all(reconfigure(name, plan) for name, plan in steps.reconfigure.items())
        for name in refused:
            steps.restart[name] = steps.reconfigure.pop(name)
        return await self._prepare(Steps(restart=refused)) if refused else {}

    async def _stop(
        self,
        names: list[str],
        drain_s: float | None = None,
        acks_s: float = LAST_ACKS_S,
        scaled: Collection[str] = (),
    ) -> dict[str, Any]:
        """Stop these, upstream first. Of nodes that are `scaled`, what a replica sent and is not acked for would be
        made again by another one: it has all its time to wait for the acks."""
        byes: dict[str, Any] = {}
        await self.late.drop(names)

        async def stop(name: str) -> None:
            one = self.processes[name]
            is_one_less = one.plan.replica is not None and one.plan.node in scaled
            byes[name] = await one.stop(drain_s, math.inf if is_one_less else acks_s)

        for layer in upstream_first({name: self.processes[name].plan for name in names}):
            await _all(stop(name) for name in layer)
        for name in names:
            self.processes.pop(name, None)
        return byes

    def _sort_nodes(self, steps: Steps, planned: Planned) -> dict[str, list[str]]:
        """Each node in the list that says what happened to it; of replicas the strongest counts."""
        old = {one.plan.node for one in self.processes.values()} | set(self.resolved.nodes if self.resolved else ())
        new = {plan.node for plan in planned.processes.values()}
        by_kind = {RESTARTED: steps.restart, RECONFIGURED: steps.reconfigure, REWIRED: steps.rewire, KEPT: steps.keep}
        kinds: dict[str, list[str]] = {kind: [] for kind in (*_STRONGEST, STARTED, STOPPED)}
        had = {plan.node for plans in by_kind.values() for plan in plans.values()}
        for node in dict.fromkeys(plan.node for plan in planned.processes.values()):
            if node not in had:
                was_scaled = self.resolved is not None and node in self.resolved.nodes and node not in self.impossible
                kinds[RESTARTED if was_scaled else STARTED].append(node)
                continue
            of = {kind for kind, plans in by_kind.items() if any(plan.node == node for plan in plans.values())}
            kinds[next(kind for kind in _STRONGEST if kind in of)].append(node)
        kinds[STOPPED] = [
            node for node in dict.fromkeys(self.resolved.nodes if self.resolved else ()) if node in old - new
        ]
        kinds[STOPPED] = [node for node in kinds[STOPPED] if node not in self.impossible]
        return kinds


async def _within(task: asyncio.Task[None], seconds: float | None) -> bool:
    """Whether a task is done within that time; it is cancelled only when we are."""
    try:
        return bool((await asyncio.wait({task}, timeout=seconds))[0])
    except asyncio.CancelledError:
        await end([task])
        raise


async def _all(work: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """Wait for all; the first exception, if any, is raised when all are done."""
    done = await asyncio.gather(*work, return_exceptions=True)
    for result in done:
        if isinstance(result, BaseException):
            raise result
