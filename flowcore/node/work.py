"""What waits in a node's queue: messages of wires (`flowcore.wires.in_wire.Item`), messages from outside, timers."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from flowcore.wires.receipt import Cause


class Foreign(Cause):
    """A message that an outsider put in: no epoch, no seq, never resent."""

    __slots__ = ("envelope", "on_finished", "wire")

    is_latest = False

    def __init__(self, wire: Any, envelope: dict, on_finished: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.wire = wire
        self.envelope = envelope
        self.on_finished = on_finished

    def finished(self) -> None:
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

    def __init__(self, function: Callable[..., Any], args: tuple, every_s: float | None) -> None:
        self.function, self.args, self.every_s = function, args, every_s
        self.is_cancelled = False
        self.handle: Any = None

    def cancel(self) -> None:
        """Do not call (again); harmless when it has been called."""
        self.is_cancelled = True
        if self.handle is not None:
            self.handle.cancel()


class HandlerThread:
    """A thread of its own for sync handlers, so that a slow one stops no heartbeat, ack or statistic."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._loop = loop
        self._calls: SimpleQueue = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def ident(self) -> int:
        """What `PyThreadState_SetAsyncExc` takes."""
        return self._thread.ident or 0

    def call(self, function: Callable[..., Any], *args: Any) -> asyncio.Future:
        """Run `function(*args)` in the thread."""
        future = self._loop.create_future()
        self._calls.put((future, function, args))
        return future

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
                self._loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:
                return  # the loop is closed
            del call, future, function, args, result, error


def _settle(future: asyncio.Future, result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if isinstance(error, StopIteration):  # a future can't hold one
        error = RuntimeError(f"handler raised StopIteration: {error}")
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
