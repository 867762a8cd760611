"""Slots that are still in use although the message they came with is done: kept on purpose, or forgotten somewhere."""

import time
import weakref
from collections import deque
from typing import Any, NamedTuple

from flowcore.buffers.lease import Lease
from flowcore.buffers.readers import OpenPool
from flowcore.buffers.spilled import parts

WeakLease = weakref.ref[Lease]
_FEW = 1024  # messages that may be remembered in vain


class _Done(NamedTuple):
    """A message that is done, and what it came with."""

    leases: tuple[WeakLease, ...]
    port: str
    message: str
    done_s: float


class Lingering:
    """What of the messages that are done is still in use. Costs nothing for messages without tensors."""

    def __init__(self) -> None:
        self._done: deque[_Done] = deque()  # oldest first
        self._look_at = _FEW

    @staticmethod
    def of(value: Any) -> tuple[WeakLease, ...]:
        """Weak references to the slots that a decoded value holds: take them before it is handled."""
        return tuple([weakref.ref(part.lease) for part in parts(value) if part.lease is not None])

    def done(self, leases: tuple[WeakLease, ...], port: str, message: str) -> None:
        """The message that came to `port` with these is done; whichever is still in use is listed until it is not.

        Nearly all are let go in a moment, so they are looked at when somebody asks.
        """
        done = self._done
        done.append(_Done(leases, port, message, time.monotonic()))
        if len(done) >= self._look_at:
            self._forget()

    def _forget(self) -> None:
        """Whatever is in use no more."""
        self._done = deque(one for one in self._done if any(weak() is not None for weak in one.leases))
        self._look_at = 2 * len(self._done) + _FEW

    def listed(self, older_than_s: float = 1.0) -> tuple[list[dict], list[dict]]:
        """Those kept (`Tensor.keep`), and the others; each with pool, slot, bytes, owner, age, port and message."""
        kept: list[dict] = []
        others: list[dict] = []
        if not self._done:
            return kept, others
        self._forget()
        now_s = time.monotonic()
        listed: set[Lease] = set()
        for one in reversed(self._done):  # a lease that several messages came with is of the last of them
            for lease in filter(None, [weak() for weak in one.leases]):
                if lease in listed or now_s - one.done_s < older_than_s:
                    continue
                listed.add(lease)
                pool = lease.pool
                about = {
                    "owner": pool.owner.pid if isinstance(pool, OpenPool) else pool.ledger.place.pid,
                    "pool": f"{pool.id:016x}",
                    "slot": lease.slot,
                    "bytes": pool.ledger.slot_bytes,
                    "age_s": round(now_s - one.done_s, 1),
                    "port": one.port,
                    "message": one.message,
                }
                (kept if lease.is_kept else others).append(about)
        return kept, others
