"""What waits in a node's queue: messages of wires (`flowcore.wires.in_wire.Item`), messages from outside, timers."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from flowcore.wires.receipt import Cause


class Foreign(Cause):
    """A message that an outsider put in: no epoch, no seq, never resent."""

    __slots__ = ("envelope", "is_done", "on_finished", "wire")

    is_latest = False
    epoch = seq = 0

    def __init__(self, wire: Any, envelope: dict, on_finished: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.wire = wire
        self.envelope = envelope
        self.on_finished = on_finished
        self.is_done = False

    def finished(self) -> None:
        if self.is_done:
            return
        self.is_done = True
        self.wire.queued -= 1
        if self.on_finished is not None:
            self.on_finished()


class ForeignInput:
    """An input port as outsiders reach it; has what the engine reads of a wire."""

    delivery = "outside"

    def __init__(self, in_port: str, check: Callable[[Any], Any] | None) -> None:
        self.in_port = in_port
        self.id_prefix = ""
        self.check = check
        self.page_hash = 0
        self.queued = 0
        self.is_checked = True


class Timer:
    """A call that is due later, as `Node.after` and `Node.every` return it."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple,
        every_s: float | None,
        call_later: Callable[[float, Callable[[], None]], Any],
        on_loop: Callable[..., None],
        on_due: Callable[["Timer"], None],
    ) -> None:
        self.function, self.args, self.every_s = function, args, every_s
        self.is_cancelled = False
        self._call_later, self._on_loop, self._on_due = call_later, on_loop, on_due
        self._handle: Any = None

    def schedule(self, seconds: float) -> None:
        """Be due after `seconds`; on the event loop."""
        if not self.is_cancelled:
            self._handle = self._call_later(max(0.0, seconds), self._due)

    def _due(self) -> None:
        if not self.is_cancelled:
            self._on_due(self)

    def cancel(self) -> None:
        """Do not call (again); harmless when it has been called, and callable from any thread."""
        self.is_cancelled = True
        self._on_loop(self._forget)  # a handle of the loop is no other thread's to cancel

    def _forget(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class HandlerThread:
    """A thread of its own for sync handlers, so that a slow one stops no heartbeat, ack or statistic."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._loop = loop
        self._calls: SimpleQueue = SimpleQueue()
        self._open = 0  # calls that have not come back
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def ident(self) -> int:
        """What `PyThreadState_SetAsyncExc` takes."""
        return self._thread.ident or 0

    def call(self, function: Callable[..., Any], *args: Any) -> asyncio.Future:
        """Run `function(*args)` in the thread."""
        future = self._loop.create_future()
        self._open += 1
        self._calls.put((future, function, args))
        return future

    @property
    def is_busy(self) -> bool:
        """True while a call has not come back, whether anybody still waits for it or not."""
        return self._open > 0

    def close(self) -> None:
        """End the thread after what it was given."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function, args = call
            try:
                result, error = function(*args), None
            except BaseException as e:
                result, error = None, e
            try:
                self._loop.call_soon_threadsafe(self._settle, future, result, error)
            except RuntimeError:
                return  # the loop is closed
            del call, future, function, args, result, error

    def _settle(self, future: asyncio.Future, result: Any, error: BaseException | None) -> None:
        self._open -= 1
        if future.done():
            return
        if isinstance(error, (StopIteration, SystemExit)):  # a future can't hold the one; the other ends the process
            error = RuntimeError(f"{type(error).__name__}: {error}")
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
