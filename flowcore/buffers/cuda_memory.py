"""Memory for pools on a CUDA device, and the order between the streams of its owner and of its readers.

A pool is one allocation of the owner's, opened by readers through its IPC handle once, at their first use of it. Its
ledger is a file in host memory like any pool's, so who holds a slot is known by the same locks. Work on a device goes
on after the call that began it has returned, so locks alone do not say that it is over; this file adds:

1. Whoever asks for an array on a slot names the streams it will be used on: those current in the thread that asks, and
   more with `Tensor.used_on`. Reading and writing are one here: a stream has been used on the slot.
2. The owner seals a slot by recording the slot's event behind all work on those streams. Then the generation becomes
   even, then the message is sent. The event is shared; its handle is in the ledger.
3. A reader has the slot's read lock. Before its first use it waits until the event is done, on the host: what it is
   given is complete, so all its streams, of whatever library, may read at once.
4. A reader that has let go keeps the read lock until events, recorded behind all work on the streams it used, are
   done. A thread waits for them (`cuda_waiter.py`), no handler.
5. The owner gives a slot out again when events behind its own uses of it are done (as in 4), and when it gets the
   write lock.

Why no read sees a later write: a write follows 5 on the host, so it is queued after every reader's lock is gone, which
by 4 is after its reads are done. Why no read sees less than what was written: a read is queued after 3, and the event
stands behind the writes by 2. A reader that is killed loses its locks at once and its streams soon after; what they
still read cannot be sent any more.

In 3 a stream could wait instead of the host (`cudaStreamWaitEvent`). The event of a killed owner may never be done,
and a stream that waits for it stands still for good, in a process that has done nothing wrong; a host that waits can
see that the owner has ended and say `BufferExpired`. Within one process streams wait.

When an owner ends, its device memory is CUDA's to take away, so what it sent is expired unlike in host memory. Freeing
what another process has open is undefined, so importers hold a read lock on one more byte for as long as they have the
memory open, and a pool that is given back is freed only under the write lock on it.

CUDA has no read-only mapping: arrays of sealed tensors are marked where the marking exists, and must not be written.
"""

import contextlib
import ctypes
import fcntl
import os
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from flowcore.buffers import cuda_driver
from flowcore.buffers.cuda_driver import CudaError, Stream
from flowcore.buffers.cuda_waiter import waiter
from flowcore.buffers.errors import BufferExpired
from flowcore.buffers.ledger import Ledger, lock
from flowcore.buffers.place import own, start_of

_HANDLE = struct.Struct("=64s112sQQ")  # memory handle, what the device is called, pid and start of the owner
_IMPORTED = 1 << 40  # the byte that stands for having the memory open; far behind those of slots
_NO_EVENT = bytes(64)
_SPINS, _PAUSE_S, _LOOK_S = 200, 0.0001, 0.05  # waiting for an owner's event; looking whether it is alive


def index_of(device: str) -> int:
    """The number in "cuda:1"."""
    return int(device.removeprefix("cuda:"))


