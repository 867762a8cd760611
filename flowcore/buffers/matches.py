"""Whether a tensor is what a port's type asks for, when the message is there."""

import functools
from typing import Any

from flowcore.buffers.dtypes import name_of


def mismatch(value: Any, port_type: str) -> str | None:
    """What is wrong with a tensor or numpy array for a port of this type, None when nothing is.

    Types are those of `flowcore.flow.types`: `tensor`, `tensor[uint8]`, `tensor[uint8, ?, ?, 3]`, `tensor[?, 4, ...]`,
    `frame`. A dimension is a number, `?` (any), a name (any, and the same wherever it stands), `...` (any number of
    dimensions, last). Other types ask for no tensor: nothing is wrong.
    """
    wanted = _wanted(port_type)
    if wanted is None:
        return None
    shape = getattr(value, "shape", None)
    if shape is None or not hasattr(value, "dtype"):
        return f"a {type(value).__name__}, where {port_type} is wanted"
    dtype, lengths, has_more = wanted
    is_right = dtype in ("", "?", "any", _dtype_of(value)) and (
        len(shape) in (2, 3) if port_type == "frame" else _fits(shape, lengths, has_more)
    )
    return None if is_right else f"a tensor of {_dtype_of(value)} {tuple(shape)}, where {port_type} is wanted"


def matches(value: Any, port_type: str) -> bool:
    """Whether a tensor or numpy array may go into a port of this type; see `mismatch`."""
    return mismatch(value, port_type) is None


def _dtype_of(value: Any) -> str:
    return value.dtype if isinstance(value.dtype, str) else name_of(value.dtype.str)


@functools.lru_cache(maxsize=256)
def _wanted(port_type: str) -> tuple[str, tuple[str, ...], bool] | None:
    """Dtype, dimensions, and whether more may follow."""
    if port_type == "frame":
        return "uint8", (), True
    base, _, rest = port_type.partition("[")
    if base != "tensor":
        return None
    dtype, *lengths = (part.strip() for part in rest.rstrip("]").split(","))
    if not lengths:
        return dtype, (), True
    has_more = lengths[-1] == "..."
    return dtype, tuple(lengths[:-1] if has_more else lengths), has_more


def _fits(shape: tuple[int, ...], lengths: tuple[str, ...], has_more: bool) -> bool:
    if len(shape) < len(lengths) or (len(shape) > len(lengths) and not has_more):
        return False
    named: dict[str, int] = {}
    for length, wanted in zip(shape, lengths, strict=False):
        if wanted.isdigit():
            if length != int(wanted):
                return False
        elif wanted != "?" and named.setdefault(wanted, length) != length:
            return False
    return True
