"""Simulated time and simulated processes inside one event loop.

The loop's clock jumps to the next timer, so an hour passes in as long as its callbacks take, in the same order each
time. Everything that is scheduled from within a process belongs to it, and when it is killed none of it runs any more:
no `finally`, no last frame, as with `kill -9`.
"""

import asyncio
import contextlib
import contextvars
import selectors
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

from flowcore.node import commit, emit, engine, handling, runs, source, tensors, time_limit, turns
from flowcore.runtime import runner, stats, store, telling, wires_in, wires_out, wiring
from flowcore.wires import out_port

running: contextvars.ContextVar[Any] = contextvars.ContextVar("running", default=None)
"""The process that runs now; it has `is_alive`. None: the world around the processes."""

_EPOCH_NS = 1_700_000_000_000_000_000
HANDLER_S = (0.0001, 0.003)


class _Selector(selectors.SelectSelector):
    """Never waits: moves the loop's clock instead."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list:
        if timeout is None or timeout > 0:
            self.loop.jump()
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is simulated."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.now_s = 1000.0
        self.is_over = False  # the world has ended: dead processes may unwind
        super().__init__(selector)
        self.errors: list[dict] = []
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def time(self) -> float:
        return self.now_s

    def jump(self) -> None:
        """Go to the next timer."""
        if not self._scheduled:  # type: ignore[attr-defined]
            raise RuntimeError("the simulation stands still: nothing is scheduled")
        self.now_s = max(self.now_s, self._scheduled[0]._when)  # type: ignore[attr-defined]

    def call_soon(self, callback: Callable, *args: Any, context: Any = None) -> Any:
        return super().call_soon(*self._guarded(callback, args, context), context=context)

    def call_at(self, when: float, callback: Callable, *args: Any, context: Any = None) -> Any:
        return super().call_at(when, *self._guarded(callback, args, context), context=context)

    def call_soon_threadsafe(self, callback: Callable, *args: Any, context: Any = None) -> Any:
        return self.call_soon(callback, *args, context=context)

    def _guarded(self, callback: Callable, args: tuple, context: Any) -> tuple:
        process = running.get() if context is None else context.get(running)
        return (callback, *args) if process is None else (self._if_alive, process, callback, args)

    def _if_alive(self, process: Any, callback: Callable, args: tuple) -> None:
        if process.is_alive or self.is_over:
            callback(*args)


class InlineThread:
    """A handler thread on simulated time: the handler runs at one instant, its result comes back a little later.

    In between, as with a real thread, the loop goes on.
    """

    ident = 0

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self._loop = loop
        self._free_at_s = 0.0
        self._open = 0

    @property
    def is_busy(self) -> bool:
        """A call has not come back."""
        return self._open > 0

    def call(self, function: Callable[..., Any], *args: Any) -> asyncio.Future:
        """Run it soon."""
        future = self._loop.create_future()
        self._open += 1
        rng = running.get().world.rng
        begin_s = max(self._free_at_s, self._loop.time()) + rng.choice((0.0, rng.uniform(*HANDLER_S) / 2))
        self._free_at_s = end_s = begin_s + rng.uniform(*HANDLER_S) / 2

        def run() -> None:
            try:
                result, error = function(*args), None
            except Exception as e:
                result, error = None, e
            self._loop.call_at(end_s, settle, result, error)

        def settle(result: Any, error: Exception | None) -> None:
            self._open -= 1
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        if begin_s == self._loop.time():
            run()  # the thread is faster than the loop's next step
        else:
            self._loop.call_at(begin_s, run)
        return future

    def close(self) -> None:
        """Nothing to end."""


def _now_s() -> float:
    return asyncio.get_running_loop().time()


_clock = SimpleNamespace(
    monotonic=_now_s,
    perf_counter=_now_s,
    monotonic_ns=lambda: int(_now_s() * 1e9),
    time=lambda: _EPOCH_NS / 1e9 + _now_s(),
    time_ns=lambda: _EPOCH_NS + int(_now_s() * 1e9),
    process_time=time.process_time,
    sleep=None,
)


@contextlib.contextmanager
def simulated(connection: type) -> Iterator[None]:
    """The engine on simulated clock, threads and bus; nothing else of it is changed."""
    with contextlib.ExitStack() as stack:
        of_node = (commit, emit, engine, handling, runs, source, tensors, time_limit, turns)
        for module in (*of_node, runner, stats, telling, wires_in, wires_out, wiring, out_port):
            if hasattr(module, "time"):
                stack.enter_context(mock.patch.object(module, "time", _clock))
        for module in (engine, turns):
            stack.enter_context(mock.patch.object(module, "HandlerThread", InlineThread))
        stack.enter_context(mock.patch.object(runner, "Connection", connection))
        even = SimpleNamespace(uniform=lambda low, high: running.get().world.rng.uniform(low, high))
        stack.enter_context(mock.patch.object(store, "random", even))
        yield