class CudaMemory:
    """What owner and readers have in common. Thread-safe."""

    granule = 2 << 20  # bytes; smaller allocations share a block, and IPC would open all of the block to readers

    def __init__(self, ledger: Ledger, device: int) -> None:
        self.device = device
        self._ledger = ledger
        self._base = 0
        self._uses: dict[int, dict[tuple[int, int], Stream]] = {}  # slot -> streams that work on it
        self._lock = threading.Lock()
        self._streams: dict[str, Stream] = {}  # of our own: of copies from and to the host, and where uses are joined
        self._waiter = waiter()

    @classmethod
    def create(cls, ledger: Ledger) -> "CudaMemory":
        """See `Memory`."""
        return OwnMemory(ledger)

    @classmethod
    def open(cls, ledger: Ledger) -> "CudaMemory":
        """See `Memory`."""
        return ForeignMemory(ledger)

    def address(self, slot: int) -> int:
        """See `Memory`. Not before `begin`."""
        return self._base + slot * self._ledger.slot_bytes

    def begin(self, slot: int, streams: Iterable[Stream]) -> int:
        """Use a slot that the caller has a lease of on these streams, from now on; returns its address.

        Raises:
            BufferExpired: its owner has ended.
            CudaError: the memory cannot be opened.
        """
        raise NotImplementedError

    def also_on(self, slot: int, streams: Iterable[Stream]) -> None:
        """It was used on these streams, too."""
        uses = self._uses.setdefault(slot, {})
        for stream in streams:
            uses[stream.device, stream.ptr] = stream

    def taken(self, slot: int) -> None:
        """See `Memory`."""

    def copy_in(self, slot: int, data: Any) -> None:
        """See `Memory`."""
        raise TypeError("a reader does not write")

    def sealed(self, slot: int) -> None:
        """See `Memory`."""
        raise TypeError("a reader does not seal")

    def close(self) -> None:
        """See `Memory`."""
        raise NotImplementedError

    def finished(self, slot: int, let_go: Callable[[int], None]) -> bool:
        """See `Memory`."""
        uses = self._uses.pop(slot, None)
        if not uses:
            return True
        self._waiter.when_done(uses.values(), lambda: let_go(slot))
        return False

    def copy_out(self, slot: int, nbytes: int) -> memoryview:
        """See `Memory`."""
        address = self.begin(slot, ())
        stream = self._own_stream("copies")
        self.order_after_uses(slot, stream)
        data = bytearray(nbytes)
        if nbytes:
            place = ctypes.addressof((ctypes.c_char * nbytes).from_buffer(data))
            driver = cuda_driver.driver()
            driver.copy_to_host(place, address, nbytes, stream)
            driver.synchronize_stream(stream)
        return memoryview(data).toreadonly()

    def order_after_uses(self, slot: int, stream: Stream) -> None:
        """What is queued on `stream` from now on begins after what was queued for the slot in this process."""
        driver = cuda_driver.driver()
        for use in tuple(self._uses.get(slot, {}).values()):
            if not use.is_lasting:
                driver.synchronize(use.device)
            elif use[:2] != stream[:2]:
                event = driver.new_event(use.device)
                driver.record(event, use)
                driver.wait(stream, event)
                driver.destroy_event(event)  # CUDA forgets it when it is done

    def _own_stream(self, purpose: str) -> Stream:
        with self._lock:
            stream = self._streams.get(purpose)
            if stream is None:
                stream = self._streams[purpose] = cuda_driver.driver().new_stream(self.device)
            return stream


class OwnMemory(CudaMemory):
    """The allocation of a pool of this process."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger, index_of(ledger.device))
        driver = cuda_driver.driver()
        size = -(-ledger.slots * ledger.slot_bytes // self.granule) * self.granule
        self._base = driver.malloc(self.device, size)
        self._events: dict[int, int] = {}  # slot -> its event
        self._recorded: set[int] = set()  # slots whose event is of their last sealing
        try:
            handle = driver.export_memory(self.device, self._base)
            name = driver.identity(self.device).encode("ascii")
            with ledger.device_handle() as field:
                _HANDLE.pack_into(field, 0, handle, name, *own())
        except BaseException:
            driver.free(self.device, self._base)
            raise

    def begin(self, slot: int, streams: Iterable[Stream]) -> int:
        """See `CudaMemory`."""
        streams = tuple(streams)
        if slot in self._recorded:
            for stream in streams:
                cuda_driver.driver().wait(stream, self._events[slot])
        self.also_on(slot, streams)
        return self.address(slot)

    def sealed(self, slot: int) -> None:
        """See `Memory`."""
        uses = tuple(self._uses.get(slot, {}).values())
        if not uses:
            return
        driver, event = cuda_driver.driver(), self._event(slot)
        if not event:
            for use in uses:
                driver.synchronize(use.device)
            return
        last = uses[0]
        if len(uses) > 1 or not last.is_lasting or last.device != self.device:
            last = self._own_stream("joins")
            self.order_after_uses(slot, last)
        driver.record(event, last)
        self._recorded.add(slot)

    def finished(self, slot: int, let_go: Callable[[int], None]) -> bool:
        """See `Memory`."""
        is_finished = super().finished(slot, let_go)
        if is_finished:
            self._recorded.discard(slot)
        return is_finished

    def copy_in(self, slot: int, data: Any) -> None:
        """See `Memory`."""
        source = memoryview(data).cast("B")
        if not source.nbytes:
            return
        import numpy as np  # ctypes finds the address of writable memory only

        address = np.frombuffer(source, np.uint8).__array_interface__["data"][0]
        driver, stream = cuda_driver.driver(), self._own_stream("copies")
        driver.copy_from_host(self.address(slot), address, source.nbytes, stream)
        driver.synchronize_stream(stream)

    def close(self) -> None:
        """See `Memory`. The memory is freed when the last importer has closed it."""
        # A descriptor of its own for the same locks: those on the slots stay, and nobody can come in any more.
        fd = os.dup(self._ledger.fd)
        self._waiter.until(lambda: self._is_freed(fd))

    def _is_freed(self, fd: int) -> bool:
        if not lock(fd, fcntl.F_WRLCK, _IMPORTED):
            return False
        driver = cuda_driver.driver()
        with contextlib.suppress(CudaError):  # of a context that is broken; it all goes with the process
            for event in filter(None, self._events.values()):
                driver.destroy_event(event)
            driver.free(self.device, self._base)
        os.close(fd)
        return True

    def _event(self, slot: int) -> int:
        """The slot's event, made at its first sealing; 0 where there are no more to be had."""
        event = self._events.get(slot)
        if event is None:
            driver = cuda_driver.driver()
            try:
                event = driver.new_event(self.device, is_shared=True)
                with self._ledger.event_handle(slot) as field:
                    field[:] = driver.export_event(event)
            except CudaError:
                event = 0
            self._events[slot] = event
        return event


