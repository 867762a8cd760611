"""What a handler gets: a message, and how a new one is made from it.

A `Message` that came in has an id (`epoch:seq` of its producer's port); one that was derived or made new has none until
it is sent. A derived message keeps the trace, the origin, the topic and the deadline of the one it comes from.
"""

import contextvars
from typing import Any

_new = object.__new__
UNSET: Any = type("Unset", (), {"__repr__": lambda self: "UNSET"})()


class Message:
    """One message, as a handler gets it or returns it.

    Attributes:
        payload: anything msgpack holds.
        topic: a string that travels along, "" when there is none.
        meta: a map for the user's own notes.
        port: the input it came in by.
        id: `<node>.<port>:<epoch>:<seq>` of the message as it came in, "" for a new one.
        ts_ns, origin_ns: nanoseconds UTC: made by its producer; made at the source of the whole chain.
        trace, parent: id of the message that began the chain; id of the one that caused this one.
        deadline_ns: nanoseconds UTC past which it is of no use, or None.
    """

    # `envelope` is what the message came in, or what the message that it was derived from came in: the rarely read
    # attributes are looked up there, because one Message is made for every message that is handled.
    __slots__ = ("_deadline_ns", "_id", "_is_derived", "cause", "envelope", "meta", "payload", "port", "topic")

    def __init__(
        self,
        payload: Any = None,
        topic: str = "",
        meta: dict | None = None,
        *,
        deadline_ns: int | None = None,
        port: str = "",
        envelope: dict | None = None,
        id: str = "",
    ) -> None:
        self.payload = payload
        self.topic = topic
        self.meta = {} if meta is None else meta
        self.port = port
        self.cause: Any = None  # the engine's: what is acked when everything made from this message is done
        self.envelope: dict = _NOTHING if envelope is None else envelope
        self._id = id
        self._deadline_ns = deadline_ns
        self._is_derived = False

    @classmethod
    def arrived(cls, work: Any) -> "Message":
        """The message of a work in a node's queue; its id is made when somebody asks."""
        envelope, wire = work.envelope, work.wire
        self = _new(cls)
        self.payload = envelope["payload"]
        self.topic = envelope.get("topic") or ""
        self.meta = envelope.get("meta") or {}
        self.port = wire.in_port
        self.cause = work
        self.envelope = envelope
        self._id = None  # type: ignore[assignment]
        self._deadline_ns = envelope.get("deadline")
        self._is_derived = False
        return self

    @property
    def id(self) -> str:
        if self._is_derived:
            return ""
        if self._id is None:
            work = self.cause
            prefix = work.wire.id_prefix
            self._id = f"{prefix}{work.epoch}:{work.seq}" if prefix else ""
        return self._id

    @property
    def parent(self) -> str:
        return self._id if self._is_derived else self.envelope.get("parent") or ""

    @property
    def trace(self) -> str:
        return self.envelope.get("trace") or ""

    @property
    def ts_ns(self) -> int:
        return 0 if self._is_derived else self.envelope.get("ts") or 0

    @property
    def origin_ns(self) -> int:
        return self.envelope.get("origin") or self.envelope.get("ts") or 0

    @property
    def deadline_ns(self) -> int | None:
        return self._deadline_ns

    @deadline_ns.setter
    def deadline_ns(self, value: int | None) -> None:
        self._deadline_ns = value

    def derive(
        self, payload: Any = UNSET, *, topic: str = UNSET, meta: dict = UNSET, deadline_ns: int | None = UNSET
    ) -> "Message":
        """A new message caused by this one; what is not given is kept (meta is copied).

        Returns:
            A Message without an id; it gets one when it is sent.
        """
        derived = _new(Message)  # as in `arrived`, each attribute is set here: one is made for every message
        derived.payload = self.payload if payload is UNSET else payload
        derived.topic = self.topic if topic is UNSET else topic
        derived.meta = dict(self.meta) if meta is UNSET else meta
        derived.port = ""
        derived.cause = self.cause
        derived.envelope = self.envelope
        derived._id = self._id or self.id or self.parent
        derived._deadline_ns = self._deadline_ns if deadline_ns is UNSET else deadline_ns
        derived._is_derived = True
        return derived

    def __repr__(self) -> str:
        text = repr(self.payload)
        return f"Message({text if len(text) < 80 else text[:77] + '...'}, topic={self.topic!r}, port={self.port!r})"


_NOTHING: dict = {}


# The message that a handler is handling now, in its task; `self.send` derives from it.
current: contextvars.ContextVar[Message | None] = contextvars.ContextVar("flowcore_current", default=None)
