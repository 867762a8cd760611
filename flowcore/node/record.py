"""What is stored of a node: its record, whole now and then, and what has changed since.

A record that is large, because the node holds messages, would cost its whole size at each write. So a write is either
the **whole** record or a **change**: keys that were set or deleted, outputs that were sent, and the small rest as it is
now. A whole record begins a new *generation*; changes follow it until they are as large as it is.

On the bus a write is one entry, or several when it is larger than `_PART`. The entries of a generation lie in slots,
`<key>.a0`, `<key>.a1` ... or, of the generations between, `<key>.b0` ...; so the last generation that is whole stays
until the next one is. Every entry is written on condition that nothing below `<key>.` was written since this process
has last read or written there: one number fences all slots, whoever writes first has won, and the other must stop.

    StateStale   another process of this node has written since

Invariant: what `load` returns is the record as it was after one of the writes, never half of one.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flowcore.bus.envelope import join, pack, unpack
from flowcore.node.tensors import inline_alone

_PART = 512 << 10  # bytes of an entry: a bus that was there takes 1 MB in one message, and others wait behind it
_SMALL = 4096  # a record up to this size is written whole each time
_LEAST_CHANGES = 64 << 10  # bytes of changes in a generation, at least
_MOST_SLOTS = 1000  # of a generation: what a start has to read
_AT_ONCE = 64  # slots that are read at a time
_MAX_RECORD = 256 << 20
_TRIES = 20


class StateStale(Exception):
    """Another process of this node has written since; this one must not go on."""


@dataclass
class Record:
    """What is stored of a node.

    Attributes:
        values: of `self.state`.
        applied: wire id -> (epoch, next): messages below it are contained.
        outbox: (port, envelope) of outputs that were not acked.
        position: of a source, up to which all is acked.
        inc, n: of the process that wrote it, and its count of writes.
    """

    values: dict[str, Any] = field(default_factory=dict)
    applied: dict[str, tuple[int, int]] = field(default_factory=dict)
    outbox: list[tuple[str, dict]] = field(default_factory=list)
    position: Any = None
    inc: int = 0
    n: int = 0

    def packed(self) -> bytes:
        """A whole record, for `RecordStore.save`."""
        values = {key: pack(value) for key, value in self.values.items()}
        outbox = [(port, pack(envelope)) for port, envelope in self.outbox]
        owed: dict[str, list[int]] = {}
        for port, envelope in self.outbox:
            owed.setdefault(port, []).append(envelope["seq"])
        return pack_write(values, (), self.applied, outbox, owed, self.position)


def pack_write(
    values: Mapping[str, bytes],
    gone: Iterable[str],
    applied: Mapping[str, tuple[int, int]],
    sent: Iterable[tuple[str, bytes]],
    owed: Mapping[str, Iterable[int]],
    position: Any,
) -> bytes:
    """A whole record, or a change, from parts that are packed already.

    Args:
        values: those that were set (all of them), gone: keys that were deleted.
        sent: (port, envelope) of outputs that no earlier write of this generation has.
        owed: port -> numbers, rising, of all outputs in the generation that are not acked by now.
    """
    n = len(values)
    head = bytes((0x80 | n,)) if n < 16 else b"\xdf" + n.to_bytes(4, "big")
    mapped = b"".join((head, *(part for key, value in values.items() for part in (pack(key), value))))
    outputs = join(b"\x92" + pack(port) + packed for port, packed in sent)
    rest = pack([list(gone), applied, {port: _ranges(seqs) for port, seqs in owed.items()}, position])
    return b"".join((b"\x93", mapped, outputs, rest))


def _ranges(seqs: Iterable[int]) -> list[int]:
    """Rising numbers as first, last, first, last ..."""
    ranges: list[int] = []
    for seq in seqs:
        if ranges and seq == ranges[-1] + 1:
            ranges[-1] = seq
        else:
            ranges += (seq, seq)
    return ranges


def _is_in(seq: int, ranges: list[int]) -> bool:
    return any(low <= seq <= high for low, high in zip(ranges[::2], ranges[1::2], strict=True))


@dataclass(frozen=True, slots=True)
class _Entry:
    """One slot: part `part` of `parts` of a write of process `inc`, its `n`-th."""

    generation: int
    slot: int
    part: int
    parts: int
    inc: int
    n: int
    chunk: bytes

    def packed(self) -> bytes:
        return pack([self.generation, self.slot, self.part, self.parts, self.inc, self.n, self.chunk])

    @property
    def identity(self) -> tuple[int, int, int]:
        return self.inc, self.n, self.part


def _entry(data: bytes | None) -> _Entry | None:
    return _Entry(*unpack(data, limit=2 * _PART)) if data else None


def _name(generation: int, slot: int) -> str:
    return f"{'ab'[generation & 1]}{slot}"


def assemble(slots: Mapping[str, bytes]) -> Record | None:
    """The newest record in these slots (name -> bytes); None when there is none that is whole.

    Raises:
        Malformed: something else wrote there.
    """
    return _newest(slots)[0]


def _newest(slots: Mapping[str, bytes]) -> tuple[Record | None, int]:
    """The newest record that is whole, and its generation."""
    heads = [head for head in (_entry(slots.get("a0")), _entry(slots.get("b0"))) if head is not None]
    for head in sorted(heads, key=lambda head: -head.generation):
        record = _assemble(head, slots)
        if record is not None:
            return record, head.generation
    return None, 0


def _assemble(head: _Entry, slots: Mapping[str, bytes]) -> Record | None:
    record: Record | None = None
    chunks: list[bytes] = []
    ranges: dict[str, list[int]] = {}
    writer = None
    entry: _Entry | None = head
    while entry is not None and entry.generation == head.generation and entry.part == len(chunks):
        if chunks and writer != (entry.inc, entry.n):
            break  # what is left of an earlier try
        writer = entry.inc, entry.n
        chunks.append(entry.chunk)
        if len(chunks) == entry.parts:
            values, sent, (gone, applied, ranges, position) = unpack(
                b"".join(chunks), limit=_MAX_RECORD, ext_hook=inline_alone
            )
            chunks = []
            if record is None:
                record = Record()
            for key in gone:
                record.values.pop(key, None)
            record.values.update(values)
            record.outbox += [(port, envelope) for port, envelope in sent]
            record.applied = {wire: (epoch, following) for wire, (epoch, following) in applied.items()}
            record.position, record.inc, record.n = position, entry.inc, entry.n
        entry = _entry(slots.get(_name(head.generation, entry.slot + 1)))
    if record is not None:
        record.outbox = [one for one in record.outbox if _is_in(one[1]["seq"], ranges.get(one[0], []))]
    return record


class Entries(Protocol):
    """Where entries lie: a key-value bucket with compare-and-set."""

    async def read(self, key: str) -> tuple[bytes | None, int]:
        """An entry's bytes (None: not there) and revision (0: never there). Waits while the bus is away."""

    async def write(self, key: str, value: bytes, revision: int, below: str) -> int | None:
        """Write `key` if `revision` is the newest of all keys that begin with `below`; waits while the bus is away.

        Returns the new revision, None when it is not.
        """


