"""Small pictures and numbers of what is too large to be shown: tensors, and pictures that are bytes.

Everything is made of a sample of bounded size, so that a 4K frame costs no more than a small one: about a millisecond.
"""

import math
import struct
import time
import zlib
from typing import Any

_MOST_ELEMENTS = 65_536  # that numbers are made of
_WIDTH, _HEIGHT = 128, 96  # of a picture, at most
_POINTS = 64  # of a line
LARGEST_PICTURE = 512 * 1024  # bytes that are passed on as they are
SMALL_PICTURE = 1024
_EACH_S = 0.5
_SIGNS = ((b"\xff\xd8\xff", "jpeg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"GIF8", "gif"))


class Budget:
    """Lets through two a second: what is shown is looked at by people."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def takes(self) -> bool:
        """Whether there may be one more now."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + _EACH_S
        return True


def picture_format(value: Any) -> str:
    """What kind of picture these bytes are: jpeg, png, gif or webp; "": none, or no bytes."""
    if not isinstance(value, (bytes, bytearray, memoryview)):
        return ""
    head = bytes(value[:12])
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return "webp"
    return next((name for sign, name in _SIGNS if head.startswith(sign)), "")


def of_bytes(value: bytes, kind: str, is_drawn: bool) -> dict[str, Any]:
    """What a picture is, and with `is_drawn` itself: `{"$image": {"format", "size_bytes", "picture"}}`."""
    told: dict[str, Any] = {"format": kind, "size_bytes": len(value)}
    if is_drawn:
        told["picture"] = bytes(value)
    return {"$image": told}


def of_array(array: Any) -> dict[str, Any]:
    """What is in a numpy array: `min`, `max`, `mean` (`is_sample`: of a part), and a `picture` (PNG) or a `line`.

    Frames are (H, W), (H, W, 1), (H, W, 3) BGR or (H, W, 4) BGRA; other numbers than uint8 are drawn from their
    smallest, black, to their largest, white. Not finite ones count for nothing.
    """
    import numpy

    if array.dtype.kind not in "biuf" or not array.size:
        return {}
    sample, is_sample = _sample(array)
    values = sample.astype(numpy.float64).ravel()
    values = values[numpy.isfinite(values)]
    if not values.size:
        return {"min": None, "max": None, "mean": None}
    low, high = float(values.min()), float(values.max())
    told: dict[str, Any] = {"min": low, "max": high, "mean": float(values.mean())}
    if is_sample:
        told["is_sample"] = True
    if array.ndim == 1 and array.size > 1:
        points = array[:: math.ceil(array.size / _POINTS)].astype(numpy.float64)
        told["line"] = [float(one) if math.isfinite(one) else None for one in points]
    elif _is_frame(array):
        told["picture"] = _png(_pixels(array, low, high))
    return told


def _sample(array: Any) -> tuple[Any, bool]:
    if array.size <= _MOST_ELEMENTS:
        return array, False
    step = math.ceil((array.size / _MOST_ELEMENTS) ** (1 / array.ndim))
    return array[tuple(slice(None, None, step if length > 8 else 1) for length in array.shape)], True


def _is_frame(array: Any) -> bool:
    if min(array.shape[:2]) < 2:
        return False
    return array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4) and array.dtype.name == "uint8")


def _pixels(array: Any, low: float, high: float) -> Any:
    """uint8 (h, w) or (h, w, 3) RGB, small."""
    import numpy

    step = max(1, math.ceil(array.shape[0] / _HEIGHT), math.ceil(array.shape[1] / _WIDTH))
    small = array[::step, ::step]
    if small.ndim == 3:
        return small[:, :, 0] if small.shape[2] == 1 else small[:, :, 2::-1]
    if small.dtype.name == "uint8":
        return small
    spread = (high - low) or 1.0
    scaled = (numpy.nan_to_num(small.astype(numpy.float64), nan=low, posinf=high, neginf=low) - low) / spread
    return (scaled.clip(0, 1) * 255).astype(numpy.uint8)


def _png(pixels: Any) -> bytes:
    """A PNG of uint8 (h, w) grey or (h, w, 3) RGB."""
    import numpy

    height, width = pixels.shape[:2]
    flat = numpy.ascontiguousarray(pixels).reshape(height, -1)
    rows = numpy.zeros((height, flat.shape[1] + 1), numpy.uint8)  # each row begins with its filter: none
    rows[:, 1:] = flat
    colour = 2 if pixels.ndim == 3 else 0
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows.tobytes(), 3)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )
