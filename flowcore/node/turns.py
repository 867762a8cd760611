"""How messages go through a node's handlers: one turn after another, in order of arrival.

A turn takes what waits (as much as the outputs have credit for), runs it in the handler thread or on the loop, sends
what came of it, and lets the committer ack it. Around the handler: deadline, circuit breaker, time-out, retries.

Invariant: a message is acked only after its outputs were sent, and failed ones only after their error is kept.
"""

import asyncio
import contextlib
import ctypes
import inspect
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from flowcore.node.message import Message, current
from flowcore.node.node import GiveUp
from flowcore.node.policies import Breaker, BreakerOpen, HandlerTimeout, is_late, retry_waits
from flowcore.node.ports import PortTypeError
from flowcore.node.work import HandlerThread, Timer
from flowcore.wires.receipt import Cause, Joined

if TYPE_CHECKING:
    from flowcore.node.engine import Around, Engine

_MOST_A_TURN = 256
_MOST_A_BATCH = 60  # each has a slot of the supervisor's page
_TRIES = 3  # deaths of a process after which the message in its handler is given up
_SUSPECT_TURNS = 4096
_SETTLE_S = 0.5  # how long a suspect waits until what was handled before it is acked
_LONGEST_TURN_S = 0.002  # of a sync run: what is behind it must not wait for a slow handler's whole batch
_GENERATED_AT_ONCE = 64
_GRACE_S = 1.0  # for a sync handler to leave after its time-out was raised in it


class CrashedHandler(Exception):
    """This message ended its handler's process, several times."""

    def __init__(self, tries: int) -> None:
        super().__init__(f"its handler ended the process {tries} times")
        self.tries = tries


class _Late(Exception):
    """Past its deadline: counted, not an error."""


