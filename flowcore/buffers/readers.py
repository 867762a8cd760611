"""Pools of other processes, opened whole at the first handle to one of their slots, and closed when they are done."""

import threading

from flowcore.buffers import files
from flowcore.buffers.errors import BufferExpired
from flowcore.buffers.handle import Handle
from flowcore.buffers.lease import Lease, Slots
from flowcore.buffers.ledger import Ledger
from flowcore.buffers.memory import memory_on
from flowcore.buffers.place import Place, start_of
from flowcore.buffers.sweep import sweep

_LOOK_S = 5.0  # between two looks whether owners are alive


class OpenPool(Slots):
    """Another process's pool."""

    def __init__(self, handle: Handle, place: Place) -> None:
        ledger = Ledger.open(handle.pool, place)
        try:
            if ledger.device != handle.device:
                raise FileNotFoundError(f"pool {handle.pool:016x} lies on {ledger.device}, not on {handle.device}")
            memory = memory_on(ledger.device).open(ledger)
        except BaseException:
            ledger.close()
            raise
        super().__init__(ledger, memory)
        self.owner, self.via = handle.owner, ledger.place
        self._taken = None if ledger.device == "cpu" else memory.taken

    def lease(self, slot: int, generation: int, nbytes: int) -> Lease:
        """Hold a slot.

        Raises:
            BufferExpired: it was written again.
        """
        # Written out: of 60 frames a second each finds cold caches, where a call costs some microseconds.
        if self._gone:
            self._settle()
        ledger, counts = self.ledger, self._counts
        try:
            with self._lock:
                if self.is_open and slot < ledger.slots and nbytes <= ledger.slot_bytes:
                    uses = counts.get(slot, 0)
                    if uses or ledger.lock_read(slot):
                        if ledger.generations[slot] == generation and not generation & 1:
                            if not uses and self._taken is not None:
                                self._taken(slot)
                            counts[slot] = uses + 1
                            return Lease(self, slot, generation)
                        if not uses:
                            ledger.unlock(slot)
                raise BufferExpired(f"slot {slot} of pool {self.id:016x} was written again")
        finally:
            if self._gone:
                self._settle()

    def close_if_unused(self) -> bool:
        """Unmap unless something here refers to a slot."""
        self._settle()
        with self._lock:
            if self._counts or not self.is_open:
                return False
            self._close()
            return True

    def _freed(self, slot: int) -> None:
        self.ledger.unlock(slot)


class Readers:
    """The pools of others that this process has open. Thread-safe."""

    def __init__(self) -> None:
        self._pools: dict[int, OpenPool] = {}
        self._lock = threading.Lock()
        self._looked_s = 0.0

    def lease(self, handle: Handle) -> Lease:
        """Hold the slot of a handle of this host.

        Raises:
            BufferExpired: it was written again, or who has it is gone.
            OSError: it is there, and cannot be opened from here.
        """
        pool = self._pools.get(handle.pool) or self._open(handle)
        try:
            return pool.lease(handle.slot, handle.generation, handle.nbytes)
        except BufferExpired:
            if pool.is_open:
                raise
            # Closed by `trim` in another thread meanwhile.
            return self._open(handle).lease(handle.slot, handle.generation, handle.nbytes)

    def _open(self, handle: Handle) -> OpenPool:
        with self._lock:
            pool = self._pools.get(handle.pool)
            if pool is not None and pool.is_open:
                return pool
            # Whoever sent the handle has the slot for as long as its message is not acked.
            gone, refused = "", None
            for place in (handle.via, handle.owner):
                try:
                    if place is not None:
                        self._pools[handle.pool] = opened = OpenPool(handle, place)
                        return opened
                except (FileNotFoundError, ProcessLookupError) as e:
                    gone = str(e)
                except OSError as e:
                    refused = e
            if refused is not None:
                raise refused
            raise BufferExpired(f"pool {handle.pool:016x} of process {handle.owner.pid} is gone: {gone}")

    def trim(self, now_s: float) -> None:
        """Close what its owner closed, and what belonged to a process that has ended; called each second.

        Args:
            now_s: monotonic seconds.
        """
        is_time_to_look = now_s - self._looked_s >= _LOOK_S
        if is_time_to_look:
            self._looked_s = now_s
        closed = 0
        with self._lock:
            for pool in list(self._pools.values()):
                is_over = pool.ledger.is_closed or (is_time_to_look and start_of(pool.owner.pid) != pool.owner.start)
                if is_over and pool.close_if_unused():
                    del self._pools[pool.id]
                    closed += 1
        if closed and files.are_named():
            sweep()

    def close(self) -> None:
        """Close all that nothing refers to."""
        with self._lock:
            for pool in list(self._pools.values()):
                if pool.close_if_unused():
                    del self._pools[pool.id]

    def find(self, pool: int) -> OpenPool | None:
        """An open pool by its id."""
        return self._pools.get(pool)
