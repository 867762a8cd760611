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
    from flowcore.node.engine import Around, Engine
    from flowcore.node.tensors import Tensors

LONGEST_RUN_S = 0.002  # what is behind it must not wait for a slow handler's whole batch
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
        self, handler: Any, works: Sequence[tuple[Any, Message]], engine: "Engine", *, is_single: bool, is_timed: bool
    ) -> None:
        super().__init__(works[0][1])
        self.finished: list[tuple[Any, Message, Any]] = []  # a generator's values as a list, a list in one
        self.more: tuple[list, Iterator] | None = None  # what a generator gave, and the rest of it
        self._handler, self._works, self._engine = handler, works, engine
        self._is_single, self._is_timed = is_single, is_timed
        self._slot: int | None = None

    def __call__(self) -> None:
        around = self._engine.around
        self._slot = around.enter(self._works[0][0])
        try:
            self._handle_all(around)
        finally:
            around.leave(self._slot, max(1, len(self.finished)))

    def _handle_all(self, around: "Around") -> None:
        state, finished, clock = self._engine.state, self.finished, time.perf_counter
        tensors = self._engine.tensors
        allocs = tensors.allocs
        handle = self._watched if self._is_timed else self._handle
        until_s = clock() + LONGEST_RUN_S
        for work, message in self._works:
            if finished:
                if self._is_single or clock() > until_s or tensors.allocs != allocs:
                    break
                self._slot = around.move(self._slot, work)
            self.message = message
            state.begin()
            try:
                result = handle(message)
            except BaseException as e:  # CancelledError and SystemExit too: it is this message that failed
                state.rollback()
                self.error = e
                return
            if self.more is not None:
                return
            finished.append((work, message, result))

    def _watched(self, message: Message) -> Any:
        return self.guard(self._handle, message)

    def _handle(self, message: Message) -> Any:
        result = self._handler(message)
        if type(result) is GeneratorType:
            values, rest = some(result, self._engine.tensors)
            if rest is not None:
                self.more = values, rest
            return values
        return [result] if type(result) is list else result  # a list is a value


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