class Turns:
    """The pump of one engine."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        node, settings = engine.node, engine.settings
        self._settings = settings
        self._timeout_s: float | None = settings.get("timeout_s")
        deadline = settings.get("deadline") or {}
        self._age_s, self._late_port = deadline.get("age_s"), deadline.get("late") == "port"
        self._breaker = Breaker(settings.get("breaker") or {})
        self._retry = settings.get("retry") or {}
        self._on_batch = getattr(node, "on_batch", None)
        self._on_message = getattr(node, "on_message", None)
        handler = self._on_batch or self._on_message
        self._is_async = handler is not None and (
            inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler)
        )
        self._concurrency = max(1, settings.get("concurrency", 1))
        self._wake = asyncio.Event()
        self._go = asyncio.Event()
        self._go.set()
        self._is_stopping = False
        self._lock = asyncio.Lock()  # held by a turn when concurrency is 1, and by a reconfigure
        self._pumps: list[asyncio.Task] = []
        self._threads = [engine.thread]
        self.bypass_to: str | None = None
        self.suspects: dict[tuple[int, int, int], int] = {}  # (page hash, epoch, seq) -> deaths
        self._suspect_turns = _SUSPECT_TURNS
        self._gave_up: list[Any] = []  # in this turn, for the number of deaths
        self._most = _MOST_A_BATCH if self._on_batch is not None else _MOST_A_TURN
        self.busy = 0
        self.on_gave_up: Any = lambda work: None

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take from the queue."""
        if not self._is_async:
            more = range(1, self._concurrency)
            self._threads += [HandlerThread(self._engine.loop, f"{self._engine.node.id}-handler-{k}") for k in more]
        for k in range(self._concurrency):
            self._pumps.append(self._engine.loop.create_task(self._pump(self._threads[k % len(self._threads)])))

    def wake(self) -> None:
        """Something was queued."""
        self._wake.set()

    def pause(self) -> None:
        """Take nothing more."""
        self._go.clear()

    def resume(self) -> None:
        """Undo `pause`."""
        self._go.set()

    async def stop(self, drain_s: float) -> None:
        """Take nothing more and wait for the handlers at work; past `drain_s` they are left behind."""
        self._is_stopping = True
        self._wake.set()
        self._go.set()
        if self._pumps:
            _, late = await asyncio.wait(self._pumps, timeout=drain_s)
            for task in late:
                task.cancel()
        for thread in self._threads[1:]:
            thread.close()

    @contextlib.asynccontextmanager
    async def between(self) -> AsyncIterator[None]:
        """No handler runs inside (concurrency 1), so config can change."""
        async with self._lock:
            yield

    # -- the pump -----------------------------------------------------------------------------------------------

    async def _pump(self, thread: HandlerThread) -> None:
        engine = self._engine
        queue, timers = engine.queue, engine.timers_due
        while not self._is_stopping:
            if not self._go.is_set():
                await self._go.wait()
                continue
            if not queue and not timers:
                self._wake.clear()
                await self._wake.wait()
                continue
            self.busy += 1
            try:
                if self._concurrency == 1:
                    async with self._lock:
                        await self._turn(thread)
                else:
                    await self._turn(thread)
            except asyncio.CancelledError:
                raise
            except Exception as e:  # the engine's own fault: show it, never stop the node
                engine.report(e, None)
                await asyncio.sleep(0.1)
            finally:
                self.busy -= 1

    async def _turn(self, thread: HandlerThread) -> None:
        engine = self._engine
        if engine.has_shared_references:
            await engine.refresh_references()
        if engine.timers_due:
            await self._run_timer(engine.timers_due.popleft(), thread)
            return
        works = self._take()
        if not works:
            return
        if self.suspects and _suspect_key(works[0]) in self.suspects:
            await self._settle(works[0])
        engine.committer.turn_begins()
        done: list[Any] = []
        try:
            if self.bypass_to is not None:
                await self._bypass(works)
                done = works
            elif self._on_batch is not None:
                done = await self._run_batch(works, thread)
            else:
                done = await self._run_each(works, thread)
        finally:
            if len(done) < len(works):  # taken, not handled: first in line again
                for work in reversed(works[len(done) :]):
                    if work.is_latest:
                        work.is_started = False
                    engine.queue.appendleft(work)
            self._account(done)
            engine.emitter.flush()
            engine.committer.turn_ends(done)
        while self._gave_up:
            # The supervisor forgets its tries only when it cannot come again: its ack is on its way.
            work = self._gave_up.pop(0)
            await self._settle(work)
            self.on_gave_up(work)

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
        return works

    def _account(self, done: list[Any]) -> None:
        if not done:
            return
        engine = self._engine
        engine.counts["handled"] += len(done)
        ts = done[-1].envelope.get("ts")
        if isinstance(ts, int):
            engine.latencies_ms.append((time.time_ns() - ts) / 1e6)

    # -- one message after another ------------------------------------------------------------------------------

    async def _run_each(self, works: list[Any], thread: HandlerThread) -> list[Any]:
        """Handle works in order, for some milliseconds; returns those that are handled."""
        done: list[Any] = []
        ready: deque[tuple[Any, Message]] = deque()
        for work in works:
            message = Message.arrived(work)
            refusal = self._refusal(work, message)
            if refusal is None:
                ready.append((work, message))
                continue
            await self._run_ready(ready, done, thread)
            if ready:
                break  # out of time, or stopping
            await self._refuse(refusal, work, message)
            done.append(work)
        else:
            await self._run_ready(ready, done, thread)
        return done

    def _refusal(self, work: Any, message: Message) -> Exception | None:
        """Why the handler must not see a message; also brings the payload into the port's form."""
        if (message.deadline_ns is not None or self._age_s is not None) and is_late(
            work.envelope, self._age_s, time.time_ns()
        ):
            return _Late()
        if self.suspects:
            deaths = self.suspects.pop(_suspect_key(work), 0)
            if deaths >= _TRIES:
                return CrashedHandler(deaths)
        if work.wire.check is not None:
            try:
                message.payload = work.wire.check(message.payload)
            except PortTypeError as e:
                return e
        return None

    async def _refuse(self, refusal: Exception, work: Any, message: Message) -> None:
        engine = self._engine
        if isinstance(refusal, _Late):
            engine.counts["late"] += 1
            if self._late_port and "late" in engine.emitter.ports:
                await engine.emitter.emit([("late", message.derive())], work)
            return
        await engine.fail(refusal, message, getattr(refusal, "tries", 1))
        if isinstance(refusal, CrashedHandler):
            self._gave_up.append(work)

    async def _run_ready(self, ready: deque[tuple[Any, Message]], done: list[Any], thread: HandlerThread) -> None:
        until_s = time.perf_counter() + _LONGEST_TURN_S
        while ready:
            if done and (self._is_stopping or time.perf_counter() > until_s):
                return
            if self._is_async:
                work, message = ready.popleft()
                error = await self._try_async(work, message)
                if error is not None:
                    await self._retry_or_fail(work, message, error, thread)
                done.append(work)
                self._completed(message)
            else:
                await self._run_in_thread(ready, done, thread)

    async def _try_async(self, work: Any, message: Message) -> Exception | None:
        engine = self._engine
        slot = None
        try:
            self._breaker.check(engine.now_s())
            engine.state.begin()
            slot = engine.around.enter(work)
            token = current.set(message)
            try:
                async with asyncio.timeout(self._timeout_s) as limit:
                    assert self._on_message is not None
                    result = self._on_message(message)
                    if isinstance(result, AsyncGeneratorType):
                        async for value in result:
                            await self._send(value, message, work)
                    else:
                        await self._send(await result, message, work)
            except TimeoutError:
                if limit.expired():
                    raise HandlerTimeout(f"not finished after {self._timeout_s} s") from None
                raise
            finally:
                current.reset(token)
            self._breaker.succeeded()
            return None
        except Exception as e:
            engine.state.rollback()
            return e
        finally:
            engine.around.leave(slot)

    async def _send(self, result: Any, message: Message | None, cause: Cause | None) -> None:
        if result is not None:
            emitter = self._engine.emitter
            await emitter.emit(emitter.drafts(result, message), cause)

    async def _run_in_thread(self, ready: deque, done: list[Any], thread: HandlerThread) -> None:
        """One run of sync handlers: until a failure, a generator with more, or two milliseconds."""
        engine = self._engine
        if self._breaker.is_open:
            work, message = ready.popleft()
            try:
                self._breaker.check(engine.now_s())
            except BreakerOpen as e:
                await engine.fail(e, message)
                done.append(work)
                return
            ready.appendleft((work, message))
        run = _Run(self._on_message, ready, engine, single=self._breaker.is_open)
        await self._in_thread(thread, run)
        send_now, now_s = engine.emitter.send_now, time.monotonic()
        for work, message, result in run.finished:
            error: Exception | None = None
            try:
                if type(result) is list:  # a generator's values
                    for value in result:
                        await self._send(value, message, work)
                elif result is not None and not send_now(result, message, work, now_s):
                    await self._send(result, message, work)
            except Exception as e:
                error = e
            ready.popleft()
            if error is not None:
                await self._retry_or_fail(work, message, error, thread, may_retry=False)
            done.append(work)
            self._completed(message)
        if run.finished and self._breaker.is_open:
            self._breaker.succeeded()
        if run.error is not None:
            work, message = ready.popleft()
            await self._retry_or_fail(work, message, run.error, thread)
            done.append(work)
            self._completed(message)
        elif run.more is not None:
            work, message = ready.popleft()
            await self._continue_generator(work, message, run, thread)
            done.append(work)
            self._completed(message)

    async def _continue_generator(self, work: Any, message: Message, run: "_Run", thread: HandlerThread) -> None:
        """A generator that yields many: send what it gave, then let it go on, so that back-pressure reaches it."""
        values, generator = run.more  # type: ignore[misc]
        error: Exception | None = None
        while True:
            try:
                for value in values:
                    await self._send(value, message, work)
            except Exception as e:
                error = e
                break
            if generator is None:
                break
            self._engine.emitter.flush()
            piece = _Piece(generator, work, self._engine)
            await self._in_thread(thread, piece)
            values, generator, error = piece.values, piece.generator, piece.error
            if error is not None:
                break
        if error is not None:
            await self._retry_or_fail(work, message, error, thread, may_retry=False)

    async def _in_thread(self, thread: HandlerThread, run: Any) -> None:
        """Run in the handler thread; past the time-out raise in it, and give the process up if that doesn't help."""
        future = thread.call(run)
        if self._timeout_s is None:
            await future
            return
        while not future.done():
            left_s = self._timeout_s - (time.perf_counter() - run.started_s) if run.started_s else self._timeout_s
            await asyncio.wait({future}, timeout=max(left_s, 0.001))
            if future.done() or not run.started_s or time.perf_counter() - run.started_s < self._timeout_s:
                continue
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(HandlerTimeout))
            await asyncio.wait({future}, timeout=_GRACE_S)
            if not future.done():
                self._engine.around.stuck(run.message)
                await future
        with contextlib.suppress(HandlerTimeout):
            future.result()

    # -- many at once -------------------------------------------------------------------------------------------

    async def _run_batch(self, works: list[Any], thread: HandlerThread) -> list[Any]:
        ready: list[tuple[Any, Message]] = []
        for work in works:
            message = Message.arrived(work)
            refusal = self._refusal(work, message)
            if refusal is None:
                ready.append((work, message))
            else:
                await self._refuse(refusal, work, message)
        if not ready:
            return works
        batch, messages = [work for work, _ in ready], [message for _, message in ready]
        error = await self._try_batch(batch, messages, thread)
        for wait_s in retry_waits(self._retry):
            if error is None or isinstance(error, (GiveUp, BreakerOpen)):
                break
            self._engine.counts["retried"] += 1
            await asyncio.sleep(wait_s)
            error = await self._try_batch(batch, messages, thread)
        if error is not None and not isinstance(error, BreakerOpen):
            self._breaker.failed(self._engine.now_s(), str(error))
        for message in messages:
            if error is not None:
                await self._engine.fail(error, message)
            else:
                self._completed(message)
        return works

    async def _try_batch(self, works: list[Any], messages: list[Message], thread: HandlerThread) -> Exception | None:
        engine = self._engine
        slots = [engine.around.enter(work) for work in works]
        joined = Joined(list(works))
        try:
            self._breaker.check(engine.now_s())
            engine.state.begin()
            assert self._on_batch is not None
            async with asyncio.timeout(self._timeout_s):
                if self._is_async:
                    result = self._on_batch(messages)
                    if isinstance(result, AsyncGeneratorType):
                        async for value in result:
                            await self._send(value, None, joined)
                    else:
                        await self._send_all(await result, joined)
                else:
                    await self._send_all(await thread.call(_listed, self._on_batch, messages), joined)
            self._breaker.succeeded()
            return None
        except TimeoutError:
            engine.state.rollback()
            return HandlerTimeout(f"a batch was not finished after {self._timeout_s} s")
        except Exception as e:
            engine.state.rollback()
            return e
        finally:
            joined.one_done()
            for slot in slots:
                engine.around.leave(slot)

    async def _send_all(self, result: Any, cause: Cause) -> None:
        """A batch's list is a list of outputs, one after another."""
        for value in result if isinstance(result, list) else [result]:
            await self._send(value, None, cause)

    # -- timers, bypass, failures -------------------------------------------------------------------------------

    async def _run_timer(self, timer: Timer, thread: HandlerThread) -> None:
        if timer.is_cancelled:
            return
        engine = self._engine
        engine.committer.turn_begins()
        try:
            engine.state.begin()
            result = timer.function(*timer.args) if _is_async(timer.function) else None
            if result is None:
                result = await thread.call(_listed, timer.function, *timer.args)
            elif isinstance(result, AsyncGeneratorType):
                result = _Values([value async for value in result])
            else:
                result = await result
            for value in result if isinstance(result, _Values) else [result]:
                await self._send(value, None, None)
        except Exception as e:
            engine.state.rollback()
            engine.report(e, None)
        finally:
            engine.emitter.flush()
            engine.committer.turn_ends([])
            if timer.every_s is not None:
                timer.schedule(timer.every_s)  # type: ignore[attr-defined]

    async def _bypass(self, works: list[Any]) -> None:
        for work in works:
            message = Message.arrived(work)
            await self._engine.emitter.emit([(self.bypass_to or "", message.derive())], work)

    async def _retry_or_fail(
        self, work: Any, message: Message, error: Exception, thread: HandlerThread, may_retry: bool = True
    ) -> None:
        engine, tries = self._engine, 1
        if may_retry and not isinstance(error, (GiveUp, BreakerOpen)):
            for wait_s in retry_waits(self._retry):
                if self._is_stopping:
                    break
                engine.counts["retried"] += 1
                await asyncio.sleep(wait_s)
                tries += 1
                again = await self._try_once(work, message, thread)
                if again is None:
                    return
                error = again
                if isinstance(error, GiveUp):
                    break
        if not isinstance(error, BreakerOpen):
            self._breaker.failed(engine.now_s(), str(error))
        await engine.fail(error, message, tries)

    async def _try_once(self, work: Any, message: Message, thread: HandlerThread) -> Exception | None:
        if self._is_async:
            return await self._try_async(work, message)
        ready = deque([(work, message)])
        run = _Run(self._on_message, ready, self._engine, single=True)
        await self._in_thread(thread, run)
        if run.error is not None:
            return run.error
        try:
            for _, _, result in run.finished:
                for value in result if type(result) is list else [result]:
                    await self._send(value, message, work)
            if run.more is not None:
                await self._continue_generator(work, message, run, thread)
            return None
        except Exception as e:
            return e

    def _completed(self, message: Message) -> None:
        port = self._engine.emitter.ports.get("complete")
        if port is not None and port.wires:
            self._engine.send_hidden("complete", message.payload, message, message.cause)


