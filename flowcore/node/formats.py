"""Bytes of a program outside to a payload and back, in one of five forms: what MQTT, NATS and file nodes share."""

import json
from typing import Any, Literal

from flowcore.bus.envelope import Malformed, pack, unpack_foreign

Format = Literal["auto", "json", "msgpack", "text", "bytes"]


class BadPayload(ValueError):
    """Bytes that are not what the node's `format` says, or a payload that cannot be written so."""


def read(data: bytes, form: Format) -> Any:
    """The payload that `data` holds.

    `auto`: JSON where it is JSON, else text where it is UTF-8, else bytes.

    Raises:
        BadPayload: it is not in that form.
    """
    if form == "bytes":
        return data
    if form == "msgpack":
        try:
            return unpack_foreign(data)
        except Malformed as e:
            raise BadPayload(f"{e} ({_begin(data)})") from None
    try:
        text = data.decode()
    except UnicodeDecodeError as e:
        if form == "auto":
            return data
        raise BadPayload(f"not UTF-8 text: {e.reason} at byte {e.start} ({_begin(data)})") from None
    if form == "text":
        return text
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as e:
        if form == "auto":
            return text
        raise BadPayload(f"not JSON: {e} ({_begin(data)})") from None


def write(payload: Any, form: Format) -> bytes:
    """The bytes of a payload.

    `auto`: bytes and text as they are, all else as JSON.

    Raises:
        BadPayload: it cannot be written in that form.
    """
    if form in ("auto", "bytes") and isinstance(payload, (bytes, bytearray, memoryview)):
        return bytes(payload)
    if form in ("auto", "text") and isinstance(payload, str):
        return payload.encode("utf-8", "replace")
    if form == "bytes":
        raise BadPayload(f"format 'bytes' needs bytes, got {type(payload).__name__}")
    try:
        if form == "msgpack":
            return pack(payload)
        if form == "text" and isinstance(payload, (bytes, bytearray)):
            return payload.decode().encode()
        text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")
    except (TypeError, ValueError, OverflowError, RecursionError) as e:
        raise BadPayload(f"this payload can't be written as {form}: {e}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _begin(data: bytes) -> str:
    return f"{len(data)} bytes, begins with {data[:40]!r}" if data else "it is empty"
