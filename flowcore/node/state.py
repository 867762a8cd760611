"""`self.state`: a persistent map that holds exactly what the acked messages made of it.

The whole state of a node is one record: values, how far each input wire was applied, outputs that nobody has acked yet
(the outbox), the position of a source. It is written in one piece before the messages it contains are acked, with
compare-and-set on the record's revision; so after `kill -9` a counter has counted each message once, and an output made
by a message that will not come again is sent again. The engine decides when to write.

    StateFull    a value would take the state past its limit; nothing was changed
    StateStale   the record was written by another process since it was read: this one must stop
"""

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flowcore.buffers import Tensor
from flowcore.bus.envelope import join, pack, packer, unpack
from flowcore.node.tensors import inline_alone, with_bytes

MAX_STATE = 4 << 20  # bytes
_MAX_RECORD = 64 << 20


class StateFull(ValueError):
    """The state of a node is larger than it may be."""


class StateStale(Exception):
    """Another process of this node has written since; this one must not go on."""


class Store(Protocol):
    """Where the record of a node is kept."""

    async def load(self) -> bytes | None:
        """The newest record, None when there is none. Remembers its revision."""

    async def save(self, record: bytes) -> None:
        """Write a record if the revision is still the one that was read; waits while the bus is away.

        Raises:
            StateStale: it is not.
        """


class State(MutableMapping[str, Any]):
    """A map of text keys to anything msgpack holds.

    A value is packed when it is set: what is changed in place afterwards (`state["list"].append(1)`) is not seen; set
    it again. What a handler changed is undone when it raises. A tensor in it is copied: state holds no slot.
    """

    def __init__(self) -> None:
        self._values: dict[str, Any] = _NotLoaded()
        self._packed: dict[str, bytes] = {}
        self._size = 0
        self._undo: list[tuple[str, bool, Any, bytes]] = []
        self._has_tensor = False  # in the value that is being packed
        self._pack = packer(self._with_bytes)
        self.on_dirty: Callable[[], None] = lambda: None  # from any thread, when the first change is to be stored
        self.is_recording = False
        self._is_dirty = False
        self.refusal = ""  # why this node may not change its state

    @property
    def is_dirty(self) -> bool:
        """True when something was changed since this was last set to False."""
        return self._is_dirty

    @is_dirty.setter
    def is_dirty(self, value: bool) -> None:
        was, self._is_dirty = self._is_dirty, value
        if value and not was:
            self.on_dirty()

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"a key of self.state is text, not {type(key).__name__}")
        if self.refusal:
            raise RuntimeError(self.refusal)
        self._has_tensor = False
        packed = self._pack(value)
        if self._has_tensor:
            value = unpack(packed, limit=len(packed), ext_hook=inline_alone)
        size = self._size + len(packed) - len(self._packed.get(key, b""))
        if size > MAX_STATE:
            raise StateFull(f"self.state[{key!r}]: {size:,} bytes in all, the limit is {MAX_STATE:,}")
        self._remember(key)
        self._values[key], self._packed[key], self._size = value, packed, size
        self.is_dirty = True

    def _with_bytes(self, value: Any) -> Any:
        self._has_tensor = self._has_tensor or isinstance(value, Tensor)
        return with_bytes(value)

    def __delitem__(self, key: str) -> None:
        if key not in self._values:
            raise KeyError(key)
        self._remember(key)
        del self._values[key]
        self._size -= len(self._packed.pop(key))
        self.is_dirty = True

    def _remember(self, key: str) -> None:
        if self.is_recording:
            self._undo.append((key, key in self._values, self._values.get(key), self._packed.get(key, b"")))

    def begin(self) -> None:
        """From here on, changes can be undone."""
        self._undo.clear()
        self.is_recording = True

    def rollback(self) -> None:
        """Undo what was changed since `begin`."""
        for key, was_there, value, packed in reversed(self._undo):
            self._size += len(packed) - len(self._packed.get(key, b""))
            if was_there:
                self._values[key], self._packed[key] = value, packed
            else:
                self._values.pop(key, None)
                self._packed.pop(key, None)
        self._undo.clear()

    def end(self) -> None:
        """What was changed since `begin` stays; what is changed now is nobody's to undo."""
        self._undo.clear()
        self.is_recording = False

    def packed(self) -> bytes:
        """All values as a msgpack map."""
        n = len(self._packed)
        head = bytes((0x80 | n,)) if n < 16 else b"\xdf" + n.to_bytes(4, "big")
        return head + b"".join(part for key, value in self._packed.items() for part in (pack(key), value))

    def replace(self, values: dict[str, Any]) -> None:
        """Start from stored values."""
        self._values = dict(values)
        self._packed = {key: self._pack(value) for key, value in values.items()}
        self._size = sum(map(len, self._packed.values()))
        self.is_dirty = False


class _NotLoaded(dict):
    """The values of a state that was not read yet."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(
            "self.state is not there yet in on_start, which runs while the node's old process is still at work; "
            "read it in on_go, or from the first handler on"
        )

    def __contains__(self, key: object) -> bool:
        return self[str(key)]

    def __iter__(self) -> Iterator[str]:
        return self[""]

    def __len__(self) -> int:
        return self[""]


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

    @staticmethod
    def unpack(data: bytes | None) -> "Record":
        """Decode a record; an empty one from None."""
        if not data:
            return Record()
        raw = unpack(data, limit=_MAX_RECORD, ext_hook=inline_alone)
        return Record(
            raw["values"],
            {wire: (epoch, following) for wire, (epoch, following) in raw["applied"].items()},
            [(port, envelope) for port, envelope in raw["outbox"]],
            raw["position"],
            raw["inc"],
            raw["n"],
        )


def pack_record(
    state: State,
    applied: dict[str, tuple[int, int]],
    outbox: Iterable[tuple[str, bytes]],
    position: Any,
    inc: int,
    n: int,
) -> bytes:
    """A record from a state and outputs that are packed already."""
    sent = join(b"\x92" + pack(port) + packed for port, packed in outbox)
    parts = (b"\x86", pack("values"), state.packed(), pack("applied"), pack(applied), pack("outbox"), sent)
    return b"".join((*parts, pack("position"), pack(position), pack("inc"), pack(inc), pack("n"), pack(n)))
