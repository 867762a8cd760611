"""When the state of a node is written, and what is acked then.

A turn that changed the state is not acked through its outputs but by the write: the record holds the values, how far
every wire was applied, and the outputs that nobody has acked (the outbox). So what is stored is acked, and what is
acked is stored. Writes are made one at a time, between turns, and no faster than the disk takes them.

A record that has grown is not written again each time, but what has changed of it (`flowcore.node.record`). While a
write is under way messages are handled on, and the next write acks all of them.

A record names no slot of shared memory: that of an output which holds a tensor is stored when it is acked. The packed
record waits for it; handlers go on meanwhile.

Invariant: a record is only packed while no handler runs, so it never holds half of what one has changed.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from flowcore.node.emit import Emitter
from flowcore.node.record import Record, RecordStore, StateStale, pack_write
from flowcore.node.state import State
from flowcore.wires.out_port import Kept
from flowcore.wires.receipt import Receipt

_SHORTEST_S = 0.005
_POSITION_S = 0.05  # a source's position alone may lag: what is after it is replayed
_BYTES_PER_S = 20e6
_LONGEST_S = 0.05  # between two writes: a whole record that is large is followed by many changes
_SHRINK_S = 0.5  # an outbox whose messages were all acked is stored empty after this
_AGAIN_S = 1.0  # after a write that failed

_log = logging.getLogger("flowcore.node")


@dataclass(frozen=True, slots=True)
class _Write:
    """One write: what is written, the works it contains, and the outputs that are to be acked before it is stored."""

    packed: bytes
    n: int
    is_whole: bool
    works: list[Any]
    awaited: list[Kept]
    has_outbox: bool
    is_position_alone: bool


class Committer:
    """Writes the record of one node. Without a store it acks at once."""

    def __init__(self, state: State, emitter: Emitter, store: RecordStore | None, inc: int) -> None:
        self.position: Any = None
        self.applied: dict[str, tuple[int, int]] = {}
        self.commits = 0
        self.stale: StateStale | None = None
        self.is_stored = True  # the newest record that was packed has been written
        self.is_ordered = True  # one handler at a time: what is handled is all that came before, too
        self.on_stale: Any = lambda: None
        self._state, self._emitter, self._store, self._inc = state, emitter, store, inc
        self._works: list[Any] = []  # handled, waiting for the write that contains them
        self._positions: deque[tuple[Receipt, Any]] = deque()
        self._is_position_new = False
        self._writing: asyncio.Task | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._shrink_timer: asyncio.TimerHandle | None = None
        self._not_before_s = 0.0
        self._has_outbox = False
        self._outbox_seqs: dict[str, list[int]] = {}  # port -> numbers of the outputs that the record has
        self._needs_whole = False  # a change was not stored: the next one would have a hole before it
        self._is_in_turn = False
        self._is_closed = False
        self._is_loaded = False
        self._is_torn = False
        self._loop = asyncio.get_running_loop()
        state.on_dirty = self._on_dirty

    async def load(self) -> Record:
        """Read the record and start from it."""
        record = await self._store.load() if self._store is not None else Record()
        self._state.replace(record.values)
        self.applied = dict(record.applied)
        self.position = record.position
        self._has_outbox = bool(record.outbox)
        self._is_loaded = True
        return record

    # -- turns --------------------------------------------------------------------------------------------------

    def turn_begins(self) -> None:
        """A handler may change the state from here on."""
        self._is_in_turn = True

    def _on_dirty(self) -> None:
        """Changed beside the turns, by a source's `run` for example: nothing else would have it written."""
        if not self._is_in_turn and self._is_loaded:
            self._loop.call_soon_threadsafe(self._write_when_due)

    def turn_ends(self, works: list[Any]) -> None:
        """These were handled, their outputs are sent: ack them, or store first what they changed."""
        self._is_in_turn = False
        self._state.end()
        wire = None
        for work in reversed(works):  # the newest of each wire counts
            if work.wire is not wire:
                wire = work.wire
                if self.is_ordered and wire.delivery in ("reliable", "durable"):
                    known = self.applied.get(wire.ends.id, (0, 0))
                    self.applied[wire.ends.id] = max(known, (work.epoch, work.seq + 1))
        if self._state.is_dirty and self._store is not None:
            self._works += works
        else:
            self._state.is_dirty = False
            for work in works:
                work.one_done()
        self._write_when_due()

    def track(self, receipt: Receipt, position: Any) -> None:
        """Save `position` once this receipt, whose message was sent, and all before it are done."""
        self._positions.append((receipt, position))
        receipt.then(self._advance_position)

    def _advance_position(self) -> None:
        positions = self._positions
        while positions and positions[0][0].is_done:
            self.position = positions.popleft()[1]
            self._is_position_new = True
        if self._is_position_new:
            self._write_when_due()

    # -- writes -------------------------------------------------------------------------------------------------

    def _write_when_due(self) -> None:
        if self._store is None or self._writing is not None or self._is_in_turn or self._timer or self._is_closed:
            return
        if not self._is_something_new:
            if self._has_outbox and self._shrink_timer is None:
                self._shrink_timer = self._loop.call_later(_SHRINK_S, self._shrink)
            return
        wait_s = self._not_before_s - time.monotonic()
        if wait_s > 0:
            self._later(wait_s)
        else:
            self._begin()

    @property
    def _is_something_new(self) -> bool:
        return self._state.is_dirty or bool(self._works) or self._is_position_new

    def _later(self, seconds: float) -> None:
        def due() -> None:
            self._timer = None
            self._write_when_due()

        self._timer = self._loop.call_later(seconds, due)

    def shrink(self) -> None:
        """Store now that the outbox is empty, if it is."""
        if self._has_outbox:
            self._shrink()

    def _shrink(self) -> None:
        """An outbox that is acked by now would be sent again after a crash: store that it is empty."""
        self._shrink_timer = None
        is_free = self._writing is None and not self._is_in_turn and not self._timer and not self._is_closed
        if is_free and self._has_outbox and not self._is_something_new and not self._outbox()[0]:
            self._begin()
        else:
            self._write_when_due()

    def _begin(self) -> None:
        # Packed here and not in the task: until that runs, the next handler may have begun to change the state.
        self._writing = self._loop.create_task(self._save(self._pack()))

    def _pack(self) -> "_Write":
        """The record as it is now, or what has changed of it."""
        assert self._store is not None
        outbox, awaited = self._outbox()
        is_whole = self._needs_whole or not self._store.takes_change
        before = {} if is_whole else {port: set(seqs) for port, seqs in self._outbox_seqs.items()}
        sent = [(port, kept.packed) for port, kept in outbox if kept.seq not in before.get(port, ())]
        owed: dict[str, list[int]] = {}
        for port, kept in outbox:
            owed.setdefault(port, []).append(kept.seq)
        self._outbox_seqs = owed
        values, gone = (self._state.take_all(), []) if is_whole else self._state.take_changes()
        self.commits += 1
        packed = pack_write(values, gone, self.applied, sent, owed, self.position)
        works, self._works = self._works, []
        is_position_alone = not works and not self._state.is_dirty
        self._state.is_dirty = self._is_position_new = self.is_stored = self._needs_whole = False
        return _Write(packed, self.commits, is_whole, works, awaited, bool(outbox), is_position_alone)

    async def _save(self, write: "_Write") -> None:
        works = write.works
        try:
            assert self._store is not None
            await self._emitter.until_acked(write.awaited)
            await self._store.save(write.packed, self._inc, write.n, is_whole=write.is_whole)
        except StateStale as e:
            self.stale = e
            self._is_closed = True
            self.on_stale()
            return
        except Exception as e:  # what is not stored is not acked: the wires push back until it is
            _log.warning("the state cannot be stored: %s", e)
            self._works = works + self._works
            self._is_position_new = self._needs_whole = True
            self._not_before_s = time.monotonic() + _AGAIN_S
            self._loop.call_soon(self._write_when_due)
            return
        finally:
            self._writing = None
        self._has_outbox, self.is_stored = write.has_outbox, True
        busy_s = min(max(_SHORTEST_S, len(write.packed) / _BYTES_PER_S), _LONGEST_S)
        pause_s = _POSITION_S if write.is_position_alone else busy_s
        self._not_before_s = time.monotonic() + pause_s
        for work in works:
            # Stored with its outputs: done, whatever its outputs still wait for.
            if work.open > 0:
                work.open = 0
                work.finished()
        self._write_when_due()

    def _outbox(self) -> tuple[list[tuple[str, Kept]], list[Kept]]:
        """Outputs that nobody has acked and no replay makes again: those to be stored, and those that name slots."""
        outbox: list[tuple[str, Kept]] = []
        awaited: list[Kept] = []
        for name, port in self._emitter.ports.items():
            for kept in port.owed() if port.wires else ():
                if isinstance(kept.cause, Receipt) and kept.cause.position is not None:
                    continue
                if kept.holds:
                    awaited.append(kept)
                else:
                    outbox.append((name, kept))
        return outbox, awaited

    @property
    def is_clean(self) -> bool:
        """True when nothing waits to be written."""
        return not (self._is_something_new or self._writing)

    def abandon(self) -> None:
        """A handler was left behind in the middle of its changes: write nothing more, as if the process was killed."""
        self._is_closed = self._is_torn = True

    @property
    def has_record(self) -> bool:
        """True when this node keeps a record at all: then its outbox, not a hand-over, holds its outputs."""
        return self._is_loaded and (bool(self.commits) or self._has_outbox or bool(len(self._state)))

    async def close(self, timeout_s: float) -> None:
        """Write what is not written yet, and the outbox as it is now, for at most `timeout_s`."""
        self._is_closed = True
        for timer in (self._timer, self._shrink_timer):
            if timer is not None:
                timer.cancel()
        if self._store is None or not self._is_loaded or self._is_torn:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                if self._writing is not None:
                    await asyncio.shield(self._writing)
                is_new = not self.is_clean or self._has_outbox or (self.has_record and any(self._outbox()))
                if is_new and self.stale is None:
                    await asyncio.shield(self._loop.create_task(self._save(self._pack())))
