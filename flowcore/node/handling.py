"""What is done around a handler: its message made whole, circuit breaker, tries, and what came of them.

Sync handlers run in a thread (`flowcore.node.runs`), async ones on the event loop. Which messages they get to see is in
`flowcore.node.admission`, how long they may take in `flowcore.node.time_limit`, how what they make is sent in
`flowcore.node.results`, and what becomes of their errors in `flowcore.node.failures`. Which messages are handled
together, and when they are acked, is in `flowcore.node.turns`.

    Stopping   the node is told to stop while a message waits for its next try: it is left to the next process

Invariant: a message is in `done` when its outputs were sent or its error is kept, and in no other case.
"""

import asyncio
import contextlib
import inspect
import time
from collections.abc import Awaitable, Callable
from itertools import takewhile
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any

from flowcore.buffers import BufferExpired
from flowcore.bus.envelope import Malformed
from flowcore.node.admission import Admission
from flowcore.node.message import Message, current
from flowcore.node.node import GiveUp
from flowcore.node.policies import Breaker, BreakerOpen, retry_waits
from flowcore.node.resolve import ComesAgain, remote_parts
from flowcore.node.results import Results
from flowcore.node.runs import LONGEST_RUN_S, Call, Run
from flowcore.node.time_limit import TimeLimit
from flowcore.node.work import HandlerThread, Timer
from flowcore.wires.receipt import Cause, Joined

if TYPE_CHECKING:
    from flowcore.node.engine import Engine

Ready = tuple[Any, Message]  # a work of the queue, and the message a handler gets


class Stopping(Exception):
    """The node stops: what is at hand is left to the next process."""


