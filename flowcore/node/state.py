"""`self.state`: a persistent map that holds exactly what the acked messages made of it.

It is stored as part of the node's record (`flowcore.node.record`) before the messages that changed it are acked. Here
is the map itself: its size, what a failed handler changed, and what has changed since the last write.

    StateFull    a value would take the state past its limit; nothing was changed
"""

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from flowcore.buffers import Tensor
from flowcore.bus.envelope import packer, unpack
from flowcore.node.tensors import inline_alone, with_bytes

MAX_STATE = 16 << 20  # bytes


class StateFull(ValueError):
    """The state of a node is larger than it may be."""


class State(MutableMapping[str, Any]):
    """A map of text keys to anything msgpack holds.

    A value is packed when it is set: what is changed in place afterwards (`state["list"].append(1)`) is not seen; set
    it again. What a handler changed is undone when it raises. A tensor in it is copied: state holds no slot.
    """

    def __init__(self) -> None:
        self._values: dict[str, Any] = _NotLoaded()
        self._packed: dict[str, bytes] = {}
        self._size = 0
        self._changed: dict[str, None] = {}  # set or deleted since the last `take`
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
        self._changed[key] = None
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
        self._changed[key] = None
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

    def take_all(self) -> dict[str, bytes]:
        """All values, packed."""
        self._changed.clear()
        return self._packed

    def take_changes(self) -> tuple[dict[str, bytes], list[str]]:
        """What was set since the last `take`, packed, and the keys that are gone since."""
        packed = self._packed
        values = {key: packed[key] for key in self._changed if key in packed}
        gone = [key for key in self._changed if key not in packed]
        self._changed.clear()
        return values, gone

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
