"""Envelopes and frames: what travels on a subject, packed as msgpack and decoded within bounds.

A frame is a msgpack array of envelopes; an envelope is a map with the keys below (`docs/architecture.md`, bus).
Envelopes are packed one by one and joined, because a producer keeps the packed bytes of each for a resend.

    Malformed   the bytes are not what they should be: counted, reported and dropped by whoever receives them

Invariant: nothing decoded here is larger than the limits say, in bytes, depth or number of elements.
"""

import json
import struct
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import msgpack

MAX_ENVELOPE = 256 * 1024  # bytes of one packed envelope on a wire
MAX_FRAME = 512 * 1024  # bytes of one frame; a resend is split below it
MAX_DEPTH = 32  # levels of maps and arrays in a payload from outside
MAX_ELEMENTS = 20_000  # values in a frame from outside: 1 MB of empty maps would become 68 MB of dicts
TENSOR, INLINE = 1, 2  # extension types: a handle to a slot of shared memory; an array with its bytes
KEYS = ("epoch", "seq", "ts", "origin", "trace", "parent", "deadline", "topic", "payload", "meta")


class Malformed(ValueError):
    """A frame or an envelope that does not decode to what the protocol says."""


Extension = msgpack.ExtType  # of a code and bytes; what `plain` and the hooks of others return


class _Packers(threading.local):
    """A packer for each thread: one that packs a map runs Python code (`items`), and another thread goes on with it."""

    def __init__(self, default: Callable[[Any], Any]) -> None:
        self.packer = msgpack.Packer(autoreset=True, use_bin_type=True, default=default)


def plain(value: Any) -> Any:
    """What travels for a value that msgpack has no form for.

    A pydantic model is the map of its fields, a numpy scalar the number it is, and an array (whatever has
    `__array_interface__` and `tobytes`) the extension `INLINE`: its dtype as numpy writes it, its shape, its bytes.

    Raises:
        TypeError: it has no form.
        ValueError: a whole number that does not fit 64 bits.
    """
    if isinstance(value, int):
        raise ValueError("a whole number that does not fit 64 bits")
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        return dump()
    numpy = sys.modules.get("numpy")  # where it was never imported there are no scalars of it
    if numpy is not None and isinstance(value, numpy.generic):
        if value.dtype.kind in "biuf" and isinstance(number := value.item(), (int, float)):
            return number
    elif not isinstance(value, type) and hasattr(value, "__array_interface__"):
        array = value.__array_interface__
        check_dtype(array["typestr"])
        return Extension(INLINE, _pack_inline([array["typestr"], array["shape"], value.tobytes()]))
    raise TypeError(f"can not serialize {type(value).__name__!r} object")


def check_dtype(typestr: str) -> None:
    """Raise TypeError for arrays that cannot travel: of objects, of records, of extended precision."""
    kind, size = typestr[1:2], typestr[2:]
    if kind == "O":
        raise TypeError("an array of Python objects cannot be sent; send a list, or give it a dtype of numbers")
    if kind == "V":
        raise TypeError("an array of records cannot be sent; send a map of arrays, one for each field")
    if (kind == "f" and size not in ("2", "4", "8")) or (kind == "c" and size not in ("8", "16")):
        raise TypeError("an array of extended precision differs between machines; convert it to float64 or complex128")


def packer(default: Callable[[Any], Any]) -> Callable[[Any], bytes]:
    """A `pack` whose `default` is called with what msgpack has no form for, and returns what travels instead."""
    packers = _Packers(default)

    def pack(value: Any) -> bytes:
        """Pack one value.

        Raises:
            TypeError: something in it has no msgpack form (the message names its type).
            ValueError: an integer beyond 64 bits, or too deeply nested.
        """
        try:
            return packers.packer.pack(value)
        except OverflowError as e:  # a length beyond 32 bits
            raise ValueError(str(e)) from None

    return pack


pack = packer(plain)


def plain_packer() -> Callable[[Any], bytes]:
    """A `pack` in C alone, for one thread and for what msgpack itself has a form for; raises for everything else."""
    return msgpack.Packer(autoreset=True, use_bin_type=True).pack


