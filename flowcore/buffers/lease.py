"""What in this process refers to a slot: leases, counted for each slot of a pool.

A lease is let go by the last reference to it, in whatever thread that happens, also in the middle of a garbage
collection that interrupted the very code below. So letting go never waits for the lock: it writes down what is gone,
and whoever has the lock, or gets it, counts it.
"""

import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from flowcore.buffers.ledger import Ledger
from flowcore.buffers.place import Place

if TYPE_CHECKING:
    from flowcore.buffers.memory import Memory


class Lease:
    """A slot that somebody in this process uses: it is not written while this object lives.

    `is_kept` is set by `Tensor.keep`, `nbytes` when it is sent: what is beyond was left there before.
    """

    __slots__ = ("__weakref__", "generation", "is_kept", "nbytes", "pool", "slot")

    def __init__(self, pool: "Slots", slot: int, generation: int) -> None:
        self.pool = pool
        self.slot = slot
        self.generation = generation  # once sealed
        self.is_kept = False
        self.nbytes = 0

    def __del__(self) -> None:
        self.pool.let_go(self.slot)

    def __reduce__(self) -> Any:
        raise TypeError("a lease is of this process alone")

    @property
    def address(self) -> int:
        """Where the bytes begin, a pointer on the pool's device."""
        return self.pool.memory.address(self.slot)

    def copy_out(self, nbytes: int) -> memoryview:
        """The first bytes in host memory: read-only, used only while this lease is alive."""
        return self.pool.memory.copy_out(self.slot, nbytes)


class Slots:
    """A pool as one process has it open: the counts, and the lock around them.

    Attributes:
        via: how others reach it through this process; None where this process is its owner, whose place they know.
    """

    via: Place | None = None

    def __init__(self, ledger: Ledger, memory: "Memory") -> None:
        self.ledger = ledger
        self.memory = memory
        self.id = ledger.pool
        self.is_open = True
        self._counts: dict[int, int] = {}  # slots with leases
        self._gone: deque[int] = deque()
        self._lock = threading.Lock()
        self._pid = os.getpid()

    @property
    def used(self) -> int:
        """Slots that something in this process refers to."""
        self._settle()
        return len(self._counts)

    def let_go(self, slot: int) -> None:
        """A lease is gone."""
        if os.getpid() != self._pid:
            return  # a fork's copy; the lock is its parent's, which may still read
        self._gone.append(slot)
        self._settle()

    def _settle(self) -> None:
        # Again after giving the lock back: who failed to get it meanwhile has left its slot here.
        while self._gone and self._lock.acquire(blocking=False):
            try:
                while self._gone:
                    self._uncount(self._gone.popleft())
            finally:
                self._lock.release()

    def _count(self, slot: int, generation: int) -> Lease:
        self._counts[slot] = self._counts.get(slot, 0) + 1
        return Lease(self, slot, generation)

    def _uncount(self, slot: int) -> None:
        left = self._counts[slot] - 1
        if left:
            self._counts[slot] = left
        elif self.memory.finished(slot, self.let_go):
            del self._counts[slot]
            self._freed(slot)
        # Else the device still works on it; it counts as one lease, and lets go.

    def _freed(self, slot: int) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        self.is_open = False
        self.memory.close()
        self.ledger.close()
