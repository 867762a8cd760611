"""The pools of a process: size classes, growth up to a limit, and giving back what is idle."""

import os
import threading
import time
from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Any, SupportsIndex

from flowcore.buffers.dtypes import size_of, typestr_of
from flowcore.buffers.errors import NoRoom
from flowcore.buffers.lease import Lease
from flowcore.buffers.ledger import PAGE
from flowcore.buffers.memory import memory_on, resolve
from flowcore.buffers.pool import Pool

if TYPE_CHECKING:
    from flowcore.buffers.tensor import Tensor

DEFAULT_LIMIT = 256 << 20
_FIRST_SLOTS, _MOST_SLOTS = 4, 1024  # of the first pool of a class, and of any
_IDLE_S = 30.0
_POLL_S = 0.001  # readers unlock without a word


def class_of(nbytes: int) -> int:
    """Bytes of the slots that serve `nbytes`: a power of two or a quarter step between two, in whole pages."""
    step = max(PAGE, 1 << max(0, (nbytes - 1).bit_length() - 3))
    return max(PAGE, -(-nbytes // step) * step)


class Pools:
    """All that a process shares, on all devices.

    Thread-safe. Args:
        limit_bytes: how large its pools may be together (a node's setting `pool_mb`).

    Attributes:
        by_id: the pools there are, by their ids; another dict after each change.
    """

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT) -> None:
        self.limit_bytes = limit_bytes
        self._classes: dict[tuple[str, int], list[Pool]] = {}
        self.by_id: dict[int, Pool] = {}
        self._seen: dict[int, tuple[int, float]] = {}  # pool id -> slots taken, and since when it is so
        self._most: dict[tuple[str, int], int] = {}  # slots that a size can have beside what others have in use
        self._growth = threading.Lock()
        self._is_scarce = False
        self._is_closed = False
        self._pid = os.getpid()

    @property
    def total_bytes(self) -> int:
        """Bytes of all pools."""
        return sum(pool.bytes for pool in self.by_id.values())

    @property
    def is_scarce(self) -> bool:
        """Whether a quarter of the limit is free, or less."""
        return self._is_scarce

    def alloc(
        self, shape: Sequence[int] | SupportsIndex, dtype: Any = "uint8", device: str = "cpu", *, wait: bool = False
    ) -> "Tensor":
        """A writable tensor in a slot of its own; what is in it is left from before.

        Args:
            shape: its dimensions; a number is one dimension.
            dtype: name, numpy dtype or scalar type.
            device: "cpu", or "cuda", "cuda:1"; on the host where processes cannot share memory of such a device.
            wait: wait for a free slot (in a thread, never on the event loop).

        Raises:
            NoRoom: nothing is free and `wait` is false.
            TypeError: not a dtype of numbers.
            ValueError: larger than the limit, no such device, or a negative dimension.
        """
        from flowcore.buffers.tensor import Tensor

        lengths: Any = shape if hasattr(shape, "__iter__") else (shape,)
        dims = tuple(map(index, lengths))
        if min(dims, default=0) < 0:
            raise ValueError(f"a tensor of shape {dims}")
        typestr = typestr_of(dtype)
        nbytes = size_of(typestr, dims)
        device = resolve(device)
        return Tensor(typestr, dims, nbytes, device, self.take(nbytes, device, wait=wait))

    def take(self, nbytes: int, device: str = "cpu", *, wait: bool = False) -> Lease:
        """A slot of at least `nbytes` to write. See `alloc`."""
        if os.getpid() != self._pid:
            raise RuntimeError("the pools of this process's parent; a fork makes its own")
        while True:
            if self._is_closed:
                raise RuntimeError("this process is ending; it shares nothing more")
            lease = self._take(nbytes, device)
            if lease is not None:
                return lease
            if not wait:
                raise NoRoom(nbytes, self.stats(), self.limit_bytes)
            time.sleep(_POLL_S)

    def _take(self, nbytes: int, device: str) -> Lease | None:
        slot_bytes = class_of(nbytes)
        if slot_bytes > self.limit_bytes:
            raise ValueError(
                f"{nbytes:,} bytes are more than this node may share at all ({self.limit_bytes:,} bytes); "
                "raise its setting pool_mb"
            )
        key = device, slot_bytes
        pools = self._classes.get(key, ())
        for pool in pools:  # the oldest first, so that the others fall idle
            lease = pool.take()
            if lease is not None:
                if 4 * sum(pool.slots - pool.free for pool in pools) >= 3 * self._most.get(key, 0):
                    self._tell_scarce()
                return lease
        with self._growth:
            # Another thread may have made room meanwhile; growing before larger slots are wasted.
            lease = self._grow(device, slot_bytes) or self._take_larger(device, slot_bytes)
        self._tell_scarce()
        return lease

    def _grow(self, device: str, slot_bytes: int) -> Lease | None:
        key = device, slot_bytes
        pools = self._classes.get(key, [])
        for pool in pools:
            lease = pool.take()
            if lease is not None:
                return lease
        wanted = min(max(_FIRST_SLOTS << len(pools), memory_on(device).granule // slot_bytes), _MOST_SLOTS)
        slots = min(wanted, (self.limit_bytes - self.total_bytes) // slot_bytes)
        if slots < 1:
            self._give_back_for(slot_bytes)
            slots = min(wanted, (self.limit_bytes - self.total_bytes) // slot_bytes)
        if slots < 1:
            return None
        try:
            pool = Pool(slots, slot_bytes, device)
        except OSError:
            if pools:
                return None  # there are slots to wait for
            raise
        self._classes = {**self._classes, key: [*self._classes.get(key, []), pool]}
        self.by_id = {**self.by_id, pool.id: pool}
        return pool.take()

    def _take_larger(self, device: str, slot_bytes: int) -> Lease | None:
        for at, larger in sorted(self._classes):
            if at == device and larger > slot_bytes:
                for pool in self._classes[at, larger]:
                    lease = pool.take()
                    if lease is not None:
                        return lease
        return None

    def _give_back_for(self, nbytes: int) -> None:
        """Close pools that nobody uses until `nbytes` fit; none when they would not."""
        idle = [pool for pool in self.by_id.values() if not pool.used and not pool.held_by_readers()]
        if self.limit_bytes - self.total_bytes + sum(pool.bytes for pool in idle) < nbytes:
            return
        for pool in idle:
            if self.limit_bytes - self.total_bytes >= nbytes:
                return
            if pool.close_if_idle():
                self._forget(pool)

    def trim(self, now_s: float) -> None:
        """Give back what nobody has used for 30 seconds; called each second.

        Args:
            now_s: monotonic seconds.
        """
        with self._growth:
            for pool in self.by_id.values():
                taken, since_s = self._seen.get(pool.id, (-1, 0.0))
                if pool.taken != taken or pool.used:
                    self._seen[pool.id] = pool.taken, now_s
                elif now_s - since_s >= _IDLE_S and pool.close_if_idle():
                    self._forget(pool)
        self._tell_scarce()

    def close(self) -> None:
        """Let no thread wait for a slot any more; the memory goes with the process."""
        self._is_closed = True

    def stats(self) -> list[dict]:
        """For each device and size: slots, how many are used here or held by readers, bytes."""
        return [
            {
                "device": device,
                "slot_bytes": slot_bytes,
                "slots": sum(pool.slots for pool in pools),
                "used": sum(pool.used for pool in pools),
                "waiting": sum(pool.held_by_readers() for pool in pools),
                "bytes": sum(pool.bytes for pool in pools),
            }
            for (device, slot_bytes), pools in sorted(self._classes.items())
        ]

    def _forget(self, pool: Pool) -> None:
        key = pool.device, pool.slot_bytes
        left = [other for other in self._classes[key] if other is not pool]
        self._classes = {**self._classes, key: left}  # another thread may be going through the old one
        if not left:
            del self._classes[key]
        self.by_id = {id_: other for id_, other in self.by_id.items() if other is not pool}
        self._seen.pop(pool.id, None)

    def _tell_scarce(self) -> None:
        """Say in each pool whether a quarter of the slots that its size could have is free, or less."""
        if not self._growth.acquire(blocking=False):
            return  # who grows or trims tells it afterwards
        try:
            in_use = {pool: pool.used + pool.held_by_readers() for pool in self.by_id.values()}
            pinned = sum(pool.bytes for pool, slots in in_use.items() if slots)
            self._is_scarce = False
            for key, pools in self._classes.items():
                pinned_here = sum(pool.bytes for pool in pools if in_use[pool])
                self._most[key] = most = (self.limit_bytes - (pinned - pinned_here)) // key[1]
                is_scarce = 4 * sum(in_use[pool] for pool in pools) >= 3 * most
                self._is_scarce |= is_scarce
                for pool in pools:
                    pool.tell_scarce(is_scarce)
        finally:
            self._growth.release()