_pack_inline = packer(plain)  # one of its own: a packer that is at work cannot pack something else meanwhile


def join(packed: Iterable[bytes]) -> bytes:
    """A frame from packed envelopes."""
    parts = list(packed)
    n = len(parts)
    if n < 16:
        head = bytes((0x90 | n,))
    elif n < 65536:
        head = struct.pack(">BH", 0xDC, n)
    else:
        head = struct.pack(">BI", 0xDD, n)
    return head + b"".join(parts)


def unpack(data: bytes, *, limit: int = MAX_FRAME, ext_hook: Callable[[int, bytes], Any] = Extension) -> Any:
    """Decode bytes from a peer whose identity the server checked (another node's process).

    `ext_hook` makes a value of an extension's code and bytes; without it they stay an `Extension`.

    Raises:
        Malformed: larger than `limit`, not msgpack, or trailing bytes.
    """
    if len(data) > limit:
        raise Malformed(f"{len(data)} bytes, the limit is {limit}")
    try:
        return msgpack.unpackb(data, strict_map_key=False, max_ext_len=limit, ext_hook=ext_hook)
    except Exception as e:  # msgpack raises half a dozen unrelated types
        raise Malformed(f"not msgpack: {str(e) or type(e).__name__}") from None


def unpack_foreign(
    data: bytes,
    *,
    limit: int = MAX_ENVELOPE,
    most: int = MAX_ELEMENTS,
    ext_hook: Callable[[int, bytes], Any] | None = None,
) -> Any:
    """Decode bytes from outside: bounded in depth and number of elements as well.

    Args:
        most: how many elements there may be.
        ext_hook: makes a value of an extension (`TENSOR`, `INLINE`); None: there must be none.

    Raises:
        Malformed: as `unpack`, or beyond `MAX_DEPTH` or `most`.
    """
    left = most

    def count(pairs_or_items: list) -> list:
        nonlocal left
        left -= len(pairs_or_items) + 1
        if left < 0:
            raise Malformed(f"more than {most} elements")
        return pairs_or_items

    def as_map(pairs: list) -> dict:
        count(pairs)
        return dict(pairs)

    if len(data) > limit:
        raise Malformed(f"{len(data)} bytes, the limit is {limit}")
    try:
        value = msgpack.unpackb(
            data,
            strict_map_key=False,
            list_hook=count,
            object_pairs_hook=as_map,
            ext_hook=ext_hook or _no_extension,
            max_ext_len=limit,
            timestamp=1,
        )
    except Malformed:
        raise
    except Exception as e:
        raise Malformed(f"not msgpack: {str(e) or type(e).__name__}") from None
    check_depth(value)
    return value


def json_foreign(data: bytes, *, limit: int = MAX_ENVELOPE) -> Any:
    """Decode JSON from outside, bounded as `unpack_foreign` is; what msgpack can't hold is refused.

    Raises:
        Malformed: not JSON, or beyond the limits.
    """
    if len(data) > limit:
        raise Malformed(f"{len(data)} bytes, the limit is {limit}")
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_ELEMENTS:  # commas in texts count too
        raise Malformed(f"more than {MAX_ELEMENTS} elements")
    try:
        value = json.loads(data, parse_int=_whole)
    except (ValueError, RecursionError) as e:
        raise Malformed(f"not JSON: {e}") from None
    check_depth(value)
    return value


def _whole(digits: str) -> int:
    value = int(digits)
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError(f"{digits[:40]} does not fit 64 bits")
    return value


def _no_extension(code: int, data: bytes) -> Any:
    # A handle to a tensor is an extension; from outside it would be a forged one.
    raise Malformed(f"extension type {code} is not taken from outside")


def check_depth(value: Any, limit: int = MAX_DEPTH) -> None:
    """Raise Malformed when `value` nests maps and lists deeper than `limit`."""
    level = [value]
    for _ in range(limit):
        level = [
            child
            for parent in level
            if isinstance(parent, (dict, list))
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise Malformed(f"nested deeper than {limit}")
