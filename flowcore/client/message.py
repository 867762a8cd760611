"""What an outside program gets and sends: subjects taken apart, frames decoded into messages, values packed.

The public feed is msgpack (arrays of envelopes on `out` and `in`, one map on `status`, `log`, `error`, `debug` and
`stats`); other subjects carry what others put there: JSON, msgpack or plain bytes, tried in that order. Tensors in the
feed are `RemoteTensor`s, at any depth of a payload; from elsewhere they are refused.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from flowcore.bus.envelope import MAX_FRAME, Malformed, join, pack, unpack_foreign
from flowcore.bus.jsonable import jsonable
from flowcore.client.tensor import Memory, collecting, sender_of

_FEED = ("out", "in")


@dataclass(frozen=True)
class Address:
    """A subject taken apart; what it does not say is ""."""

    subject: str
    flow: str = ""
    node: str = ""
    kind: str = ""  # out, in, status, log, error, debug, stats
    port: str = ""

    @classmethod
    def of(cls, subject: str) -> "Address":
        """Take a subject apart; one that is not flowcore's keeps only its text."""
        parts = subject.split(".")
        if parts[0] != "flow" or len(parts) < 4:
            return cls(subject)
        if parts[3] in _FEED and len(parts) == 5:
            return cls(subject, parts[1], parts[2], parts[3], parts[4])
        return cls(subject, parts[1], parts[2], parts[3]) if len(parts) == 4 else cls(subject)


@dataclass(frozen=True)
class Message:
    """One message as it was seen on the bus.

    `id` is `epoch:seq`, the producer's incarnation and its count on that port; "" for what came from outside or is no
    envelope. Times are nanoseconds UTC, 0 where there are none.
    """

    subject: str
    payload: Any
    topic: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    flow: str = ""
    node: str = ""
    kind: str = ""
    port: str = ""
    id: str = ""
    ts_ns: int = 0
    origin_ns: int = 0
    trace: str = ""
    parent: str = ""
    deadline_ns: int | None = None

    def asdict(self) -> dict[str, Any]:
        """The message for JSON, without what is empty; bytes are {"$bytes": base64}, tensors {"$tensor": {..}}."""
        named = {name: getattr(self, name) for name in self.__dataclass_fields__}
        empty: tuple[Any, ...] = ("", 0, None, {})
        return {name: jsonable(value) for name, value in named.items() if name == "payload" or value not in empty}


def decode(subject: str, data: bytes, memory: Memory | None = None) -> list[Message]:
    """The messages of one NATS message.

    Args:
        memory: where the tensors in them get their bytes.

    Raises:
        Malformed: a feed subject that does not carry what it should.
    """
    address = Address.of(subject)
    if address.kind in _FEED:
        found: list[Any] = []
        envelopes = _envelopes(data, found)
        if found:  # a frame is one process's, so its envelopes have one epoch
            epoch = envelopes[0].get("epoch") if address.kind == "out" else None
            for part in found:
                part.bind(memory, sender_of(address.flow, address.node, address.port, epoch))
        return [_from_envelope(address, envelope) for envelope in envelopes]
    value = unpack_foreign(data, limit=MAX_FRAME, ext_hook=collecting([])) if address.kind else _anything(data)
    return [Message(subject, value, flow=address.flow, node=address.node, kind=address.kind)]


def encode(subject: str, value: Any, topic: str = "", meta: dict[str, Any] | None = None) -> bytes:
    """What to publish so that `subject` carries `value`: a frame on a node's `in`, JSON elsewhere, bytes as they are.

    Raises:
        TypeError: the value has no such form.
        ValueError: it is larger than a frame may be, or no number JSON knows (NaN).
    """
    if Address.of(subject).kind == "in":
        envelope: dict[str, Any] = {"payload": value}
        if topic:
            envelope["topic"] = topic
        if meta:
            envelope["meta"] = meta
        data = join([pack(envelope)])
    elif isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
    else:
        data = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    if len(data) > MAX_FRAME:
        raise ValueError(f"{len(data)} bytes; a frame holds at most {MAX_FRAME}")
    return data


def _envelopes(data: bytes, found: list[Any]) -> list[dict[str, Any]]:
    if data[:1] in (b"{", b"["):  # JSON from outside; no msgpack frame of envelopes begins so
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            raise Malformed("neither msgpack nor JSON") from None
    else:
        value = unpack_foreign(data, limit=MAX_FRAME, ext_hook=collecting(found))
    envelopes = value if isinstance(value, list) else [value]
    for envelope in envelopes:
        if not isinstance(envelope, dict) or "payload" not in envelope:
            raise Malformed("not an envelope: it has no payload")
    return envelopes


def _from_envelope(address: Address, envelope: dict[str, Any]) -> Message:
    epoch, seq = envelope.get("epoch"), envelope.get("seq")
    return Message(
        subject=address.subject,
        payload=envelope["payload"],
        topic=_text(envelope.get("topic")),
        meta=envelope["meta"] if isinstance(envelope.get("meta"), dict) else {},
        flow=address.flow,
        node=address.node,
        kind=address.kind,
        port=address.port,
        id=f"{epoch}:{seq}" if type(epoch) is int and type(seq) is int else "",
        ts_ns=_number(envelope.get("ts")),
        origin_ns=_number(envelope.get("origin")),
        trace=_text(envelope.get("trace")),
        parent=_text(envelope.get("parent")),
        deadline_ns=_number(envelope.get("deadline")) or None,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _anything(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        pass
    try:
        return unpack_foreign(data, limit=MAX_FRAME)
    except Malformed:
        pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
