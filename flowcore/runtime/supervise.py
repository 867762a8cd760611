"""Supervision of one node process over all its incarnations: start, replace without loss, stop, outlive crashes.

Decides which process of the node runs, and in which state the node is. How one process is talked to is `process`'s,
what it leaves to the next one `estate`'s, and whether there is a next one after a crash `intensity`'s. Knows nothing of
flows (`reconcile` does) nor of the bus.

States: starting -> running <-> (paused, bypassed: running, but told not to handle); running -> replacing -> running;
running -> restarting -> running | failed; any -> stopping -> stopped.

What does not start raises StartFailed for whoever asked for it; what dies later raises nothing: it is started again.

Invariant: at most one process of a node has been told to go and has not ended.
"""

import asyncio
import time
from dataclasses import replace
from typing import Any, Protocol

from flowcore.runtime.estate import Estate
from flowcore.runtime.forkclient import ForkServer
from flowcore.runtime.intensity import Intensity
from flowcore.runtime.link import LinkClosed
from flowcore.runtime.process import ANSWER_TIMEOUT_S, LAST_ACKS_S, Bye, Listener, NodeProcess, StartFailed, describe
from flowcore.runtime.processplan import ProcessPlan


class Surroundings(Protocol):
    """What a supervised process needs of its host."""

    start_timeout_s: float

    def next_incarnation(self) -> int:
        """A number above all that were given before."""

    def fork_server(self, needs: tuple[str, ...]) -> ForkServer:
        """The fork server that has these libraries."""

    def spec(self, plan: ProcessPlan, inc: int) -> dict[str, Any]:
        """What the runner gets: the plan, with secrets and bus credentials filled in. Raises StartFailed."""

    def changed(self, supervised: "Supervised", what: str, text: str, **fields: Any) -> None:
        """Something happened that a user wants to know: logged, published, and passed to neighbours."""

    def moved(self, supervised: "Supervised") -> None:
        """It has another state: for whoever watches."""

    def frame(self, supervised: "Supervised", message: dict[str, Any]) -> None:
        """A frame of the process that is not about its life."""

    def line(self, supervised: "Supervised", stream: str, text: str) -> None:
        """The process printed a line."""