class Handling:
    """Calls the handlers of one engine's node."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        node, settings = engine.node, engine.settings
        self._limit = TimeLimit(settings.get("timeout_s"), engine)
        self._results = Results(engine, self._limit)
        self._admission = Admission(engine, settings.get("deadline") or {}, self._results)
        self._breaker = Breaker(settings.get("breaker") or {})
        self._retry = settings.get("retry") or {}
        self._resolver = engine.tensors.resolver
        self._on_batch: Any = getattr(node, "on_batch", None)
        self._on_message: Any = getattr(node, "on_message", None)
        self.takes_batches = self._on_batch is not None
        self.is_async = _is_async(self._on_batch or self._on_message)
        self._waits = bool(node.waits)  # what waits in a handler is at fault for no death: the page need not say it
        self.stopping = asyncio.Event()

    # -- one message after another ------------------------------------------------------------------------------

    async def each(self, works: list[Any], done: list[Any], thread: HandlerThread) -> None:
        """Handle works in order, for some milliseconds; adds those that are handled to `done`, which begins empty."""
        until_s = time.perf_counter() + LONGEST_RUN_S
        while (at := len(done)) < len(works):
            if at and (self.stopping.is_set() or time.perf_counter() > until_s):
                return
            work = works[at]
            if self._is_unresolved(work) and not await self._resolve(work, done):
                continue
            if self.is_async or self._breaker.is_open:
                await self._one(work, done, thread)
            else:
                await self._run_in_thread(works[at:], done, thread)

    def _is_unresolved(self, work: Any) -> bool:
        return self._resolver.is_used and "unresolved" in work.envelope

    async def _resolve(self, work: Any, done: list[Any]) -> bool:
        """Make a message whole; False when that cannot be: then it is done.

        Raises:
            Stopping: the node is told to stop while it waits.
        """
        if not remote_parts(work):
            waiting: Awaitable[None] = self._resolver.resolve(work)
        else:
            task = asyncio.ensure_future(self._resolver.resolve(work))
            stop = asyncio.ensure_future(self.stopping.wait())
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if not task.done():
                task.cancel()
                raise Stopping
            waiting = task
        try:
            await waiting
        except ComesAgain:
            if work.is_latest:
                work.wire.counts["drops"] += 1
        except (BufferExpired, Malformed) as e:
            await self._engine.failures.fail(e, Message.arrived(work))
        else:
            return True
        done.append(work)
        return False

    async def _one(self, work: Any, done: list[Any], thread: HandlerThread) -> None:
        """Handle one message: an async handler's, or a sync one's while the circuit breaker has an eye on it."""
        message, refusal = self._admission.arrived(work)
        if refusal is not None:
            await self._admission.refuse(refusal, work, message)
            done.append(work)
        elif self._breaker.is_open and (refused := self._refused_by_breaker()) is not None:
            await self._engine.failures.fail(refused, message)
            done.append(work)
        elif not self.is_async:
            await self._run_in_thread([work], done, thread)
        else:
            error = await self._try_async(work, message)
            if error is None and self._is_plain:
                done.append(work)
            else:
                await self._finish(work, message, error, done, thread)

    def _refused_by_breaker(self) -> BreakerOpen | None:
        try:
            self._breaker.check(self._engine.now_s())
        except BreakerOpen as e:
            return e
        return None

    async def _try_async(self, work: Any, message: Message) -> BaseException | None:
        engine = self._engine
        slot = None if self._waits else engine.around.enter(work)
        token = current.set(message)
        try:
            engine.state.begin()
            result = self._on_message(message)
            if isinstance(result, AsyncGeneratorType):
                await self._results.send_generated(result, message, work)
            else:
                value = await (result if self._limit.seconds is None else self._limit.within(result))
                if value is not None and not engine.emitter.send_now(value, message, work, time.monotonic()):
                    await self._results.send(value, message, work)
            return None
        except BaseException as e:
            engine.state.rollback()
            if _ends_the_task(e):
                raise
            return e
        finally:
            current.reset(token)
            engine.around.leave(slot)

    async def _run_in_thread(self, works: list[Any], done: list[Any], thread: HandlerThread) -> None:
        """One run of sync handlers: until a failure, a generator with more, or two milliseconds."""
        if self._resolver.is_used:
            works = [*works[:1], *takewhile(lambda work: not self._is_unresolved(work), works[1:])]
        run = self._run(works, self._admission.arrived)
        await self._limit.in_thread(thread, run)
        send_now, now_s, is_plain = self._engine.emitter.send_now, time.monotonic(), self._is_plain
        for work, message, result in run.finished:
            error: BaseException | None = None
            try:
                if type(result) is list:  # a generator's values
                    await self._results.send_all(result, message, work)
                elif result is not None and not send_now(result, message, work, now_s):
                    await self._results.send(result, message, work)
            except Exception as e:
                error = e
            if error is None and is_plain:
                done.append(work)
            else:
                await self._finish(work, message, error, done, thread, may_retry=False)
        if run.message is None:
            return
        work, message = works[len(run.finished)], run.message
        if run.refusal is not None:
            await self._admission.refuse(run.refusal, work, message)
            done.append(work)
        elif run.error is not None:
            await self._finish(work, message, run.fault(), done, thread)
        elif run.more is not None:
            error = await self._results.send_rest(*run.more, message, work, thread)
            await self._finish(work, message, error, done, thread, may_retry=False)

    def _run(self, works: list[Any], arrived: Callable[[Any], tuple[Message, Exception | None]]) -> Run:
        # A handler that makes tensors may wait for a slot: what ran before it must be sent by then.
        is_single = self._breaker.is_open or self._engine.tensors.allocs > 0
        is_timed = self._limit.seconds is not None
        return Run(self._on_message, works, arrived, self._engine, is_single=is_single, is_timed=is_timed)

    @property
    def _is_plain(self) -> bool:
        """True when nothing is to be done for a message that was handled well."""
        return not self._breaker.is_open and not self._engine.emitter.is_wired("complete")

    # -- many at once -------------------------------------------------------------------------------------------

    async def batch(self, works: list[Any], done: list[Any], thread: HandlerThread) -> None:
        """Hand works over together; adds those that are handled to `done`."""
        ready: list[Ready] = []
        for work in works:
            if self._resolver.is_used and "unresolved" in work.envelope and not await self._resolve(work, done):
                continue
            message = Message.arrived(work)
            refusal = self._admission.refusal(work, message)
            if refusal is None:
                ready.append((work, message))
            else:
                await self._admission.refuse(refusal, work, message)
                done.append(work)
        if not ready:
            return
        if not self._breaker.is_open:
            error = await self._try_batch(ready, thread)
            if error is None or len(ready) == 1:
                for one in ready:
                    await self._finish(*one, error, done, thread)
                return
        for one in ready:  # one of them may be at fault: each gets its own try
            refused = self._refused_by_breaker() if self._breaker.is_open else None
            await self._finish(*one, refused or await self._try_batch([one], thread), done, thread)

    async def _try_batch(self, ready: list[Ready], thread: HandlerThread) -> BaseException | None:
        engine = self._engine
        slots = [engine.around.enter(work) for work, _ in ready]
        joined = Joined([work for work, _ in ready])
        messages = [message for _, message in ready]
        try:
            engine.state.begin()
            await self._call(self._on_batch, (messages,), joined, thread, is_spread=True)
            return None
        except BaseException as e:
            engine.state.rollback()
            if _ends_the_task(e):
                raise
            return e
        finally:
            joined.one_done()
            for slot in slots:
                engine.around.leave(slot)

    # -- timers, bypass -----------------------------------------------------------------------------------------

    async def timer(self, timer: Timer, thread: HandlerThread) -> BaseException | None:
        """Call what is due, like a handler; returns what it raised."""
        state = self._engine.state
        try:
            state.begin()
            await self._call(timer.function, timer.args, None, thread)
            return None
        except BaseException as e:
            state.rollback()
            if _ends_the_task(e):
                raise
            return e

    async def bypass(self, works: list[Any], done: list[Any], port: str) -> None:
        """Send messages on as they came."""
        for work in works:
            if self._resolver.is_used and "unresolved" in work.envelope and not await self._resolve(work, done):
                continue
            await self._results.pass_on(port, Message.arrived(work), work)
            done.append(work)

    # -- calls --------------------------------------------------------------------------------------------------

    async def _call(
        self, function: Any, args: tuple, cause: Cause | None, thread: HandlerThread, is_spread: bool = False
    ) -> None:
        """Call a handler that is not for one message, and send what it makes. Raises what it raises.

        Args:
            is_spread: a list that it returns is many outputs, not one value.
        """
        if _is_async(function):
            result = function(*args)
            if isinstance(result, AsyncGeneratorType):
                await self._results.send_generated(result, None, cause)
            else:
                value = await self._limit.within(result)
                values = value if is_spread and isinstance(value, list) else [value]
                await self._results.send_all(values, None, cause)
            return
        call = Call(self._engine.tensors, function, *args)
        await self._limit.in_thread(thread, call)
        if (failed := call.fault()) is not None:
            try:
                raise failed
            finally:
                del failed  # its traceback has this frame
        values = list(call.values[0]) if is_spread and call.is_list else call.values
        error = await self._results.send_rest(values, call.rest, None, cause, thread)
        if error is not None:
            raise error

    # -- what came of it ----------------------------------------------------------------------------------------

    async def _finish(
        self,
        work: Any,
        message: Message,
        error: BaseException | None,
        done: list[Any],
        thread: HandlerThread,
        *,
        may_retry: bool = True,
    ) -> None:
        """After a first try: try again where settings say so; then `complete`, or the error is kept."""
        tries = 1
        if error is not None and may_retry:
            for wait_s in retry_waits(self._retry):
                if isinstance(error, (GiveUp, BreakerOpen)):
                    break
                self._engine.counts["retried"] += 1
                await self._wait_to_retry(wait_s)
                tries += 1
                error = await self._try_again(work, message, thread)
                if error is None:
                    break
        if error is None:
            if self._breaker.is_open:
                self._breaker.succeeded()
            if self._engine.emitter.is_wired("complete"):
                await self._say_complete(message, work)
        else:
            if not isinstance(error, BreakerOpen):
                self._breaker.failed(self._engine.now_s(), str(error))
            await self._engine.failures.fail(error, message, tries)
        done.append(work)

    async def _wait_to_retry(self, seconds: float) -> None:
        clock = self._engine.clock
        with contextlib.suppress(TimeoutError), clock.standing():
            async with clock.timeout(seconds):
                await self.stopping.wait()
        if self.stopping.is_set():
            raise Stopping

    async def _try_again(self, work: Any, message: Message, thread: HandlerThread) -> BaseException | None:
        if self.takes_batches:
            return await self._try_batch([(work, message)], thread)
        if self.is_async:
            return await self._try_async(work, message)
        run = self._run([work], lambda _: (message, None))
        await self._limit.in_thread(thread, run)
        if run.error is not None:
            return run.fault()
        if run.more is not None:
            return await self._results.send_rest(*run.more, message, work, thread)
        _, _, result = run.finished[0]
        values = result if type(result) is list else [result]
        return await self._results.send_rest(values, None, message, work, thread)

    async def _say_complete(self, message: Message, work: Any) -> None:
        try:
            await self._engine.emitter.emit([("complete", message.derive())], work)
        except (TypeError, ValueError) as e:  # the handler made of it what cannot be sent
            self._engine.failures.report(e, None)


def _is_async(function: Callable[..., Any] | None) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _ends_the_task(error: BaseException) -> bool:
    """True when it is not the handler's: the task it runs in is cancelled, or ends."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, (GeneratorExit, KeyboardInterrupt))
