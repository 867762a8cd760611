"""Tensors and large payloads in a durable stream, as the wire's `"encode"` has them: extension type 4.

A library that is missing where a message is stored is no reason to lose it: it goes as it is, and the log says so.
"""

import logging
from collections.abc import Mapping
from typing import Any

from flowcore.buffers import Tensor
from flowcore.buffers.codec import THRESHOLD
from flowcore.buffers.encode import RAW, ZSTD, MissingLibrary, decode, encode
from flowcore.buffers.handle import Kind
from flowcore.bus.envelope import Extension, Malformed, pack, unpack

ENCODED = 4
_MAX_BYTES = 1 << 30

_log = logging.getLogger("flowcore.node")
_told: set[str] = set()  # libraries whose lack was said


def encoded(leaf: Any, encoding: Mapping[str, Any]) -> Any:
    """What stands for a tensor, a text or bytes of a payload: itself, where the encoding is not for it or no gain."""
    if isinstance(leaf, Tensor):
        kind, content, dtype, shape = Kind.TENSOR, memoryview(leaf.tobytes()), leaf.typestr, leaf.shape
    elif isinstance(leaf, (str, bytes)) and len(leaf) >= THRESHOLD and encoding["kind"] == ZSTD:
        content = memoryview(leaf.encode() if isinstance(leaf, str) else leaf)
        kind, dtype, shape = Kind.TEXT if isinstance(leaf, str) else Kind.BYTES, "|u1", (len(content),)
    else:
        return leaf
    try:
        form, data = encode(content, dtype, shape, encoding)
    except MissingLibrary as e:
        if e.args[0] not in _told:
            _told.add(e.args[0])
            _log.warning("stored as it is: %s", e)
        return leaf
    if form == RAW:
        return leaf
    return Extension(ENCODED, pack([kind, dtype, shape, form, len(content), bytes(data)]))


def decoded(data: bytes) -> Any:
    """What was encoded.

    Raises:
        Malformed: it is no such thing. MissingLibrary: what it takes to read it is not installed here.
    """
    fields = unpack(data, limit=len(data))
    if type(fields) is not list or len(fields) != 6:
        raise Malformed("an encoded part is a list of 6")
    kind, dtype, shape, form, nbytes, content = fields
    if (
        type(nbytes) is not int
        or not 0 <= nbytes <= _MAX_BYTES
        or type(content) is not bytes
        or type(shape) is not list
    ):
        raise Malformed("an encoded part with wrong fields")
    plain = decode(form, content, dtype, shape, nbytes)
    if kind == Kind.TENSOR:
        return Tensor.private(dtype, tuple(shape), plain)
    return plain.decode() if kind == Kind.TEXT else plain
