"""One pool of this process: slots of one size that it alone writes, and gives to others to read."""

import secrets
from collections import deque

from flowcore.buffers.errors import BufferExpired
from flowcore.buffers.lease import Lease, Slots
from flowcore.buffers.ledger import Ledger
from flowcore.buffers.memory import memory_on


class Pool(Slots):
    """A pool of this process.

    Invariant: a slot is in `_free` exactly when no lease of this process refers to it.
    """

    def __init__(self, slots: int, slot_bytes: int, device: str = "cpu") -> None:
        kind = memory_on(device)
        ledger = Ledger.create(secrets.randbits(64) | 1, slots, slot_bytes, device)
        try:
            memory = kind.create(ledger)
        except BaseException:
            ledger.close()
            raise
        super().__init__(ledger, memory)
        self.slots, self.slot_bytes, self.device = slots, slot_bytes, device
        self.bytes = slots * slot_bytes
        self.taken = 0  # slots given out so far
        self._free = deque(range(slots))  # oldest first: the likeliest that readers are done with

    def take(self) -> Lease | None:
        """A slot to write, None when none is free; `seal` it before others may read it."""
        self._settle()
        ledger = self.ledger
        try:
            with self._lock:
                for _ in range(len(self._free) if self.is_open else 0):
                    slot = self._free.popleft()
                    if ledger.lock_write(slot):
                        self.taken += 1
                        generation = ledger.generations[slot] | 1
                        if generation == ledger.generations[slot]:
                            generation += 2  # written before and never sealed
                        ledger.generations[slot] = generation
                        return self._count(slot, generation + 1)
                    self._free.append(slot)
                return None
        finally:
            self._settle()

    def seal(self, lease: Lease) -> None:
        """From now on it is read and no more written."""
        if not self.is_sealed(lease):
            self.memory.sealed(lease.slot)
            self.ledger.generations[lease.slot] = lease.generation
            self.ledger.unlock(lease.slot)

    def is_sealed(self, lease: Lease) -> bool:
        """Whether a slot of this pool may be read."""
        return self.ledger.generations[lease.slot] == lease.generation

    def lease(self, slot: int, generation: int, nbytes: int) -> Lease:
        """Refer to a sealed slot again: a handle of ours has come back, or its bytes are asked for.

        Raises:
            BufferExpired: it has been written since.
        """
        self._settle()
        try:
            with self._lock:
                if (
                    slot >= self.slots
                    or nbytes > self.slot_bytes
                    or generation & 1
                    or not self.is_open
                    or self.ledger.generations[slot] != generation
                ):
                    raise BufferExpired(f"slot {slot} of pool {self.id:016x} was written again")
                if slot not in self._counts:
                    self._free.remove(slot)
                return self._count(slot, generation)
        finally:
            self._settle()

    @property
    def free(self) -> int:
        """Slots that nothing here refers to; readers may hold some."""
        return len(self._free)

    def held_by_readers(self) -> int:
        """Slots that nothing here refers to and other processes hold."""
        with self._lock:
            held = sum(self.ledger.is_held(slot) for slot in self._free) if self.is_open else 0
        self._settle()
        return held

    def tell_scarce(self, is_scarce: bool) -> None:
        """Tell readers whether slots are short."""
        with self._lock:
            if self.is_open and self.ledger.is_scarce != is_scarce:
                self.ledger.set_scarce(is_scarce)
        self._settle()

    def close_if_idle(self) -> bool:
        """Give the memory back when nobody, here or elsewhere, holds a slot; False when somebody does."""
        self._settle()
        with self._lock:
            if not self.is_open or self._counts or not self.ledger.lock_write(0, self.slots):
                return False
            self.ledger.set_closed()
            self._close()
            return True

    def _freed(self, slot: int) -> None:
        self._free.append(slot)
