"""What travels instead of a tensor: a handle to a slot (extension type 1), or a small one with its bytes (type 2).

A handle is slot and generation, then the rest, which is the same for all tensors of a shape in a pool: packed and
checked once, and found again by its bytes.

Everything here may come from a process that went wrong: what does not fit together is `Malformed`, so that whoever
uses a `Handle` can rely on its sizes. Whether slot and generation still are what it says, only the pool knows.
"""

import functools
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

from flowcore.buffers.dtypes import MAX_DIMS, size_of
from flowcore.buffers.lease import Lease
from flowcore.buffers.place import Place
from flowcore.bus.envelope import Malformed, pack, unpack

_HEAD = struct.Struct("<IQ")  # slot, generation
_MAX_HANDLE = 4096  # bytes
_KEPT = 256  # different rests


class Kind(IntEnum):
    """What the bytes in the slot are; all but tensors are made of payloads that are larger than an envelope."""

    TENSOR = 0
    BYTES = 1
    TEXT = 2
    VALUE = 3  # any value, packed


class Handle(NamedTuple):
    """A tensor in a slot, for whoever can open the pool (`owner`, or `via`: who passed it on) or ask for it."""

    slot: int
    generation: int
    kind: int
    pool: int
    nbytes: int
    dtype: str  # numpy's `dtype.str`
    shape: tuple[int, ...]
    device: str
    host: str
    owner: Place
    via: Place | None

    def packed(self) -> bytes:
        """As it travels."""
        return _HEAD.pack(self.slot, self.generation) + _packed(self[2:])

    def passed_on(self, via: Place | None) -> bytes:
        """As it travels when another one sends it, who can be asked for the pool as `via` says."""
        return _HEAD.pack(self.slot, self.generation) + _packed((*self[2:-1], via))

    @classmethod
    def unpack(cls, data: bytes) -> "Handle":
        """Decode and check.

        Raises:
            Malformed: not a handle, or its parts do not fit together.
        """
        if not _HEAD.size < len(data) <= _MAX_HANDLE:
            raise Malformed(f"a handle of {len(data)} bytes")
        return _new(cls, _HEAD.unpack_from(data) + _checked(data[_HEAD.size :]))


_new: Callable[..., Any] = tuple.__new__  # what `Handle()` calls, without a frame of its own
_packed = functools.lru_cache(maxsize=_KEPT)(pack)


@functools.lru_cache(maxsize=_KEPT)
def _checked(data: bytes) -> tuple[Any, ...]:
    fields = unpack(data, limit=_MAX_HANDLE)
    if type(fields) is not list or len(fields) != 9:
        raise Malformed("a handle is slot, generation and a list of 9")
    kind, pool, nbytes, dtype, shape, device, host, owner, via = fields
    _check_whole(kind, pool, nbytes)
    if kind > Kind.VALUE or type(device) is not str or type(host) is not str:
        raise Malformed("a handle with wrong fields")
    shape = _shape(shape)
    if type(dtype) is not str or size_of(dtype, shape) != nbytes:
        raise Malformed("a handle whose shape does not fit its size")
    if kind != Kind.TENSOR and (dtype, shape) != ("|u1", (nbytes,)):
        raise Malformed("a handle to a payload has bytes in one dimension")
    return kind, pool, nbytes, dtype, shape, device, host, _place(owner), None if via is None else _place(via)


def handle_of(lease: Lease, kind: Kind, dtype: str, shape: tuple[int, ...], nbytes: int, host: str) -> Handle:
    """The handle to a slot of this process."""
    ledger = lease.pool.ledger
    return Handle(
        lease.slot,
        lease.generation,
        int(kind),
        ledger.pool,
        nbytes,
        dtype,
        shape,
        ledger.device,
        host,
        ledger.place,
        None,
    )


def unpack_inline(data: bytes) -> tuple[str, tuple[int, ...], bytes]:
    """Dtype, shape and bytes of an inline tensor.

    Raises:
        Malformed: not one, or its parts do not fit together.
    """
    fields = unpack(data, limit=len(data))
    if type(fields) is not list or len(fields) != 3:
        raise Malformed("an inline tensor is a list of 3")
    dtype, shape, content = fields
    shape = _shape(shape)
    if type(dtype) is not str or type(content) is not bytes or size_of(dtype, shape) != len(content):
        raise Malformed("an inline tensor whose shape does not fit its bytes")
    return dtype, shape, content


def _shape(shape: Any) -> tuple[int, ...]:
    if type(shape) is not list or len(shape) > MAX_DIMS:
        raise Malformed("a tensor without a shape")
    _check_whole(*shape)
    return tuple(shape)


def _place(place: Any) -> Place:
    if type(place) is not list or len(place) != 3:
        raise Malformed("a handle without an owner")
    _check_whole(*place)
    return Place(*place)


def _check_whole(*values: Any) -> None:
    for value in values:
        if type(value) is not int or value < 0:
            raise Malformed("a tensor with a number that is none")
