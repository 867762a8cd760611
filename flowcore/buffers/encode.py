"""How bytes of tensors travel where they do: as they are, as JPEG, or with zstd.

An encoding is what a wire's `"encode"` says, with all fields: `{"kind": "jpeg", "quality": 90}` or `{"kind": "zstd",
"level": 1}`. The form that was used travels beside the bytes ("raw", "jpeg", "zstd"), because what does not fit an
encoding, or would not get smaller by it, goes as it is.

    MissingLibrary   an encoding whose library is not installed, with the line that installs it

Nothing here runs fast enough for an event loop; all of it lets other threads run.
"""

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from flowcore.bus.envelope import Malformed

RAW, JPEG, ZSTD = "raw", "jpeg", "zstd"
_LONGEST_SIDE = 65_500  # pixels; libjpeg takes no more
_ZSTD = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
_LIBRARIES = {JPEG: ("cv2", "pip install 'flowcore[vision]'"), ZSTD: (_ZSTD, "pip install 'flowcore[zstd]'")}

Encoding = Mapping[str, Any]


class MissingLibrary(ImportError):
    """An encoding cannot be used here."""


def library(kind: str) -> Any:
    """The module behind an encoding.

    Raises:
        MissingLibrary: it is not installed.
    """
    name, install = _LIBRARIES[kind]
    try:
        return importlib.import_module(name)
    except ImportError as e:
        raise MissingLibrary(f"{missing(kind) or install} ({e})") from None


def missing(kind: str) -> str:
    """What to say when the library behind an encoding is not installed, "" when it is; imports nothing large."""
    name, install = _LIBRARIES[kind]
    try:
        found = importlib.util.find_spec(name)
    except ImportError:
        found = None
    return "" if found is not None else f"{kind} needs {name.partition('.')[0]}: {install}"


def encode(
    data: memoryview, dtype: str, shape: Sequence[int], encoding: Encoding | None
) -> tuple[str, bytes | memoryview]:
    """Encode the bytes of an array.

    Args:
        data: its bytes in C order.
        dtype, shape: as in its handle ("|u1", (480, 640, 3)).
    Returns:
        The form, and the bytes: `data` itself where the encoding does not apply or would not help.
    Raises:
        MissingLibrary: see there.
    """
    kind = encoding["kind"] if encoding else RAW
    coded: bytes | None = None
    if kind == JPEG and is_frame(dtype, shape):
        coded = _to_jpeg(data, shape, encoding["quality"])  # type: ignore[index]
    elif kind == ZSTD:
        coded = library(ZSTD).compress(data, encoding["level"])  # type: ignore[index]
    return (kind, coded) if coded is not None and len(coded) < len(data) else (RAW, data)


def decode(kind: str, data: bytes, dtype: str, shape: Sequence[int], nbytes: int) -> bytes:
    """The bytes of an array again, `nbytes` of them in C order.

    Raises:
        MissingLibrary: see there.
        Malformed: they are not what was said.
    """
    match kind:
        case "raw":
            plain = data
        case "jpeg" if is_frame(dtype, shape):
            plain = _from_jpeg(data, shape)
        case "zstd":
            plain = _from_zstd(data, nbytes)
        case _:
            raise Malformed(f"an encoding {kind[:20]!r} of {dtype} {tuple(shape)}")
    if len(plain) != nbytes:
        raise Malformed(f"{len(plain)} bytes where {nbytes} were announced")
    return plain


def is_frame(dtype: str, shape: Sequence[int]) -> bool:
    """Whether JPEG can hold it: uint8, (H, W), (H, W, 1) or (H, W, 3)."""
    if dtype != "|u1" or len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        return False
    return all(0 < side <= _LONGEST_SIDE for side in shape[:2])


def _to_jpeg(data: memoryview, shape: Sequence[int], quality: int) -> bytes | None:
    import numpy as np

    cv2 = library(JPEG)
    image = np.frombuffer(data, np.uint8).reshape(shape)
    done, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return coded.tobytes() if done else None


def _from_jpeg(data: bytes, shape: Sequence[int]) -> bytes:
    import numpy as np

    cv2 = library(JPEG)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as e:  # larger than OpenCV takes, for one
        raise Malformed(f"not a JPEG: {e}") from None
    if image is None or image.reshape(*image.shape[:2], -1).shape != (*shape[:2], shape[2] if len(shape) == 3 else 1):
        raise Malformed(f"not a JPEG of {tuple(shape)}")
    return image.tobytes()


def _from_zstd(data: bytes, nbytes: int) -> bytes:
    zstd = library(ZSTD)
    stream = zstd.ZstdDecompressor()
    try:
        plain = stream.decompress(data, nbytes + 1)  # one more than there should be, so that it shows
    except zstd.ZstdError as e:
        raise Malformed(f"not zstd: {e}") from None
    if not stream.eof:
        raise Malformed("zstd bytes that are cut short, or hold more than was announced")
    return plain
