"""Values as a node keeps them in files of its own: all that a message may hold, tensors with their bytes."""

from typing import Any

from flowcore.bus.envelope import Malformed, unpack
from flowcore.node.tensors import inline_alone, pack_inline


def pack(value: Any) -> bytes:
    """Pack one value; on the event loop or in a handler.

    Raises:
        TypeError, ValueError: something in it has no form.
    """
    return pack_inline(value)


def read(data: bytes) -> Any:
    """The value again; tensors are memory of this process.

    Raises:
        ValueError: not what `pack` wrote.
    """
    try:
        return unpack(data, limit=len(data), ext_hook=inline_alone)
    except Malformed as e:
        raise ValueError(str(e)) from None
