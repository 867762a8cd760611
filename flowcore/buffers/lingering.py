"""Slots that are still in use although the message they came with is done: kept on purpose, or forgotten somewhere."""

import time
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flowcore.buffers.lease import Lease
from flowcore.buffers.readers import OpenPool
from flowcore.buffers.spilled import parts

WeakLease = weakref.ref[Lease]


@dataclass(slots=True)
class _Origin:
    port: str
    message: str
    done_s: float


class Lingering:
    """What of the messages that are done is still in use. Costs nothing for messages without tensors."""

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[Lease, _Origin] = weakref.WeakKeyDictionary()

    @staticmethod
    def of(value: Any) -> tuple[WeakLease, ...]:
        """Weak references to the slots that a decoded value holds: take them before it is handled."""
        return tuple([weakref.ref(part.lease) for part in parts(value) if part.lease is not None])

    def done(self, leases: Iterable[WeakLease], port: str, message: str) -> None:
        """The message that came to `port` with these is done; whichever is still in use is listed until it is not."""
        for weak in leases:
            lease = weak()
            if lease is not None:
                self._known[lease] = _Origin(port, message, time.monotonic())

    def listed(self, older_than_s: float = 1.0) -> tuple[list[dict], list[dict]]:
        """Those kept (`Tensor.keep`), and the others; each with pool, slot, bytes, owner, age, port and message."""
        kept: list[dict] = []
        others: list[dict] = []
        now_s = time.monotonic()
        for lease, origin in list(self._known.items()):
            if now_s - origin.done_s < older_than_s:
                continue
            pool = lease.pool
            about = {
                "owner": pool.owner.pid if isinstance(pool, OpenPool) else pool.ledger.place.pid,
                "pool": f"{pool.id:016x}",
                "slot": lease.slot,
                "bytes": pool.ledger.slot_bytes,
                "age_s": round(now_s - origin.done_s, 1),
                "port": origin.port,
                "message": origin.message,
            }
            (kept if lease.is_kept else others).append(about)
        return kept, others