class _Run:
    """A run of a sync handler over messages, in the handler thread."""

    def __init__(self, handler: Any, ready: deque, engine: "Engine", single: bool = False) -> None:
        self._handler, self._works, self._engine = handler, list(ready), engine
        self._single = single
        self.finished: list[tuple[Any, Message, Any]] = []
        self.error: Exception | None = None
        self.more: tuple[list, GeneratorType | None] | None = None
        self.started_s = 0.0
        self.message: Message = ready[0][1]
        self._slot: int | None = None

    def __call__(self) -> None:
        around, began_s = self._engine.around, time.perf_counter()
        self._slot = around.enter(self._works[0][0])
        try:
            self._handle_all(around, began_s)
        finally:
            self.started_s = 0.0
            around.leave(self._slot, max(1, len(self.finished)))

    def _handle_all(self, around: "Around", began_s: float) -> None:
        state, handler, clock, finished = self._engine.state, self._handler, time.perf_counter, self.finished
        for work, message in self._works:
            self.message = message
            self.started_s = now_s = clock()
            if finished:
                if self._single or now_s - began_s > _LONGEST_TURN_S:
                    break
                self._slot = around.move(self._slot, work)
            state.begin()
            try:
                result = handler(message)
                if type(result) is GeneratorType:
                    values, rest = _some(result)
                    if rest is not None:
                        self.more = (values, rest)
                        return
                    result = values
                elif type(result) is list:
                    result = [result]  # a list is a value
            except Exception as e:
                state.rollback()
                self.error = e
                return
            finished.append((work, message, result))