class RecordStore:
    """The record of one node below `key`; of one process, or of the host between two writes of one."""

    def __init__(self, entries: Entries, key: str) -> None:
        self._entries, self._key = entries, key
        self._revision = 0
        self._generation = self._slot = 0  # the next one is written there
        self._whole_bytes = self._change_bytes = 0
        self._parts: list[str] = []  # slots of this generation that hold a full part

    @property
    def takes_change(self) -> bool:
        """False when the next write has to be a whole record."""
        is_begun = self._whole_bytes > _SMALL and self._slot < _MOST_SLOTS
        return is_begun and self._change_bytes < max(_LEAST_CHANGES, self._whole_bytes)

    async def load(self) -> Record:
        """The newest record; an empty one when there is none. What is saved next is based on it."""
        for _ in range(_TRIES):
            slots, self._revision = await self._read()
            self._whole_bytes = 0  # a process begins with a whole record
            record, self._generation = _newest(slots)
            if record is not None:
                return record
            if not ("a0" in slots and "b0" in slots):  # else both were written anew while they were read
                return Record()
        raise StateStale(f"the state of {self._key} is written faster than it can be read")

    async def _read(self) -> tuple[dict[str, bytes], int]:
        """What lies in the slots of both generations, and the newest revision among them."""
        both = await asyncio.gather(self._read_generation("a"), self._read_generation("b"))
        return {**both[0][0], **both[1][0]}, max(both[0][1], both[1][1])

    async def _read_generation(self, letter: str) -> tuple[dict[str, bytes], int]:
        slots: dict[str, bytes] = {}
        newest, slot, count, generation = 0, 0, 1, None
        while count:
            names = [f"{letter}{k}" for k in range(slot, slot + count)]
            slot, count = slot + count, min(_AT_ONCE, 4 * count)
            for name, (data, revision) in zip(names, await self._read_slots(names), strict=True):
                newest = max(newest, revision)
                entry = _entry(data)
                if slot == 1 and entry is not None:
                    generation = entry.generation
                if data is None or entry is None or entry.generation != generation:
                    count = 0  # the generation ends here
                elif count:
                    slots[name] = data
        return slots, newest

    async def _read_slots(self, names: list[str]) -> list[tuple[bytes | None, int]]:
        return await asyncio.gather(*(self._entries.read(f"{self._key}.{name}") for name in names))

    async def save(self, write: bytes, inc: int, n: int, *, is_whole: bool) -> None:
        """Write a record or a change (`pack_write`); waits while the bus is away.

        Args:
            inc, n: who writes, and its count of writes.
            is_whole: must be True when `takes_change` is False.
        Raises:
            StateStale: another process has written since.
        """
        generation, old = self._generation, []
        if is_whole:  # until it is there, the one before stays what it is
            generation += 1
            old, self._parts, self._slot = self._parts, [], 0
            self._whole_bytes = self._change_bytes = 0
        chunks = [write[at : at + _PART] for at in range(0, len(write), _PART)]
        for part, chunk in enumerate(chunks):
            name = _name(generation, self._slot)
            await self._write(name, _Entry(generation, self._slot, part, len(chunks), inc, n, chunk))
            if len(chunk) == _PART:
                self._parts.append(name)
            self._slot += 1
        if is_whole:
            self._generation, self._whole_bytes = generation, len(write)
        else:
            self._change_bytes += len(write)
        # The megabytes of the generation before are of no use any more. Backwards: the newest revision is then in its
        # first slot, or in the slot behind those that are left, where a reader comes by.
        for name in reversed(old):
            await self._write(name, None)

    async def _write(self, name: str, entry: _Entry | None) -> None:
        key, data = f"{self._key}.{name}", entry.packed() if entry is not None else b""
        revision = await self._entries.write(key, data, self._revision, f"{self._key}.")
        if revision is None:  # perhaps our own write, whose answer was lost on the way
            stored, revision = await self._entries.read(key)
            there = _entry(stored)
            is_ours = (there and there.identity) == (entry and entry.identity)
            if not is_ours or revision <= self._revision:
                newest = await RecordStore(self._entries, self._key).load()
                by = entry.inc if entry is not None else 0
                raise StateStale(f"the state of {self._key} was written by process {newest.inc}, this is {by or 'old'}")
        self._revision = revision
