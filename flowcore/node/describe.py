"""Tensors where they can't go: a text or a small map in errors, debug events and stored messages.

What is shown or stored lives longer than any slot, and most who read it have no use for pixels.
"""

import contextlib
import math
from typing import Any

from flowcore.buffers import BufferExpired, Codec, Spilled, Tensor
from flowcore.buffers.spilled import leaves, replaced
from flowcore.bus.envelope import INLINE, Extension, Malformed, pack
from flowcore.node.preview import LARGEST_PICTURE, SMALL_PICTURE, of_array, of_bytes, picture_format

_PREVIEWS = 4  # in one value
_SHOWN = 64  # elements of a tensor that are shown
_BEGINNING = 8 * 1024  # of a text that is too large


def description(value: Any) -> dict[str, Any]:
    """What a tensor or numpy array is, without what is in it: `{"$tensor": {"dtype", "shape", "device"}}`."""
    about = {"dtype": str(value.dtype), "shape": list(value.shape), "device": getattr(value, "device", "cpu")}
    return {"$tensor": about}


def is_tensor(value: Any) -> bool:
    """True for a tensor and for what is one to numpy."""
    return isinstance(value, Tensor) or (
        hasattr(value, "__array_interface__") and not isinstance(value, type) and bool(getattr(value, "shape", ()))
    )


def shown(value: Any) -> Any:
    """A copy of a value with a description in place of each tensor; small ones with their values."""

    def show(leaf: Any) -> Any:
        if isinstance(leaf, Spilled):
            return f"<{leaf.handle.nbytes:,} bytes>"
        if not is_tensor(leaf):
            return leaf
        told = description(leaf)
        if math.prod(leaf.shape) <= _SHOWN:
            try:
                told["$tensor"]["values"] = _array(leaf).tolist()
            except BufferExpired:
                told["$tensor"]["expired"] = True
        return told

    return replaced(value, show, makes_copy=True) if has_tensors(value) else value


def pictured(value: Any, *, has_room: bool) -> Any:
    """As `shown`, and pictures that are bytes become descriptions, too; the value itself where there is none of both.

    Args:
        has_room: tensors on the CPU say what is in them besides, and they and pictures come with what a browser can
            draw (`flowcore.node.preview`), the first few in the value.
    """
    if not any(isinstance(leaf, Spilled) or is_tensor(leaf) or picture_format(leaf) for leaf in leaves(value)):
        return value
    left, room_bytes = (_PREVIEWS, LARGEST_PICTURE) if has_room else (0, 0)

    def show(leaf: Any) -> Any:
        nonlocal left, room_bytes
        if kind := picture_format(leaf):
            is_drawn = len(leaf) <= max(room_bytes, SMALL_PICTURE)
            room_bytes -= len(leaf) if is_drawn else 0
            return of_bytes(leaf, kind, is_drawn)
        told = shown(leaf)
        if left and is_tensor(leaf) and told["$tensor"]["device"] == "cpu":
            left -= 1
            with contextlib.suppress(BufferExpired):
                told["$tensor"] |= of_array(_array(leaf))
        return told

    return replaced(value, show, makes_copy=True)


def settled(value: Any, limit_bytes: int) -> tuple[Any, bool]:
    """A copy of a value that needs no slot, and whether it is whole.

    Tensors are in it with their bytes if those are `limit_bytes` at most, all together; else as descriptions.
    """
    if not has_tensors(value):
        return value, True
    size_bytes = 0

    def measure(leaf: Any) -> Any:
        nonlocal size_bytes
        size_bytes += leaf.nbytes if is_tensor(leaf) else 0
        return leaf

    replaced(value, measure, makes_copy=True)
    is_whole = size_bytes <= limit_bytes

    def settle(leaf: Any) -> Any:
        nonlocal is_whole
        if not is_tensor(leaf):
            return leaf
        if not is_whole:
            return description(leaf)
        try:
            array = _array(leaf)
        except BufferExpired:
            is_whole = False
            return description(leaf)
        return Extension(INLINE, pack([array.dtype.str, array.shape, array.tobytes()]))

    return replaced(value, settle, makes_copy=True), is_whole


def settled_envelope(packed: bytes, codec: Codec, limit_bytes: int) -> dict[str, Any]:
    """A packed envelope as a map that needs no slot; `is_cut` says that something is missing."""
    envelope = codec.unpack(packed)
    for key in ("payload", "meta"):
        try:
            envelope[key], is_whole = settled(codec.resolve(envelope[key]), limit_bytes)
        except (BufferExpired, Malformed):  # of a large text, for one
            envelope[key], is_whole = None if key == "payload" else {}, False
        if isinstance(envelope[key], (str, bytes)) and len(envelope[key]) > limit_bytes:
            envelope[key], is_whole = envelope[key][:_BEGINNING], False
        if not is_whole:
            envelope["is_cut"] = True
    return envelope


def has_tensors(value: Any) -> bool:
    """True when a tensor or array is in a value, at any depth."""
    return any(isinstance(leaf, Spilled) or is_tensor(leaf) for leaf in leaves(value))


def _array(value: Any) -> Any:
    return value.numpy() if isinstance(value, Tensor) else value