class ForeignMemory(CudaMemory):
    """Another process's allocation, opened when one of its slots is first used: a node that only passes handles on
    needs no context on the device."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger, index_of(ledger.device))
        with ledger.device_handle() as field:
            self._handle, name, self._pid, self._start = _HANDLE.unpack_from(field)
        self._name = name.rstrip(b"\0").decode("ascii", "replace")
        self._events: dict[int, int] = {}
        self._complete: set[int] = set()  # slots whose event was seen done since they were taken

    def taken(self, slot: int) -> None:
        """See `Memory`."""
        self._complete.discard(slot)

    def begin(self, slot: int, streams: Iterable[Stream]) -> int:
        """See `CudaMemory`."""
        if not self._base:
            self._map()
        if slot not in self._complete:
            self._wait_for_owner(slot)
            self._complete.add(slot)
        self.also_on(slot, streams)
        return self.address(slot)

    def close(self) -> None:
        """See `Memory`."""
        if not self._base:
            return
        driver = cuda_driver.driver()
        with contextlib.suppress(CudaError):  # as above
            for event in self._events.values():
                driver.destroy_event(event)
            driver.release_memory(self.device, self._base)
        self._base = 0
        self._ledger.unlock(_IMPORTED)

    def _map(self) -> None:
        with self._lock:
            if self._base:
                return
            self._look_at_owner()
            driver = cuda_driver.driver()
            here = [i for i in range(driver.device_count()) if driver.identity(i) == self._name]
            # A device that this process does not see may be within reach of one that it does.
            self.device = here[0] if here else driver.current_device()
            if not self._ledger.lock_read(_IMPORTED):
                raise BufferExpired("the pool was given back")
            try:
                self._base = driver.import_memory(self.device, self._handle)
            except CudaError:
                self._ledger.unlock(_IMPORTED)
                raise

    def _wait_for_owner(self, slot: int) -> None:
        event = self._event(slot)
        driver, tries, look_s = cuda_driver.driver(), 0, time.monotonic() + _LOOK_S
        while event and not driver.is_done(event):
            tries += 1
            if tries > _SPINS:
                time.sleep(_PAUSE_S)
                if time.monotonic() > look_s:
                    self._look_at_owner()
                    look_s = time.monotonic() + _LOOK_S
        self._look_at_owner()

    def _look_at_owner(self) -> None:
        if start_of(self._pid) != self._start:
            raise BufferExpired(f"process {self._pid} has ended, and its memory on the device with it")

    def _event(self, slot: int) -> int:
        with self._lock:
            event = self._events.get(slot)
            if event is None:
                with self._ledger.event_handle(slot) as field:
                    handle = bytes(field)
                if handle == _NO_EVENT:
                    return 0  # written from the host so far, which waited
                event = self._events[slot] = cuda_driver.driver().import_event(self.device, handle)
            return event
