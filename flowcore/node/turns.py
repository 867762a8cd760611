"""How messages go through a node's handlers: one turn after another, in order of arrival.

A turn takes what waits (as much as the outputs have credit for), has it handled (`flowcore.node.handling`), flushes the
outputs and lets the committer ack it. A timer that is due has its place before the messages of a turn.

Invariant: a message is acked only after its outputs were sent, and failed ones only after their error is kept. What a
turn took and did not finish is first in line again, and its changes of the state are undone.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from flowcore.node.handling import Handling, Stopping
from flowcore.node.message import Message
from flowcore.node.work import HandlerThread, Timer

if TYPE_CHECKING:
    from flowcore.node.engine import Engine

_MOST_A_TURN = 256
_MOST_A_BATCH = 60  # each has a slot of the supervisor's page
_LONGEST_BATCH_S = 0.02  # of a script: what it has made must not wait for what comes behind
_TRIES = 3  # deaths of a process after which the message in its handler is given up
_SUSPECT_TURNS = 4096
_SETTLE_S = 0.5  # how long a suspect waits until what was handled before it is acked
_CANCEL_S = 0.5  # for an async handler to leave when it is cancelled


class CrashedHandler(Exception):
    """This message ended its handler's process, several times."""

    def __init__(self, tries: int) -> None:
        super().__init__(f"its handler ended the process {tries} times")


