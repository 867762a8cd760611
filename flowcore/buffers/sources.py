"""Tensors of this process that others ask for: which they may have, and the bytes in the form they want.

What was sent from a port may be asked for by whoever may hear that port; `Shown` knows which slots were. Nothing else
of a pool is ever given away.

As they are, bytes are read in their slot. Encoded once, they are kept for whoever asks next. Checksums and encodings
are made in a thread.
"""

import asyncio
import contextlib
import logging
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from flowcore.buffers.encode import RAW, Encoding, MissingLibrary, encode
from flowcore.buffers.errors import BufferExpired
from flowcore.buffers.handle import Handle
from flowcore.buffers.lease import Lease

Find = Callable[[Handle], Lease]
"""A lease on a slot that this process owns or has open already; raises BufferExpired."""

_IDLE_S = 1.0  # after which an asker has gone, and encoded bytes are forgotten
_CODED_BYTES = 64 << 20  # encoded tensors that are kept
_MOST_SHOWN = 4096

_Made = tuple[str, int, int, bytes | None]
"""Form, number of bytes, checksum; and the bytes, unless they are read in the slot."""

_log = logging.getLogger("flowcore.buffers")


class Shown:
    """Which slots were sent, and from which ports."""

    def __init__(self) -> None:
        self._slots: dict[tuple[int, int], tuple[int, int, frozenset[str]]] = {}  # generation, bytes, ports

    def add(self, port: str, leases: Sequence[Lease]) -> None:
        """These were sent from a port."""
        for lease in leases:
            key, ports = (lease.pool.id, lease.slot), frozenset((port,))
            known = self._slots.get(key)
            if known is None and len(self._slots) >= _MOST_SHOWN:
                del self._slots[next(iter(self._slots))]
            elif known is not None and known[0] == lease.generation:
                ports |= known[2]
            self._slots[key] = lease.generation, lease.nbytes, ports

    def check(self, port: str, handle: Handle) -> None:
        """Raise unless exactly this was sent from the port.

        Raises:
            BufferExpired: it was, and the slot has been used again.
            PermissionError: it never was.
        """
        known = self._slots.get((handle.pool, handle.slot))
        if known is None or known[0] > handle.generation:
            raise BufferExpired(f"slot {handle.slot} of pool {handle.pool:016x} was written again, or never sent")
        generation, nbytes, ports = known
        if generation != handle.generation or nbytes != handle.nbytes or port not in ports:
            raise PermissionError(f"nothing like that was sent from port '{port}'")


class Source:
    """A tensor that is asked for, in one form.

    Attributes:
        total: its bytes in that form; None until they are known.
        whole: CRC-32 of all of them; None until it is made.
        error: why it cannot be had.
        on_ready: called when it is known which.
    """

    def __init__(self, handle: Handle, *, is_in_slot: bool) -> None:
        self.form = RAW
        self.total: int | None = handle.nbytes if is_in_slot else None
        self.whole: int | None = None
        self.error = ""
        self.on_ready: list[Callable[[], None]] = []
        self.used_s = 0.0
        self._handle = handle
        self._coded: bytes | None = None  # None: it is read in its slot
        self._lease: Lease | None = None
        self._askers: set[str] = set()  # for whom the slot is held

    def hold(self, asker: str, find: Find) -> None:
        """Have the slot not written again before this asker has all of it.

        Raises:
            BufferExpired: it has been.
        """
        if self._coded is None:
            self._lease = self._lease or find(self._handle)
            self._askers.add(asker)

    def let_go(self, asker: str) -> None:
        """It has all."""
        self._askers.discard(asker)
        if not self._askers:
            self._lease = None

    def read(self, start: int, end: int, find: Find) -> bytes:
        """Some of its bytes.

        Raises:
            BufferExpired: the slot has been written again.
        """
        if self._coded is not None:
            return self._coded[start:end]
        lease = self._lease or find(self._handle)  # held while it is read
        return bytes(lease.copy_out(self._handle.nbytes)[start:end])

    def finished(self, made: Future[_Made]) -> None:
        """What the thread made of it."""
        if (error := made.exception()) is not None:
            self.error = f"{type(error).__name__}: {error}"
        else:
            self.form, self.total, self.whole, self._coded = made.result()
        if self._coded is not None:
            self._lease = None
        waiting, self.on_ready = self.on_ready, []
        for tell in waiting:
            tell()

    @property
    def kept_bytes(self) -> int:
        """Memory that it takes."""
        return len(self._coded) if self._coded is not None else 0


class Sources:
    """What is asked for now, or was a moment ago. On the event loop."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._sources: dict[tuple, Source] = {}  # the one used last is the last
        self._loop = asyncio.get_running_loop()
        self._thread: ThreadPoolExecutor | None = None
        self._sweep_at: asyncio.TimerHandle | None = None
        self._told: set[str] = set()  # missing libraries

    def get(self, handle: Handle, encoding: Encoding | None) -> tuple[Source, bool]:
        """The source of a tensor, and whether it is new: then its bytes are being gone through in the thread.

        Raises:
            BufferExpired: its slot has been written again.
        """
        key = handle[:5], handle.dtype, handle.shape, tuple(encoding.values()) if encoding else None
        source = self._sources.pop(key, None)
        is_new = source is None
        if source is None:
            lease = self._find(handle)
            source = Source(handle, is_in_slot=encoding is None and lease.pool.ledger.device == "cpu")
            self._begin(source, lease, handle, encoding)
        source.used_s = self._loop.time()
        self._sources[key] = source
        if self._sweep_at is None:
            self._sweep_at = self._loop.call_later(_IDLE_S, self._sweep)
        return source, is_new

    def _begin(self, source: Source, lease: Lease, handle: Handle, encoding: Encoding | None) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "flowcore-encode")

        def done(made: Future[_Made]) -> None:
            if not made.cancelled():
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self._loop.call_soon_threadsafe(source.finished, made)

        self._thread.submit(self._prepare, lease, handle, encoding).add_done_callback(done)

    def _prepare(self, lease: Lease, handle: Handle, encoding: Encoding | None) -> _Made:
        """Go through the bytes; in the thread."""
        plain = lease.copy_out(handle.nbytes)
        form: str
        coded: Any
        try:
            form, coded = encode(plain, handle.dtype, handle.shape, encoding)
        except Exception as e:  # whatever an encoder does not like goes as it is
            self._tell(e)
            form, coded = RAW, plain
        is_in_slot = coded is plain and lease.pool.ledger.device == "cpu"
        return form, len(coded), zlib.crc32(coded), None if is_in_slot else bytes(coded)

    def _tell(self, error: Exception) -> None:
        text = str(error) if isinstance(error, MissingLibrary) else f"{type(error).__name__}: {error}"
        if text not in self._told and len(self._told) < 10:
            self._told.add(text)
            _log.warning("a tensor for another host is sent as it is: %s", text)

    def _sweep(self) -> None:
        self._sweep_at = None
        now_s = self._loop.time()
        room = _CODED_BYTES
        for key, source in reversed(list(self._sources.items())):
            room -= source.kept_bytes
            is_made = source.whole is not None or source.error
            if is_made and (now_s - source.used_s >= _IDLE_S or room < 0):
                del self._sources[key]
        if self._sources:
            self._sweep_at = self._loop.call_later(_IDLE_S, self._sweep)

    def close(self) -> None:
        """Forget all."""
        if self._sweep_at is not None:
            self._sweep_at.cancel()
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
        self._sources.clear()
