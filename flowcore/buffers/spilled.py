"""Large payloads: what does not fit into an envelope travels in slots, like tensors.

Long texts and bytes go out of the payload, each into a slot; a payload that is too large even so goes as a whole. The
reader puts them back before its handler sees the message.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flowcore.buffers.errors import BufferExpired
from flowcore.buffers.handle import Handle, Kind
from flowcore.buffers.lease import Lease
from flowcore.buffers.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

_PLAIN = frozenset((int, float, bool, type(None)))  # never in a slot, and often by the million


class ToSpill:
    """A leaf on its way into a slot."""

    __slots__ = ("data", "kind")

    def __init__(self, kind: Kind, data: bytes) -> None:
        self.kind, self.data = kind, data


class Spilled:
    """Part of a payload, or all of it, that is in a slot (`lease`), or has to be fetched from another host."""

    __slots__ = ("_data", "_why", "handle", "lease")

    def __init__(self, handle: Handle, lease: Lease | None, why: str = "") -> None:
        self.handle, self.lease = handle, lease
        self._data: bytes | None = None
        self._why = why

    @property
    def state(self) -> str:
        """sealed (in a slot of this host), private (fetched), remote or expired."""
        if self._data is not None:
            return "private"
        if self.lease is not None:
            return "sealed"
        return "expired" if self._why else "remote"

    def fill(self, data: bytes) -> None:
        """The bytes of a remote one have come.

        Raises:
            ValueError: not as many as it has.
        """
        if len(data) != self.handle.nbytes:
            raise ValueError(f"{len(data)} bytes for a payload of {self.handle.nbytes}")
        self._data = data

    def expire(self, why: str) -> None:
        """Its bytes will not come."""
        self._why = why

    def tobytes(self) -> bytes:
        """What is in the slot.

        Raises:
            BufferExpired: it is gone, or was not fetched.
        """
        if self._data is not None:
            return self._data
        if self.lease is None:
            raise BufferExpired(self._why or "the bytes of this payload were not fetched")
        return bytes(self.lease.copy_out(self.handle.nbytes))


def without_large(value: Any, threshold: int) -> Any:
    """A copy of `value` with `ToSpill` for each text and bytes of at least `threshold` bytes."""

    def spill(leaf: Any) -> Any:
        if isinstance(leaf, str) and len(leaf) * 4 >= threshold:
            data = leaf.encode("utf-8")
            return ToSpill(Kind.TEXT, data) if len(data) >= threshold else leaf
        if isinstance(leaf, (bytes, bytearray, memoryview)) and len(leaf) >= threshold:
            return ToSpill(Kind.BYTES, bytes(leaf))
        return leaf

    return replaced(value, spill, makes_copy=True)


def replaced(value: Any, leaf: "Callable[[Any], Any]", *, makes_copy: bool = False) -> Any:
    """`value` with `leaf(x)` for every x in it that is no map, no list, no number and not None, at any depth.

    Numbers are passed over because a long list of them would else take seconds.

    Args:
        makes_copy: leave maps and lists as they are and build others; else they are changed in place.
    """
    out = [value]
    todo: list[tuple[Any, Any]] = [(out, 0)]  # containers and keys whose value is still to be looked at
    while todo:
        holder, key = todo.pop()
        found = holder[key]
        dump = getattr(found, "model_dump", None)
        if dump is not None and not isinstance(found, type):
            found = dump()
        if isinstance(found, dict):
            found = dict(found) if makes_copy else found
            todo.extend([(found, name) for name, one in found.items() if type(one) not in _PLAIN])
        elif isinstance(found, (list, tuple)):
            found = list(found) if makes_copy or isinstance(found, tuple) else found
            todo.extend([(found, index) for index, one in enumerate(found) if type(one) not in _PLAIN])
        else:
            found = leaf(found)
        holder[key] = found
    return out[0]


def leaves(value: Any) -> Iterator[Any]:
    """What maps and lists hold in the end, at any depth, but no numbers and None in them; the value itself when it is
    neither. In no order."""
    todo = [value]
    while todo:
        found = todo.pop()
        if isinstance(found, dict):
            todo.extend([one for one in found.values() if type(one) not in _PLAIN])
        elif isinstance(found, (list, tuple)):
            todo.extend([one for one in found if type(one) not in _PLAIN])
        else:
            yield found


def parts(value: Any) -> list[Tensor | Spilled]:
    """The tensors and spilled parts in a decoded value, at any depth."""
    found = []
    todo = [value]
    for one in todo:  # it grows meanwhile
        kind = type(one)
        if kind is dict:
            todo.extend(one.values())
        elif kind is list or kind is tuple:
            todo.extend(one)
        elif kind is Tensor or kind is Spilled:
            found.append(one)
    return found
