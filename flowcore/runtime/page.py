"""The page a node process shares with the host: its heartbeat, its progress, and the messages its handlers have now.

One memfd of 4 KiB per process, written by the process, read by the host; no locks, no system calls. A page outlives its
process, so the host learns which messages were in a handler when it died.

    offset 0   u64  beat, monotonic nanoseconds
           8   u32  state, one of STATES
          12   u32  handlers at work
          16   u64  messages handled since the process started
          64   60 slots of 64 bytes: u32 crc32 of the wire id (0: free), u32, u64 epoch, u64 seq, u64 begun (monotonic)

Invariant: a slot's wire is written last and cleared first, so a used slot is always whole.
"""

import fcntl
import mmap
import os
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

SIZE: Final = 4096
SLOTS: Final = 60
STARTING, READY, RUNNING, DRAINING = range(4)
STATES: Final = ("starting", "ready", "running", "draining")

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_SLOT = struct.Struct("<QQQ")  # epoch, seq, started_ns: what follows the wire
_FIRST_SLOT, _SLOT_SIZE = 64, 64


@dataclass(frozen=True)
class InHandler:
    """A message that a handler has, or had when its process died."""

    wire_hash: int
    epoch: int
    seq: int
    started_ns: int


def wire_hash(wire: str) -> int:
    """What stands in a slot for a wire id; never 0."""
    return zlib.crc32(wire.encode()) or 1


def _note_nothing(epoch: int, seq: int, now_ns: int) -> None:
    pass


class Page:
    """Reads and writes a page; `memory` is a writable buffer of SIZE bytes."""

    def __init__(self, memory: memoryview | mmap.mmap) -> None:
        self._memory = memory
        self._free = list(range(SLOTS - 1, -1, -1))
        self._wires = [0] * SLOTS  # what stands in the slots, for who writes them

    @classmethod
    def create(cls, name: str) -> "tuple[int, Page]":
        """A new page and its descriptor, which the caller passes to the process and closes."""
        fd = os.memfd_create(f"flowcore-page-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, SIZE)
        # Sealed in size: a process that shrank it would kill the host with SIGBUS.
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return fd, cls(mmap.mmap(fd, SIZE))

    @classmethod
    def open(cls, fd: int) -> "Page":
        """The page behind a descriptor that was passed on."""
        return cls(mmap.mmap(fd, SIZE))

    def close(self) -> None:
        """Unmap; the page is not used afterwards."""
        if isinstance(self._memory, mmap.mmap):
            self._memory.close()
        else:
            self._memory.release()

    # The process writes

    def beat(self) -> None:
        """Say that the event loop turns."""
        _U64.pack_into(self._memory, 0, time.monotonic_ns())

    def set_state(self, state: int) -> None:
        """One of STARTING, READY, RUNNING, DRAINING."""
        _U32.pack_into(self._memory, 8, state)

    def enter(self, hashed_wire: int, epoch: int, seq: int) -> int | None:
        """A handler gets a message: note it. Returns the slot for `leave`, None when all are used."""
        if not self._free:
            return None
        slot = self._free.pop()
        at = _FIRST_SLOT + slot * _SLOT_SIZE
        _SLOT.pack_into(self._memory, at + 8, epoch, seq, time.monotonic_ns())
        _U32.pack_into(self._memory, at, hashed_wire)
        self._wires[slot] = hashed_wire
        _U32.pack_into(self._memory, 12, SLOTS - len(self._free))
        return slot

    def move(self, slot: int | None, hashed_wire: int, epoch: int, seq: int) -> None:
        """The handler goes on to another message, in the same slot."""
        if slot is not None:
            at = _FIRST_SLOT + slot * _SLOT_SIZE
            is_other = self._wires[slot] != hashed_wire
            if is_other:
                _U32.pack_into(self._memory, at, 0)
            _SLOT.pack_into(self._memory, at + 8, epoch, seq, time.monotonic_ns())
            if is_other:
                _U32.pack_into(self._memory, at, hashed_wire)
                self._wires[slot] = hashed_wire

    def noter(self, slot: int | None) -> Callable[[int, int, int], None]:
        """For a handler that goes on in a slot, with messages of one wire: writes epoch, seq and monotonic time."""
        if slot is None:
            return _note_nothing
        return partial(_SLOT.pack_into, self._memory, _FIRST_SLOT + slot * _SLOT_SIZE + 8)

    def leave(self, slot: int | None, handled: int = 1) -> None:
        """The handler is done with what it got at `enter`; `handled` messages count as progress."""
        if slot is not None:
            _U32.pack_into(self._memory, _FIRST_SLOT + slot * _SLOT_SIZE, 0)
            self._free.append(slot)
            _U32.pack_into(self._memory, 12, SLOTS - len(self._free))
        if handled:
            _U64.pack_into(self._memory, 16, self.progress + handled)

    # The host reads

    @property
    def beat_ns(self) -> int:
        """Monotonic time of the last beat, 0 before the first."""
        return _U64.unpack_from(self._memory, 0)[0]

    @property
    def state(self) -> int:
        """One of STARTING, READY, RUNNING, DRAINING."""
        return _U32.unpack_from(self._memory, 8)[0]

    @property
    def handlers(self) -> int:
        """How many messages are in handlers."""
        return _U32.unpack_from(self._memory, 12)[0]

    @property
    def progress(self) -> int:
        """Messages handled since the process started."""
        return _U64.unpack_from(self._memory, 16)[0]

    def in_handlers(self) -> list[InHandler]:
        """The messages in handlers now."""
        used = []
        for at in range(_FIRST_SLOT, _FIRST_SLOT + SLOTS * _SLOT_SIZE, _SLOT_SIZE):
            hashed_wire = _U32.unpack_from(self._memory, at)[0]
            if hashed_wire:
                used.append(InHandler(hashed_wire, *_SLOT.unpack_from(self._memory, at + 8)))
        return used