class _Piece:
    """The next values of a generator, in the handler thread."""

    def __init__(self, generator: GeneratorType, work: Any, engine: "Engine") -> None:
        self.generator: GeneratorType | None = generator
        self.values: list = []
        self.error: Exception | None = None
        self.started_s = 0.0
        self.message = Message.arrived(work)
        self._work, self._around = work, engine.around

    def __call__(self) -> None:
        self.started_s = time.perf_counter()
        slot = self._around.enter(self._work)
        try:
            assert self.generator is not None
            self.values, self.generator = _some(self.generator)
        except Exception as e:
            self.error = e
        finally:
            self.started_s = 0.0
            self._around.leave(slot, 0)


class _Values(list):
    """Several outputs, where a plain list would be one value."""


def _some(generator: GeneratorType) -> tuple[list, GeneratorType | None]:
    """Up to 64 values, and the generator if it has more."""
    values: list = []
    for value in generator:
        values.append(value)
        if len(values) >= _GENERATED_AT_ONCE:
            return values, generator
    return values, None


def _listed(function: Any, *args: Any) -> Any:
    """Call, and run a generator to its end, in the handler thread."""
    result = function(*args)
    return _Values(result) if isinstance(result, Iterator) else result


def _suspect_key(work: Any) -> tuple[int, int, int]:
    """What the supervisor's page knows a message by."""
    return work.wire.page_hash, getattr(work, "epoch", 0), getattr(work, "seq", 0)


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