class Turns:
    """The pump of one engine."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._handling = Handling(engine)
        self._concurrency = engine.concurrency
        self._idle: deque[asyncio.Future[None]] = deque()  # pumps that wait for work
        self._go = asyncio.Event()
        self._go.set()
        self._is_stopping = False
        self._lock = asyncio.Lock()  # held by a turn when concurrency is 1, and by a reconfigure
        self._pumps: list[asyncio.Task] = []
        self._threads = [engine.thread]
        self.bypass_to: str | None = None
        self.suspects: dict[tuple[int, int, int], int] = {}  # (page hash, epoch, seq) -> deaths
        self._suspect_turns = _SUSPECT_TURNS
        self._is_paced = engine.node.script and self._handling.takes_batches
        self._most = _MOST_A_BATCH if self._handling.takes_batches else _MOST_A_TURN
        if self._is_paced:
            self._most = 1  # until one has shown how long it takes
        self.busy = 0
        self.on_gave_up: Any = lambda work: None

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take from the queue."""
        if not self._handling.is_async:
            more = range(1, self._concurrency)
            self._threads += [HandlerThread(self._engine.loop, f"{self._engine.node.id}-handler-{k}") for k in more]
        self._start_pumps()

    def _start_pumps(self) -> None:
        for k in range(len(self._pumps), self._concurrency):
            self._pumps.append(self._engine.loop.create_task(self._pump(k, self._threads[k % len(self._threads)])))

    def set_concurrency(self, concurrency: int) -> None:
        """Have so many handlers at once from now on; what is at work ends first."""
        if concurrency == self._concurrency:
            return
        self._concurrency = concurrency
        for k, task in enumerate(self._pumps[:concurrency]):
            if task.done():
                self._pumps[k] = self._engine.loop.create_task(self._pump(k, self._threads[k % len(self._threads)]))
        self._start_pumps()
        self._wake_all()

    def wake(self) -> None:
        """Something was queued: one pump looks, and wakes the next when there is more."""
        while self._idle:
            one = self._idle.popleft()
            if not one.done():
                one.set_result(None)
                return

    def _wake_all(self) -> None:
        while self._idle:
            self.wake()

    @property
    def is_paused(self) -> bool:
        """True between `pause` and `resume`."""
        return not self._go.is_set()

    def pause(self) -> None:
        """Take nothing more."""
        self._go.clear()

    def resume(self) -> None:
        """Undo `pause`."""
        self._go.set()

    async def stop(self, drain_s: float) -> bool:
        """Take nothing more and wait for the handlers at work; past `drain_s` they are left behind.

        Returns:
            True when no handler runs any more, so that the state is whole.
        """
        self._is_stopping = True
        self._handling.stopping.set()
        self._wake_all()
        self._go.set()
        if self._pumps:
            _, late = await asyncio.wait(self._pumps, timeout=drain_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_CANCEL_S)
        for thread in self._threads[1:]:
            thread.close()
        return all(task.done() for task in self._pumps) and not any(thread.is_busy for thread in self._threads)

    @contextlib.asynccontextmanager
    async def between(self) -> AsyncIterator[None]:
        """No handler runs inside (concurrency 1), so config can change."""
        async with self._lock:
            yield

    # -- the pump -----------------------------------------------------------------------------------------------

    async def _pump(self, number: int, thread: HandlerThread) -> None:
        engine = self._engine
        queue, timers = engine.queue, engine.timers_due
        while not self._is_stopping and number < self._concurrency:
            if self.is_paused:
                await self._go.wait()
                continue
            if not queue and not timers:
                idle = engine.loop.create_future()
                self._idle.append(idle)
                await idle
                continue
            if self._idle and len(queue) + len(timers) > 1:
                self.wake()
            self.busy += 1
            try:
                if self._concurrency == 1:
                    async with self._lock:
                        await self._turn(thread)
                else:
                    await self._turn(thread)
            except Stopping:
                return
            except Exception as e:  # the engine's own fault: show it, never stop the node
                engine.failures.report(e, None)
                await asyncio.sleep(0.1)
            finally:
                self.busy -= 1

    async def _turn(self, thread: HandlerThread) -> None:
        engine = self._engine
        if engine.references.are_shared:
            await engine.references.refresh()
        if engine.timers_due:
            await self._run_timer(engine.timers_due.popleft(), thread)
            if self._is_stopping or self.is_paused:
                return
        works = self._take()
        if not works:
            return
        deaths = 0
        if self.suspects and (deaths := self.suspects.pop(_suspect_key(works[0]), 0)):
            await self._settle(works[0])
        engine.committer.turn_begins()
        done: list[Any] = []
        try:
            if deaths >= _TRIES:
                await engine.failures.fail(CrashedHandler(deaths), Message.arrived(works[0]), deaths)
                done.append(works[0])
            elif self.bypass_to is not None:
                await self._handling.bypass(works, done, self.bypass_to)
            elif self._is_paced:
                begun_s = time.perf_counter()
                await self._handling.batch(works, done, thread)
                self._pace(len(works), time.perf_counter() - begun_s)
            elif self._handling.takes_batches:
                await self._handling.batch(works, done, thread)
            else:
                await self._handling.each(works, done, thread)
        finally:
            if len(done) < len(works):
                self._put_back(works, done)
            self._account(done)
            self._end_turn(done, thread)
        if deaths >= _TRIES:
            # The supervisor forgets its tries only when it cannot come again: its ack is on its way.
            await self._settle(works[0])
            self.on_gave_up(works[0])

    def _pace(self, handled: int, took_s: float) -> None:
        """Take as many next as a script does in 20 ms: results and acks of a batch go out together, at its end."""
        fits = int(handled * _LONGEST_BATCH_S / max(took_s, 1e-6))
        self._most = max(1, min(fits, 4 * self._most, _MOST_A_BATCH))

    def _end_turn(self, done: list[Any], thread: HandlerThread) -> None:
        self._engine.emitter.flush()
        if not thread.is_busy:  # else it was left behind, and still changes the state: nothing more is stored
            self._engine.committer.turn_ends(done)

    def _put_back(self, works: list[Any], done: list[Any]) -> None:
        """Taken, not handled: first in line again."""
        if done == works[: len(done)]:  # they are compared by identity; only a batch may leave out some before others
            left = works[len(done) :]
        else:
            handled = set(map(id, done))
            left = [work for work in works if id(work) not in handled]
        for work in left:
            if work.is_latest:
                work.is_started = False
        self._engine.queue.extendleft(reversed(left))

    async def _settle(self, work: Any) -> None:
        """Wait a moment until what came before this message, and it too when it is done, is acked.

        What is tried next may end the process, and would take the acks that are not said yet with it: the good
        messages before a poisoned one would be handled again at each of its tries.
        """
        wire, until_s = work.wire, time.monotonic() + _SETTLE_S
        if wire.delivery != "reliable":
            return
        last = work.seq if work.is_done else work.seq - 1
        while (  # noqa: ASYNC110 - for half a second at most, and only after a crash
            wire.taken and wire.taken[0].seq <= last and time.monotonic() < until_s and not self._is_stopping
        ):
            await asyncio.sleep(0.002)
        wire.say_if_unsaid()
        await asyncio.sleep(0.002)  # the socket has it then

    def _take(self) -> list[Any]:
        """As much as the outputs have credit for, so that a turn's outputs need not wait in memory."""
        queue = self._engine.queue
        most = min(self._most, max(1, self._engine.emitter.credit()))
        if self.suspects:
            most = 1  # what was in a handler at a death is tried alone
            self._suspect_turns -= 1
            if self._suspect_turns < 0:
                self.suspects.clear()  # the rest did not come back: their producer has a new epoch
        elif self._engine.node.waits:
            most = 1  # the next one's handler need not wait for this one's answer, and they begin in order
        elif self._concurrency > 1:
            most = max(1, min(most, len(queue) // self._concurrency))
        works: list[Any] = []
        while queue and len(works) < most:
            work = queue.popleft()
            if work.is_latest:
                if work.is_skipped:
                    continue
                work.is_started = True
            works.append(work)
        if self._engine.tensors.resolver.is_used:
            self._engine.tensors.resolver.look_ahead(works)
        return works

    def _account(self, done: list[Any]) -> None:
        if not done:
            return
        engine = self._engine
        engine.counts["handled"] += len(done)
        ts = done[-1].envelope.get("ts")
        if isinstance(ts, int):
            engine.latencies_ms.append((engine.clock.now_ns() - ts) / 1e6)

    async def _run_timer(self, timer: Timer, thread: HandlerThread) -> None:
        if timer.is_cancelled:
            return
        engine = self._engine
        engine.committer.turn_begins()
        try:
            error = await self._handling.timer(timer, thread)
            if error is not None:
                engine.failures.report(error, None)
        finally:
            self._end_turn([], thread)
            if timer.every_s is not None:
                timer.schedule(timer.every_s)


def _suspect_key(work: Any) -> tuple[int, int, int]:
    """What the supervisor's page knows a message by."""
    return work.wire.page_hash, getattr(work, "epoch", 0), getattr(work, "seq", 0)
