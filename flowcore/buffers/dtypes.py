"""Element types, without numpy: an idle node that never sees a tensor does not pay for importing it.

Two spellings: numpy's `dtype.str` travels ("|u1", "<f4", ">i2", "<M8[ns]"), names are what people write ("uint8").
"""

import functools
import math
import re
from collections.abc import Sequence

from flowcore.bus.envelope import Malformed, check_dtype

_TYPESTR = re.compile(r"[<>|]([biufcmMSU])(\d{1,9})(\[\w+\])?", re.ASCII)
_SIZES = {
    "b": (1,),
    "i": (1, 2, 4, 8),
    "u": (1, 2, 4, 8),
    "f": (2, 4, 8),
    "c": (8, 16),
    "m": (8,),
    "M": (8,),
}
_NAMES = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex", "m": "timedelta64", "M": "datetime64"}
_CODES = {f"{_NAMES[kind]}{8 * size}": (kind, size) for kind in "iufc" for size in _SIZES[kind]} | {"bool": ("b", 1)}
MAX_DIMS = 32


@functools.lru_cache(maxsize=256)
def itemsize(typestr: str) -> int:
    """Bytes of one element.

    Raises:
        Malformed: not a dtype that may travel.
    """
    found = _TYPESTR.fullmatch(typestr)
    if found is not None:
        kind, size = found[1], int(found[2])
        if kind == "U" and size > 0:
            return 4 * size
        if (kind == "S" and size > 0) or size in _SIZES.get(kind, ()):
            return size
    raise Malformed(f"{typestr[:40]!r} is no dtype of a tensor")


@functools.lru_cache(maxsize=256)
def name_of(typestr: str) -> str:
    """The name of a dtype as numpy has it: "uint8" for "|u1", "float32" for "<f4" and for ">f4"."""
    kind, size, unit = typestr[1], typestr[2:].partition("[")[0], typestr[2:].partition("[")[2]
    if kind == "b":
        return "bool"
    if kind in "mM":
        return _NAMES[kind] + (f"[{unit}" if unit else "")
    if kind in "SU":
        return f"{'bytes' if kind == 'S' else 'str'}{8 * itemsize(typestr)}"
    return f"{_NAMES[kind]}{8 * int(size)}"


@functools.lru_cache(maxsize=256)
def typestr_of(dtype: object) -> str:
    """The travelling form of a dtype given as name, numpy dtype or numpy scalar type.

    Raises:
        TypeError: not a dtype, or one that cannot travel.
    """
    if isinstance(dtype, str) and dtype in _CODES:
        kind, size = _CODES[dtype]
        return f"{'|' if size == 1 else '<'}{kind}{size}"
    import numpy as np

    typestr = np.dtype(dtype).str  # type: ignore[call-overload]
    check_dtype(typestr)
    return typestr


def size_of(typestr: str, shape: Sequence[int]) -> int:
    """Bytes of an array."""
    return math.prod(shape) * itemsize(typestr)
