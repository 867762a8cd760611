"""Calls of sync handlers in their thread: runs over messages, pieces of generators, and the time each may take.

Past its time a call gets `HandlerTimeout` raised in its thread. That can hit any line of Python, so it is raised only
while the thread is inside `Watched.guard`: raised late, it would hit the next message or end the thread itself.

Invariant: nothing raises into the handler thread outside `Watched.guard`.
"""

import ctypes
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from flowcore.node.message import Message
from flowcore.node.policies import HandlerTimeout

if TYPE_CHECKING:
    from flowcore.node.around import Around
    from flowcore.node.engine import Engine
    from flowcore.node.tensors import Tensors

LONGEST_RUN_S, _LONGEST_RUN_NS = 0.002, 2_000_000  # what is behind it must not wait for a slow handler's whole batch
_PIECE, _LONGEST_PIECE_S = 64, 0.01  # of a generator: values that are sent together

_set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_exception.argtypes = (ctypes.c_ulong, ctypes.py_object)


class Watched:
    """A call that the event loop may end when it takes too long."""

    def __init__(self, message: Message | None) -> None:
        self.message = message  # that the handler has now
        self.error: BaseException | None = None
        self.started_s = 0.0  # of its handler; 0: not in it
        self.is_expired = False
        self._lock = threading.Lock()

    def fault(self) -> BaseException | None:
        """What it raised, given away: the traceback of what is kept here would keep this, and all in its frames."""
        error, self.error = self.error, None
        return error

    def guard(self, function: Callable[..., Any], *args: Any) -> Any:
        """In the handler thread: call what may be ended from outside."""
        try:
            self.started_s = time.perf_counter()
            return function(*args)
        finally:
            with self._lock:
                self.started_s = 0.0
                if self.is_expired:  # what was not raised yet is not raised any more
                    _set_exception(threading.get_ident(), ctypes.py_object())
                    self.is_expired = False

    def expire(self, thread: int, limit_s: float) -> bool:
        """On the event loop: end the handler if it is past its time. Returns True when it was told."""
        with self._lock:
            if not self.started_s or self.is_expired or time.perf_counter() - self.started_s < limit_s:
                return False
            self.is_expired = True
            _set_exception(thread, HandlerTimeout)
            return True


class Run(Watched):
    """`on_message` over the messages that wait: until one fails, a generator has more, or two milliseconds."""

    def __init__(
        self,
        handler: Any,
        works: Sequence[Any],
        arrived: Callable[[Any], tuple[Message, Exception | None]],
        engine: "Engine",
        *,
        is_single: bool,
        is_timed: bool,
    ) -> None:
        super().__init__(None)
        self.finished: list[tuple[Any, Message, Any]] = []  # a generator's values as a list, a list in one
        self.more: tuple[list, Iterator] | None = None  # what a generator gave, and the rest of it
        self.refusal: Exception | None = None  # why the handler must not see the message that comes next
        self._handler, self._works, self._arrived, self._engine = handler, works, arrived, engine
        self._is_single, self._is_timed = is_single, is_timed
        self._slot: int | None = None

    def __call__(self) -> None:
        around = self._engine.around
        self._slot = around.enter(self._works[0])
        try:
            self._handle_all(around)
        finally:
            around.leave(self._slot, max(1, len(self.finished)))

    def _handle_all(self, around: "Around") -> None:
        state, finished, clock = self._engine.state, self.finished, time.monotonic_ns
        tensors, arrived = self._engine.tensors, self._arrived
        allocs = tensors.allocs
        handle, begin, unfold = self._handler, state.begin, self._unfold
        if self._is_timed:
            handle, unfold = self._watched, _as_it_is
        wire: Any = None
        note: Callable[[int, int, int], Any] = around.noter(None)
        until_ns = clock() + _LONGEST_RUN_NS
        for work in self._works:
            now_ns = clock()
            if finished and (now_ns > until_ns or self._is_single or tensors.allocs != allocs):
                break
            message, refusal = arrived(work)
            self.message = message
            if refusal is not None:
                self.refusal = refusal
                return
            if work.wire is wire:
                note(work.epoch, work.seq, now_ns)
            else:
                if finished:  # the first has its slot
                    self._slot = around.move(self._slot, work)
                wire, note = work.wire, around.noter(self._slot)
            begin()
            try:
                result = handle(message)
                if result.__class__ in _UNFOLDED:
                    result = unfold(result)
            except BaseException as e:  # CancelledError and SystemExit too: it is this message that failed
                state.rollback()
                self.error = e
                return
            if self.more is not None:
                return
            finished.append((work, message, result))
        self.message = None

    def _watched(self, message: Message) -> Any:
        return self.guard(lambda: self._unfold(self._handler(message)))

    def _unfold(self, result: Any) -> Any:
        """What a generator gives is a list of values, and a list is one of one value."""
        if type(result) is GeneratorType:
            values, rest = some(result, self._engine.tensors)
            if rest is not None:
                self.more = values, rest
            return values
        return [result] if type(result) is list else result


_UNFOLDED = (list, GeneratorType)


def _as_it_is(result: Any) -> Any:
    return result


class Call(Watched):
    """One call of anything else (a batch, a timer, the rest of a generator), up to its first values."""

    def __init__(
        self, tensors: "Tensors", function: Callable[..., Any], *args: Any, message: Message | None = None
    ) -> None:
        super().__init__(message)
        self.values: list = []
        self.rest: Iterator | None = None
        self.is_list = False  # it returned a list: many outputs of a batch, one value of a timer
        self._tensors, self._function, self._args = tensors, function, args

    def __call__(self) -> None:
        try:
            self.guard(self._begin)
        except BaseException as e:
            self.error = e

    def _begin(self) -> None:
        result = self._function(*self._args)
        if isinstance(result, Iterator):
            self.values, self.rest = some(result, self._tensors)
        else:
            self.values, self.is_list = [result], isinstance(result, list)


def some(values: Iterator, tensors: "Tensors") -> tuple[list, Iterator | None]:
    """Up to 64 values, fewer from a slow generator, and the generator if it may have more.

    From one that makes tensors, one: it may wait for a slot next, which is free only when this one was sent.
    """
    found: list = []
    until_s, allocs = time.perf_counter() + _LONGEST_PIECE_S, tensors.allocs
    for value in values:
        found.append(value)
        if len(found) >= _PIECE or time.perf_counter() > until_s or tensors.allocs != allocs:
            return found, values
    return found, None
