"""Which of the entries that a node holds is due next, and the one timer for it."""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Any

from flowcore.node import Node

EARLY_S = 0.002  # a timer may fire so long before its time


class Due:
    """Names, each with the time when it is due; `when_due` is run as a handler when the first is."""

    def __init__(self, node: Node, when_due: Callable[[], Any]) -> None:
        self._node, self._when_due = node, when_due
        self._times: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._timer: Any = None
        self._timer_s = 0.0

    def begin(self, times: dict[str, float]) -> None:
        """Forget all, and begin with these."""
        self._times = dict(times)
        self._heap = [(due_s, name) for name, due_s in times.items()]
        heapify(self._heap)
        self.arm()

    def __len__(self) -> int:
        return len(self._times)

    def __iter__(self) -> Iterator[str]:
        return iter(self._times)

    def add(self, name: str, due_s: float) -> None:
        """One more, or another time for one that is there; `arm` is to be called afterwards."""
        self._times[name] = due_s
        heappush(self._heap, (due_s, name))

    def discard(self, name: str) -> None:
        """This one is not waited for any more."""
        self._times.pop(name, None)

    def in_order(self) -> list[str]:
        """All, the next one first."""
        return sorted(self._times, key=lambda name: (self._times[name], name))

    def take(self) -> list[str]:
        """Those that are due by now, in order; they are forgotten."""
        now_s, due = self._node.now_s() + EARLY_S, []
        while (due_s := self._first_s()) is not None and due_s <= now_s:
            _, name = heappop(self._heap)
            del self._times[name]
            due.append(name)
        return due

    def arm(self) -> None:
        """See to it that a timer runs for the first."""
        due_s = self._first_s()
        if self._timer is not None and (due_s is None or due_s < self._timer_s):
            self._timer.cancel()
            self._timer = None
        if due_s is not None and self._timer is None:
            self._timer_s = due_s
            self._timer = self._node.after(max(0.0, due_s - self._node.now_s()), self._fire)

    def _first_s(self) -> float | None:
        heap, times = self._heap, self._times
        while heap and times.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None

    async def _fire(self):
        self._timer = None
        async for made in self._when_due():
            yield made
        self.arm()
