"""QuickJS, the JavaScript engine, with a deadline by the clock on the wall.

The library `quickjs-ng` brings the engine, and a wrapper whose own time limit counts processor time and forbids calls
into Python. So the interrupt handler is set here, by the engine's C interface, which the same shared library exports:
the engine asks it every ten thousand steps, and in regular expressions and sorting too. What it stops cannot be caught
by the script.

Import `_quickjs`, never `quickjs`: that one starts a thread, and the zygote forks.
"""

import contextlib
import ctypes
import time
from collections.abc import Callable
from typing import Any

import _quickjs

Function = Any  # a JavaScript function, as the wrapper gives it: to be called
JSException = _quickjs.JSException

_library = ctypes.CDLL(_quickjs.__file__)
_Handler = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_set_handler = _library.JS_SetInterruptHandler
_set_handler.argtypes, _set_handler.restype = (ctypes.c_void_p, _Handler, ctypes.c_void_p), None
_runtime_of = _library.JS_GetRuntime
_runtime_of.argtypes, _runtime_of.restype = (ctypes.c_void_p,), ctypes.c_void_p


class Stopped(Exception):
    """The deadline passed; `str()` is the engine's stack where it was."""


class Context:
    """A JavaScript context that can be stopped. Made before the process is locked in.

    Attributes:
        deadline: what runs past this time (`time.monotonic`) is stopped.
    """

    def __init__(self, memory_bytes: int, stack_bytes: int) -> None:
        self.deadline = float("inf")
        self._is_stopped = False
        self._context = context = _quickjs.Context()
        context.set_memory_limit(memory_bytes)
        context.set_max_stack_size(stack_bytes)
        # The wrapper's object begins with pointers to its runtime and its context.
        first = id(context) + object.__basicsize__
        runtime, inner = (ctypes.c_void_p.from_address(first + 8 * k).value for k in (0, 1))
        if _runtime_of(inner) != runtime:
            raise RuntimeError("this version of quickjs-ng lays out its context differently")
        self._handler = _Handler(self._ask)  # kept: the engine has only its address
        _set_handler(runtime, self._handler, None)
        self._memory_bytes = memory_bytes
        self.collect: Callable[[], None] = context.gc

    def _ask(self, runtime: int, opaque: int) -> int:
        if time.monotonic() < self.deadline:
            return 0
        self._is_stopped = True
        return 1

    def is_full(self) -> bool:
        """True where hardly any of its memory is left."""
        return self._context.memory()["malloc_size"] > 0.95 * self._memory_bytes

    def add(self, name: str, function: Callable) -> Function:
        """A Python function as a JavaScript one, which no name leads to. It must not raise."""
        self._context.add_callable(name, function)
        made = self._context.get(name)
        self._context.eval(f"delete globalThis.{name}")
        return made

    def evaluate(self, source: str) -> Any:
        """The value of a program, in sloppy mode.

        Raises:
            Stopped: it ran past the deadline.
            JSException: it does not compile, or threw.
        """
        return self.run(self._context.eval, source)

    def run(self, function: Callable, *arguments: Any) -> Any:
        """Call a JavaScript function. Raises as `evaluate`."""
        self._is_stopped = False
        try:
            return function(*arguments)
        except JSException as e:
            if self._is_stopped:
                raise Stopped(str(e)) from None
            raise

    def run_jobs(self) -> None:
        """Run what promises have made due. Raises as `evaluate`."""
        self._is_stopped = False
        while True:
            try:
                if not self._context.execute_pending_job():
                    return
            except JSException as e:
                if self._is_stopped:
                    raise Stopped(str(e)) from None
            if time.monotonic() > self.deadline:
                raise Stopped("")

    def drop_jobs(self) -> bool:
        """Run what promises have made due until the deadline; False: there is still more."""
        while time.monotonic() < self.deadline:
            with contextlib.suppress(JSException):
                if not self._context.execute_pending_job():
                    return True
        return False
