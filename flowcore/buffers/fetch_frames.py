"""What goes to and fro when bytes of a tensor are fetched: requests and answers, packed, decoded and checked.

A request repeats the handle as it came, byte for byte, and names the part it asks for. An answer brings that part, or
its beginning, with its CRC-32, in the form in which it travels (`encode.py`); the one with the last byte also brings
the CRC-32 of the whole. Both are msgpack maps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flowcore.buffers.encode import JPEG, RAW, ZSTD, Encoding
from flowcore.buffers.handle import Handle
from flowcore.bus.envelope import Malformed, pack, unpack

MOST_A_PART = 512 * 1024  # bytes; less where the server's max_payload is
HEAD_BYTES = 1024  # of an answer beside its part, at most
_LONGEST_REQUEST = 8192

EXPIRED, REFUSED, BUSY, MALFORMED = "expired", "refused", "busy", "malformed"


@dataclass(frozen=True, slots=True)
class Request:
    """`length` bytes from `offset` of what a handle names, in the given encoding."""

    handle: Handle
    encoding: Encoding | None
    offset: int
    length: int

    def packed(self) -> bytes:
        """As it travels."""
        fields = {"handle": self.handle.packed(), "offset": self.offset, "length": self.length}
        return pack(fields | {"encode": self.encoding} if self.encoding else fields)

    @staticmethod
    def unpack(data: bytes) -> "Request":
        """Decode and check.

        Raises:
            Malformed: not a request.
        """
        fields = _map(data, _LONGEST_REQUEST)
        handle, offset, length = fields.get("handle"), fields.get("offset", 0), fields.get("length", MOST_A_PART)
        if type(handle) is not bytes or not _are_counts(offset, length) or not length:
            raise Malformed("a request has a handle, an offset and a length")
        return Request(Handle.unpack(handle), _encoding(fields.get("encode")), offset, length)


@dataclass(frozen=True, slots=True)
class Answer:
    """A part of what was asked for, or why there is none.

    Attributes:
        error: expired, refused, busy or malformed; "" when there is a part.
        text: says more of an error.
        form: raw, jpeg or zstd.
        total: bytes of the whole in this form.
        crc: of `data`.
        whole: CRC-32 of all parts together; None but with the last.
    """

    error: str = ""
    text: str = ""
    form: str = RAW
    total: int = 0
    crc: int = 0
    whole: int | None = None
    data: bytes = b""

    def packed(self) -> bytes:
        """As it travels."""
        if self.error:
            return pack({"error": self.error, "text": self.text})
        fields = {"form": self.form, "total": self.total, "crc": self.crc, "data": self.data}
        return pack(fields if self.whole is None else fields | {"whole": self.whole})

    @staticmethod
    def unpack(data: bytes) -> "Answer":
        """Decode and check.

        Raises:
            Malformed: not an answer.
        """
        fields = _map(data, MOST_A_PART + HEAD_BYTES)
        if "error" in fields:
            return Answer(str(fields["error"])[:20], str(fields.get("text", ""))[:500])
        form, part, whole = fields.get("form"), fields.get("data"), fields.get("whole")
        total, crc = fields.get("total"), fields.get("crc")
        is_known = form in (RAW, JPEG, ZSTD) and type(part) is bytes
        if not is_known or not _are_counts(total, crc) or not (whole is None or _are_counts(whole)):
            raise Malformed("an answer has a form, a total, a checksum and bytes")
        return Answer("", "", str(form), total, crc, whole, part)  # type: ignore[arg-type]


def _encoding(value: Any) -> Encoding | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        kind, setting = value.get("kind"), {JPEG: ("quality", 100), ZSTD: ("level", 19)}
        if kind in setting:
            name, most = setting[kind]
            if type(value.get(name)) is int and 1 <= value[name] <= most:
                return {"kind": kind, name: value[name]}
    raise Malformed('an encoding is {"kind": "jpeg", "quality": 1 to 100} or {"kind": "zstd", "level": 1 to 19}')


def _map(data: bytes, limit: int) -> dict:
    fields = unpack(data, limit=limit)
    if type(fields) is not dict:
        raise Malformed("not a map")
    return fields


def _are_counts(*values: Any) -> bool:
    return all(type(value) is int and value >= 0 for value in values)
