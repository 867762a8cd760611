"""What a node publishes on `.error` and `.debug`: bodies that always fit, whatever a handler made of its message."""

import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flowcore.bus.envelope import MAX_ENVELOPE, pack
from flowcore.node.describe import pictured, settled
from flowcore.node.message import Message
from flowcore.node.preview import Budget

if TYPE_CHECKING:
    from flowcore.node.node import Node

_DEBUG_LIMIT = 8 * 1024
_TEXT_LIMIT = 8 * 1024  # of an error's text, of its traceback, of what stands for a payload that does not fit


def error_body(node: "Node", error: BaseException, message: Message | None) -> dict:
    """Who, what, the traceback, and the message."""
    text = "".join(traceback.format_exception(error))
    body: dict[str, Any] = {
        "flow": node.flow,
        "node": node.id,
        "type": type(node).type,
        "error": type(error).__name__,
        "text": _text_of(error, str) or type(error).__name__,
        "traceback": text[-_TEXT_LIMIT:],
        "ts": time.time_ns(),
    }
    if message is not None:
        body["message"] = _kept(message)
    return body


def _kept(message: Message) -> dict:
    """A message as an error carries it; a handler may have made of it what cannot be sent."""
    kept: dict[str, Any] = {
        "id": message.id,
        "port": message.port,
        "topic": message.topic,
        "payload": message.payload,
        "meta": message.meta,
        "trace": message.trace,
        "origin": message.origin_ns,
    }
    try:
        (kept["payload"], kept["meta"]), is_whole = settled([message.payload, message.meta], MAX_ENVELOPE)
        size_bytes = len(pack(kept))
    except (TypeError, ValueError):
        size_bytes = 0
    if 0 < size_bytes <= MAX_ENVELOPE + _TEXT_LIMIT:
        return kept if is_whole else kept | {"is_cut": True}
    return kept | {"payload": _text_of(message.payload), "topic": "", "meta": {}, "is_cut": True}


def with_tensors(body: dict, message: Message) -> dict:
    """The body of an error for who can open slots: with the message as its handler got it."""
    kept = {key: value for key, value in body["message"].items() if key != "is_cut"}
    return body | {"message": kept | {"topic": message.topic, "payload": message.payload, "meta": message.meta}}


def without_message(body: dict) -> dict:
    """The body of an error whose message is too large to go with it."""
    if "message" not in body:
        return body
    return body | {"message": body["message"] | {"payload": None, "meta": {}, "is_cut": True}}


def _text_of(value: Any, form: Callable[[Any], str] = repr) -> str:
    try:
        return form(value)[:_TEXT_LIMIT]
    except Exception:
        return f"<{type(value).__name__}>"


def debug_body(value: Any, message: Message | None, node: str, previews: Budget) -> dict:
    """A debug event: the value, or the beginning of its text when it is larger than the debug panel takes.

    Pictures come on top of that size, as often as `previews` lets through: an event without them is small.
    """
    body = {
        "node": node,
        "ts": time.time_ns(),
        "topic": message.topic if message else "",
        "id": message.id if message else "",
    }
    try:
        told = pictured(value, has_room=False)
        packed = pack(told)
    except (TypeError, ValueError):
        packed = b""
    if 0 < len(packed) <= _DEBUG_LIMIT:
        if told is not value and previews.takes():
            told = pictured(value, has_room=True)
        return body | {"value": told, "is_cut": False}
    return body | {"value": _text_of(value), "is_cut": True, "size_bytes": len(packed)}
