"""What a handler gets: a message, and how a new one is made from it.

A `Message` that came in has an id (`epoch:seq` of its producer's port); one that was derived or made new has none until
it is sent. A derived message keeps the trace, the origin, the topic and the deadline of the one it comes from.
"""

import contextvars
from typing import Any

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

    __slots__ = (
        "cause",
        "deadline_ns",
        "id",
        "meta",
        "origin_ns",
        "parent",
        "payload",
        "port",
        "topic",
        "trace",
        "ts_ns",
    )

    def __init__(
        self,
        payload: Any = None,
        topic: str = "",
        meta: dict | None = None,
        *,
        port: str = "",
        id: str = "",
        ts_ns: int = 0,
        origin_ns: int = 0,
        trace: str = "",
        parent: str = "",
        deadline_ns: int | None = None,
        cause: Any = None,
    ) -> None:
        self.payload = payload
        self.topic = topic
        self.meta = meta if meta is not None else {}
        self.port = port
        self.id = id
        self.ts_ns = ts_ns
        self.origin_ns = origin_ns
        self.trace = trace
        self.parent = parent
        self.deadline_ns = deadline_ns
        self.cause = cause  # the engine's: what is acked when everything made from this message is done

    def derive(self, payload: Any = UNSET, *, topic: str = UNSET, meta: dict = UNSET, deadline_ns: int | None = UNSET):
        """A new message caused by this one; what is not given is kept (meta is copied).

        Returns:
            A Message without an id; it gets one when it is sent.
        """
        return Message(
            self.payload if payload is UNSET else payload,
            self.topic if topic is UNSET else topic,
            dict(self.meta) if meta is UNSET else meta,
            origin_ns=self.origin_ns,
            trace=self.trace,
            parent=self.id or self.parent,
            deadline_ns=self.deadline_ns if deadline_ns is UNSET else deadline_ns,
            cause=self.cause,
        )

    def __repr__(self) -> str:
        text = repr(self.payload)
        return f"Message({text if len(text) < 80 else text[:77] + '...'}, topic={self.topic!r}, port={self.port!r})"


# The message that a handler is handling now, in its task; `self.send` derives from it.
current: contextvars.ContextVar[Message | None] = contextvars.ContextVar("flowcore_current", default=None)
