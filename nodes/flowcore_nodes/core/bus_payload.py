"""What the NATS nodes share: which subjects are a flow's own to use, and how bytes become payloads."""

import json
import re
from typing import Any, Literal

import msgpack

Format = Literal["json", "msgpack", "text", "bytes", "auto"]

# The engine's own plumbing, JetStream's and other users' replies: no flow may touch them.
_RESERVED = ("wire", "flowcore", "_INBOX")
_TOKEN = re.compile(r"[^\s.*>\x00-\x1f]+")


def check_subject(subject: str, *, may_write: bool, may_have_wildcards: bool = True) -> str:
    """The subject as it is.

    Raises:
        ValueError: it is no NATS subject, or one that a flow may not use.
    """
    tokens = subject.split(".")
    for place, token in enumerate(tokens):
        is_wildcard = token == "*" or (token == ">" and place == len(tokens) - 1)
        if is_wildcard and not may_have_wildcards:
            raise ValueError(f"subject {subject!r}: no wildcards here")
        if not is_wildcard and not _TOKEN.fullmatch(token):
            raise ValueError(
                f"subject {subject!r}: {token!r} is no part of a subject (words between dots; * and > alone)"
            )
    first = tokens[0]
    if first.startswith("$") or first.split("_INBOX")[0] == "" or first in _RESERVED:
        raise ValueError(f"subject {subject!r}: {first} belongs to the engine")
    if first in ("*", ">"):
        raise ValueError(f"subject {subject!r}: begin with a word, {first} takes in the engine's own subjects")
    if may_write and first == "flow" and not (len(tokens) == 5 and tokens[3] == "in"):
        raise ValueError(f"subject {subject!r}: of flow.>, a flow may only write flow.<flow>.<node>.in.<port>")
    return subject


def fits_subject(subject: str, pattern: str) -> bool:
    """True when `pattern`, which may have wildcards, takes in `subject`."""
    words, wanted = subject.split("."), pattern.split(".")
    for place, token in enumerate(wanted):
        if token == ">":
            return len(words) > place
        if place >= len(words) or (token != "*" and token != words[place]):
            return False
    return len(words) == len(wanted)


def decode(content: bytes, form: Format) -> Any:
    """The payload in `content`. Raises ValueError with what is wrong."""
    match form:
        case "bytes":
            return content
        case "text":
            try:
                return content.decode()
            except UnicodeDecodeError as e:
                raise ValueError(f"not UTF-8: {e.reason} at byte {e.start + 1}") from None
        case "json":
            try:
                return json.loads(content, parse_constant=_refuse_constant)
            except (ValueError, RecursionError) as e:
                raise ValueError(f"not JSON: {e}") from None
        case "msgpack":
            try:
                return msgpack.unpackb(content, strict_map_key=False, ext_hook=_refuse_extension, timestamp=1)
            except Exception as e:
                raise ValueError(f"not msgpack: {e or type(e).__name__}") from None
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        try:
            return content.decode()
        except UnicodeDecodeError:
            return content


def encode(payload: Any, form: Format) -> bytes:
    """`payload` as bytes. Raises TypeError or ValueError with what is wrong."""
    if form == "auto":
        form = "bytes" if isinstance(payload, bytes) else "text" if isinstance(payload, str) else "json"
    match form:
        case "json":
            return json.dumps(payload, ensure_ascii=False, allow_nan=False).encode()
        case "msgpack":
            return msgpack.packb(payload)
        case "text":
            return (payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)).encode()
    if isinstance(payload, str):
        return payload.encode()
    if not isinstance(payload, (bytes, bytearray)):
        raise TypeError(f"format bytes takes bytes or text, got {type(payload).__name__}")
    return bytes(payload)


def _refuse_extension(number: int, content: bytes) -> Any:
    raise ValueError(f"extension type {number} is the engine's own")  # a forged one could name another's buffer


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
