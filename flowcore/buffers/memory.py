"""Where the bytes of slots are: the one interface that host memory and device memory share.

Everything above it (pools, leases, locks, generations, handles, limits) is the same for every device; the ledger of a
pool is always a file in host memory.
"""

import mmap
from collections.abc import Callable
from typing import Any, Protocol

from flowcore.buffers.ledger import Ledger


class NoDevice(OSError, ValueError):
    """A device that this process cannot use."""


class Memory(Protocol):
    """The data of one pool, on one device.

    A kind of memory is a class with the two constructors below. The owner's has `create`, a reader's `open`; both keep
    the ledger. `address` is all that arrays are made of (`__array_interface__`, `__cuda_array_interface__`, DLPack).
    Slots are numbers that the pool has checked. `granule` is what a pool should at least have, in bytes. The calls
    below are made:

        owner    create, then for each use of a slot: address / copy_in, sealed, finished; close
        reader   open, then for each use of a slot: taken, address / copy_out, finished; close
    """

    granule: int

    @classmethod
    def create(cls, ledger: Ledger) -> "Memory":
        """Memory for a new pool; writes into `ledger.device_handle()` what `open` needs elsewhere.

        Raises:
            OSError: there is not enough.
        """

    @classmethod
    def open(cls, ledger: Ledger) -> "Memory":
        """The memory of another process's pool.

        Raises:
            OSError: it cannot be opened here.
        """

    def address(self, slot: int) -> int:
        """Where a slot begins, as a pointer that this process (and its device) can use."""

    def copy_in(self, slot: int, data: Any) -> None:
        """Fill a slot from C-contiguous host memory (anything with the buffer protocol), done when it returns."""

    def copy_out(self, slot: int, nbytes: int) -> memoryview:
        """The first bytes of a slot in host memory: a read-only view where it lies there, a copy elsewhere."""

    def sealed(self, slot: int) -> None:
        """The owner has written the slot: record what readers must wait for. Called before the generation says so."""

    def taken(self, slot: int) -> None:
        """A reader has locked the slot and checked its generation: order its work after the owner's."""

    def finished(self, slot: int, let_go: Callable[[int], None]) -> bool:
        """Nothing in this process refers to the slot. False while the device is not through with it: then
        `let_go(slot)` is called once it is, in another thread. Never waits."""

    def close(self) -> None:
        """Give it back; nothing refers to any slot."""


class HostMemory:
    """The data lies in the ledger's own file."""

    granule = 1

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._base = 0

    @classmethod
    def create(cls, ledger: Ledger) -> "HostMemory":
        """See `Memory`."""
        return cls(ledger)

    @classmethod
    def open(cls, ledger: Ledger) -> "HostMemory":
        """See `Memory`."""
        return cls(ledger)

    def address(self, slot: int) -> int:
        """See `Memory`."""
        if not self._base:
            self._base = _address_of(self._ledger.map)
        return self._base + self._offset(slot)

    def copy_in(self, slot: int, data: Any) -> None:
        """See `Memory`."""
        source = memoryview(data).cast("B")
        start = self._offset(slot)
        self._ledger.map[start : start + source.nbytes] = source

    def copy_out(self, slot: int, nbytes: int) -> memoryview:
        """See `Memory`."""
        start = self._offset(slot)
        return memoryview(self._ledger.map)[start : start + nbytes].toreadonly()

    def sealed(self, slot: int) -> None:
        """See `Memory`."""

    def taken(self, slot: int) -> None:
        """See `Memory`."""

    def finished(self, slot: int, let_go: Callable[[int], None]) -> bool:
        """See `Memory`."""
        return True

    def close(self) -> None:
        """See `Memory`."""

    def _offset(self, slot: int) -> int:
        return self._ledger.data_offset + slot * self._ledger.slot_bytes


def memory_on(device: str) -> type[Memory]:
    """The kind of memory of a device.

    Raises:
        NoDevice: there is none of this name here.
    """
    if device == "cpu":
        return HostMemory
    if device.startswith("cuda:") and device[5:].isdecimal():
        from flowcore.buffers import cuda_probe
        from flowcore.buffers.cuda_memory import CudaMemory

        missing = cuda_probe.missing()
        if missing:
            raise NoDevice(f"no device {device!r} here: {missing}")
        return CudaMemory
    raise NoDevice(f"no device {device!r}; there are: cpu, cuda, cuda:0 ..")


def resolve(device: str) -> str:
    """Where memory that is asked for on `device` will be: "cuda" is the thread's current one. Where processes cannot
    share memory of such devices, it is host memory, "cpu", said once in the log.

    Raises:
        NoDevice: there is none of this name.
    """
    if device == "cpu":
        return device
    from flowcore.buffers import cuda_probe

    return cuda_probe.resolve(device)


def _address_of(mapped: mmap.mmap) -> int:
    import numpy as np  # ctypes finds the address of writable memory only

    return np.frombuffer(mapped, np.uint8).__array_interface__["data"][0]
