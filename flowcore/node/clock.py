"""A node's clock: the real time, or one that stands still until it is moved by hand.

Clock            the real time
└── MovedClock     of one node under `drive`: what it waits for by `after` and `every`
    └── FlowClock    of each node in a flow test: also what the engine waits for on its behalf
"""

import asyncio
import contextlib
import heapq
import itertools
import mmap
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_TIME = struct.Struct("=d")
START_S = 1_750_000_000.0  # where a clock that stands still begins, in June 2025


class Clock:
    """The real time."""

    waiting = 0  # handlers that go on only when the clock is moved; nobody counts them in real time

    def now_s(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        return time.time_ns()

    def call_later(self, seconds: float, function: Callable[[], None]) -> Any:
        """Call once; the handle has `cancel()`."""
        return asyncio.get_running_loop().call_later(seconds, function)

    def timeout(self, seconds: float | None) -> Any:
        """As `asyncio.timeout`, by this clock."""
        return asyncio.timeout(seconds)

    def within(self, seconds: float | None) -> Any:
        """As `timeout`, of a handler that only waits for others inside: it is at rest meanwhile."""
        return self.timeout(seconds)

    @contextlib.contextmanager
    def standing(self) -> Iterator[None]:
        """Inside, the handler only waits for this clock."""
        yield


class MovedClock(Clock):
    """A clock that is moved by hand; retries, time-outs and deadlines go by the real time all the same."""

    def __init__(self, now_s: float = START_S) -> None:
        self.fired = 0  # calls that fell due, since it began
        self._now_s = now_s
        self._due: list[tuple[float, int, _Handle]] = []
        self._numbers = itertools.count()

    def now_s(self) -> float:
        return self._now_s

    def call_later(self, seconds: float, function: Callable[[], None]) -> "_Handle":
        handle = _Handle(function)
        heapq.heappush(self._due, (self._now_s + seconds, next(self._numbers), handle))
        return handle

    def next_due_s(self) -> float | None:
        """When the next call is due, None when none is."""
        while self._due and self._due[0][2].is_cancelled:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def pop_due(self, until_s: float) -> "_Handle | None":
        """The next call at or before `until_s`; the clock then stands at its time, or else at `until_s`."""
        due_s = self.next_due_s()
        if due_s is not None and due_s <= until_s:
            self._now_s = max(self._now_s, due_s)
            self.fired += 1
            return heapq.heappop(self._due)[2]
        self._now_s = max(self._now_s, until_s)
        return None


class SharedTime:
    """A time that one process moves and others read: eight bytes of a file that all map."""

    def __init__(self, path: str) -> None:
        with Path(path).open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _TIME.size)

    @classmethod
    def create(cls, path: str, now_s: float) -> "SharedTime":
        """Make the file."""
        Path(path).write_bytes(_TIME.pack(now_s))
        return cls(path)

    @property
    def now_s(self) -> float:
        """Seconds since 1970."""
        return float(_TIME.unpack_from(self._memory)[0])

    @now_s.setter
    def now_s(self, value: float) -> None:
        _TIME.pack_into(self._memory, 0, value)


class FlowClock(MovedClock):
    """A clock that is moved by hand, by which everything goes: time stamps, retries, time-outs, deadlines.

    Attributes:
        waiting: handlers that go on only when this clock is moved.
    """

    def __init__(self, path: str) -> None:
        """Go by the time that a `SharedTime` has in this file: so it is the same for all nodes at once."""
        super().__init__()
        self.waiting = 0
        self._shared = SharedTime(path)

    def now_s(self) -> float:
        return self._shared.now_s

    def now_ns(self) -> int:
        return int(self._shared.now_s * 1e9)

    def call_later(self, seconds: float, function: Callable[[], None]) -> "_Handle":
        self._now_s = self._shared.now_s
        return super().call_later(seconds, function)

    def fire(self) -> None:
        """Call what is due by now; what those calls ask for is not called, however soon."""
        due: list[_Handle] = []
        while (handle := self.pop_due(self._shared.now_s)) is not None:
            due.append(handle)
        for handle in due:
            if not handle.is_cancelled:
                handle.function()

    def timeout(self, seconds: float | None) -> "_Limit":
        return _Limit(self, seconds)

    def within(self, seconds: float | None) -> "_Limit":
        return _Limit(self, seconds, stands=True)

    @contextlib.contextmanager
    def standing(self) -> Iterator[None]:
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1


class _Handle:
    def __init__(self, function: Callable[[], None]) -> None:
        self.function, self.is_cancelled = function, False

    def cancel(self) -> None:
        self.is_cancelled = True


class _Limit:
    """What `asyncio.timeout` gives, by a clock that is moved."""

    def __init__(self, clock: FlowClock, seconds: float | None, stands: bool = False) -> None:
        self._clock, self._seconds, self._stands = clock, seconds, stands
        self._limit = asyncio.timeout(None)
        self._handle: _Handle | None = None

    def expired(self) -> bool:
        """True when the time ran out."""
        return self._limit.expired()

    async def __aenter__(self) -> "_Limit":
        await self._limit.__aenter__()
        self._clock.waiting += self._stands
        if self._seconds is not None:
            loop = asyncio.get_running_loop()
            self._handle = self._clock.call_later(self._seconds, lambda: self._limit.reschedule(loop.time()))
        return self

    async def __aexit__(self, *error: Any) -> None:
        self._clock.waiting -= self._stands
        if self._handle is not None:
            self._handle.cancel()
        await self._limit.__aexit__(*error)