class Supervised:
    """One node process, whatever its incarnation. Methods may be called at any time; they take turns.

    Attributes:
        plan: what the one that runs is, or shall be when it is started.
        state, since_ns: see the module; since when, wall clock.
        reason, traceback: why it crashed or did not start, "" while it runs.
        badge: text and kind, as the node shows it.
        restarts: how often it crashed.
        ready_ms: what its last start took, from fork to ready.
        last_inc: the highest incarnation that any process of it had.
        estate: what its processes leave to the next one.
    """

    def __init__(self, plan: ProcessPlan, host: Surroundings) -> None:
        self.plan = plan
        self.state, self.since_ns = "stopped", time.time_ns()
        self.reason = self.traceback = ""
        self.badge = ("", "")
        self.restarts, self.ready_ms, self.last_inc = 0, 0.0, 0
        self.estate = Estate()
        self._host = host
        self._listener = Listener(self._on_frame, self._on_line, self._on_end)
        self._turn = asyncio.Lock()
        self._current: NodeProcess | None = None
        self._next: NodeProcess | None = None  # ready, not told to go
        self._next_plan = plan
        self._expected: set[NodeProcess] = set()  # their end is no crash
        self._intensity = Intensity(plan.restart_settings)
        self._restart: asyncio.Task[None] | None = None
        self._said_failed = False
        self._changed = asyncio.Event()

    # Looking

    @property
    def pid(self) -> int | None:
        """The process id of the one that runs, None when none does."""
        return self._current.pid if self._current else None

    @property
    def inc(self) -> int:
        """The incarnation of the one that runs, 0 when none does."""
        return self._current.inc if self._current else 0

    @property
    def next_inc(self) -> int:
        """The incarnation of the one that is ready to go, 0 when none is."""
        return self._next.inc if self._next is not None and self._next.ended is None else 0

    @property
    def handled(self) -> int:
        """Messages handled since the supervisor began, from the pages."""
        page = self._current.page if self._current else None
        return self.estate.handled + (page.progress if page else 0)

    @property
    def is_up(self) -> bool:
        """True while a process runs that was told to go."""
        return self._current is not None

    def silent_s(self, now_ns: int) -> float:
        """How long the event loop of the one that runs has not turned, 0 when none does."""
        return self._current.silent_s(now_ns) if self._current else 0.0

    async def until(self, *states: str, timeout: float = 30.0) -> str:
        """Wait for one of these states.

        Raises:
            TimeoutError: none of them came.
        """
        async with asyncio.timeout(timeout):
            while self.state not in states:
                self._changed.clear()
                await self._changed.wait()
        return self.state

    # Start and replace: prepare, then switch

    async def prepare(self, plan: ProcessPlan) -> None:
        """Start a process for `plan` up to ready; the one that runs goes on. `switch` makes it the one that runs.

        Raises:
            StartFailed: the new one did not get ready; the old one runs on, under its old plan.
        """
        self._cancel_restart()
        async with self._turn:
            await self._discard_next()
            was_restarting = self.state == "restarting"
            if self._current is None:
                self._set("starting")
            try:
                process = await self._start(plan)
            except StartFailed:
                if self._current is None and self.state == "starting":
                    self._set("restarting" if was_restarting else "stopped")
                    if was_restarting:  # the old one had crashed, and is still wanted
                        self._restart_in(0.1)
                raise
            self._next, self._next_plan = process, plan
            if self._current is not None:
                self._set("replacing")

    async def switch(self, wired: ProcessPlan | None = None) -> None:
        """Let the prepared process go, after the old one has finished and ended.

        Args:
            wired: the plan whose wires it has from its first message on; None: those it was started with.
        Raises:
            StartFailed: the prepared one died before it was told to go; the old one runs on.
        """
        async with self._turn:
            process = self._next
            if process is None:
                if self._current is not None and self.plan is self._next_plan:
                    return  # the old one crashed, and this one took its place at once
                raise StartFailed(self.reason or "the new process died before its turn")
            self._cancel_restart()
            if wired is not None:
                self._next_plan = await self._with_wires(process, self._next_plan, wired)
            old = self._current
            if old is not None:
                self._expected.add(old)
                bye = await old.stop(self.plan.drain_s)
                self._retire(old, bye)
            if process.ended is not None:  # it died while the old one finished: there is nothing to go back to
                self._next = None
                self.plan = self._next_plan
                self._died(process, process.ended)
                return
            await self._let_go(process, self._next_plan)

    async def discard(self) -> None:
        """Drop a prepared process; the old one runs on."""
        async with self._turn:
            await self._discard_next()
            if self._current is not None:
                self._set(self.plan.run_state)

    async def restart(self, plan: ProcessPlan | None = None) -> None:
        """Replace the process by another of the same plan (or this one); start it anew when it had failed or waits.

        Raises:
            StartFailed: the new one did not get ready; an old one that ran goes on.
        """
        self._intensity.reset()
        await self.prepare(plan or self.plan)
        await self.switch()

    async def start_later(self, error: StartFailed, plan: ProcessPlan) -> None:
        """The first start failed: try again as after a crash, or have failed when that cannot help."""
        async with self._turn:
            self.plan = plan
            self._start_failed(error)

    # While it runs

    async def rewire(self, wired: ProcessPlan) -> None:
        """Give it the wires of another plan, where they are others; one that is down gets them when it starts."""
        if wired.wires == self.plan.wires:
            return
        self.plan = self.plan.with_wires_of(wired)
        if self._current is not None:
            await self._current.rewire(wired.wires)

    async def reconfigure(self, plan: ProcessPlan) -> str | None:
        """Give it another config while it runs.

        Returns:
            None when it took it, else why not; then its plan is unchanged and a replace is needed.
        """
        process = self._current
        if process is None:
            return "the process is not running"
        try:
            config = self._host.spec(plan, process.inc)["config"]
        except StartFailed as e:
            return str(e)
        refused = await process.reconfigure(config)
        if refused is None:
            self.plan = plan.with_wires_of(self.plan)
        return refused

    def set_mode(self, mode: str) -> None:
        """run, paused or bypassed."""
        before, self.plan = self.plan.mode, replace(self.plan, mode=mode)
        if before == mode or self._current is None:
            return
        self._current.set_mode(mode, before)
        if self.state in ("running", "paused", "bypassed"):
            self._set(self.plan.run_state)

    def send(self, op: str, **fields: Any) -> bool:
        """Send a frame to the process; False when none runs."""
        return self._current is not None and self._current.send(op, **fields)

    async def request(self, op: str, answer: str, timeout: float = ANSWER_TIMEOUT_S, **fields: Any) -> dict[str, Any]:
        """Ask the process something.

        Raises:
            LinkClosed: none runs, or it died before it answered.
            RequestFailed: it could not. TimeoutError: no answer in time.
        """
        if self._current is None:
            raise LinkClosed(f"{self.plan.process} is {self.state}")
        return await self._current.request(op, answer, timeout, **fields)

    def kill(self, reason: str) -> int | None:
        """SIGKILL the process: a crash. Returns its pid, None when none runs."""
        process = self._current
        if process is None or process.ended is not None:
            return None
        process.kill_now(reason)
        return process.pid

    # The end

    async def stop(self, drain_s: float | None = None, acks_s: float = LAST_ACKS_S) -> Bye:
        """Stop for good: finish what is in the handler, wait for acks of outputs for `acks_s`, end, start no other."""
        self._cancel_restart()
        async with self._turn:
            self._cancel_restart()
            self._set("stopping")
            await self._discard_next()
            bye = Bye(True, self.estate.handover)
            process = self._current
            if process is not None:
                self._expected.add(process)
                bye = await process.stop(self.plan.drain_s if drain_s is None else drain_s, acks_s)
                self._retire(process, bye)
                self.estate.handover = None
            self._set("stopped")
            return bye

    def kill_all(self) -> None:
        """End every process of it at once: the host does not wait any longer."""
        self._cancel_restart()
        for process in (self._current, self._next):
            if process is not None:
                self._expected.add(process)
                process.kill_now("the host stops at once")

    # Inside

    async def _start(self, plan: ProcessPlan) -> NodeProcess:
        """A new process for this plan, ready; until it is told to go its end is no crash. Raises StartFailed."""
        self.last_inc = self._host.next_incarnation()
        process = NodeProcess(plan.process, self.last_inc, self._listener)
        self._expected.add(process)
        spec = self._host.spec(plan, process.inc)
        await process.start(self._host.fork_server(plan.needs), spec, self._host.start_timeout_s)
        self.ready_ms = process.ready_ms
        return process

    async def _with_wires(self, process: NodeProcess, plan: ProcessPlan, wired: ProcessPlan) -> ProcessPlan:
        """Give a ready process, started for `plan`, the wires of another one; the plan that it has then."""
        if wired.wires == plan.wires:
            return plan
        await process.rewire(wired.wires)
        return plan.with_wires_of(wired)

    async def _let_go(self, process: NodeProcess, plan: ProcessPlan) -> None:
        """Tell a ready process to go: from here on its end is a crash."""
        if plan.restart_settings != self.plan.restart_settings:
            self._intensity = Intensity(plan.restart_settings)
        self.plan = plan
        self._next, self._current = None, process
        self._expected.discard(process)
        suspects, handover = self.estate.give(plan.input_wires)
        try:
            await process.go(suspects, handover)
        except LinkClosed:
            return  # it died; `_died` sees to the next
        except TimeoutError:
            process.kill_now("did not answer go")
            return
        self.reason = self.traceback = ""
        self._set(self.plan.run_state)
        self._host.changed(self, "running", "")
        if self._said_failed:
            self._said_failed = False
            self._host.changed(self, "recovered", "runs again")

    def _retire(self, process: NodeProcess, bye: Bye) -> None:
        """A process that was asked to stop is gone."""
        self.estate.stopped(process.page, bye)
        self._current = None
        if not bye.clean:
            how = process.killed_for or f"the process {describe(process.ended or 0)} while it was asked to stop"
            self._host.changed(self, "killed", f"{how}: what it had un-acked is handled again")

    def _on_frame(self, process: NodeProcess, message: dict[str, Any]) -> None:
        match message["op"]:
            case "gave_up":
                self.estate.gave_up(message["wire"], message["epoch"], message["seq"])
            case "status":
                self.badge = (str(message.get("text", "")), str(message.get("kind", "")))
            case "fail":  # after ready: it says why it is about to end
                self.reason = str(message.get("error") or "")
                self.traceback = str(message.get("traceback") or "")
                return
        self._host.frame(self, message)

    def _on_line(self, process: NodeProcess, stream: str, text: str) -> None:
        self._host.line(self, stream, text)

    def _on_end(self, process: NodeProcess, status: int) -> None:
        if process in self._expected:
            self._expected.discard(process)
            if process is self._next and not self._turn.locked():
                self._next = None  # `switch` finds none
                if self._current is not None:
                    self._set(self.plan.run_state)
            return
        if process is self._current:
            self._current = None
            self._died(process, status)

    def _died(self, process: NodeProcess, status: int) -> None:
        """A crash."""
        how = process.killed_for or self.reason or f"the process {describe(status)}"
        progress = bool(process.page and process.page.progress)
        tries = self.estate.crashed(process.page)
        verdict = self._intensity.died(time.monotonic(), tries, progress)
        self.restarts += 1
        self.reason = how
        self.badge = ("", "")  # what it said is over; the next one says what is
        if verdict.failed:
            self._fail(f"{how}; restarted too often, given up")
            return
        self._set("restarting")
        self._host.changed(
            self, "crashed", how, status=status, restarts=self.restarts, tries=tries, wait_s=verdict.wait_s
        )
        self._restart_in(verdict.wait_s)

    def _start_failed(self, error: StartFailed) -> None:
        self.reason, self.traceback = error.error, error.traceback
        self.badge = ("", "")
        verdict = self._intensity.died(time.monotonic(), 0, False)
        if error.permanent or verdict.failed:
            self._fail(error.error)
            return
        self._set("restarting")
        self._host.changed(
            self, "start failed", error.error, traceback=error.traceback, restarts=self.restarts, wait_s=verdict.wait_s
        )
        self._restart_in(verdict.wait_s)

    def _fail(self, reason: str) -> None:
        self.reason, self._said_failed = reason, True
        self._set("failed")
        self._host.changed(self, "failed", reason, traceback=self.traceback, restarts=self.restarts)

    def _restart_in(self, wait_s: float) -> None:
        self._cancel_restart()
        self._restart = asyncio.get_running_loop().create_task(
            self._start_again(wait_s), name=f"restart {self.plan.process}"
        )

    async def _start_again(self, wait_s: float) -> None:
        if self._next is None:  # a replace has one ready: it goes at once
            await asyncio.sleep(wait_s)
        async with self._turn:
            if self.state != "restarting":
                return
            process, self._next = self._next, None
            if process is not None and process.ended is None:
                self._restart = None
                await self._let_go(process, self._next_plan)
                return
            plan = self.plan
            try:
                process = await self._start(plan)
            except StartFailed as e:
                self._restart = None
                self._start_failed(e)
                return
            self._restart = None  # whoever wants to cancel it from here on waits for its turn
            # The plan may have new wires by now; a rewire during the start found no process to tell.
            plan = await self._with_wires(process, plan, self.plan)
            await self._let_go(process, replace(plan, mode=self.plan.mode))
            if self.state in ("running", "paused", "bypassed"):
                self._host.changed(self, "restarted", f"pid {self.pid}", restarts=self.restarts)

    def _cancel_restart(self) -> None:
        task, self._restart = self._restart, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def _discard_next(self) -> None:
        process, self._next = self._next, None
        if process is not None and process.ended is None:
            await process.kill("not needed any more")

    def _set(self, state: str) -> None:
        if state != self.state:
            self.state, self.since_ns = state, time.time_ns()
            self._changed.set()
            self._host.moved(self)
