"""A producer's port: numbers messages, keeps what is owed, and feeds its wires.

Sans I/O: frames go out through the `publish` that was given, time comes in as an argument. A message is forgotten when
all its reliable wires have acked it; then its cause is told.

Invariant: a seq is given to a message only once it is packed, so the numbers on a port have no holes (but those of
`renumber`, which only one wire gets).
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowcore.bus import subjects
from flowcore.bus.envelope import MAX_ENVELOPE, MAX_FRAME, join, pack, plain_packer, unpack
from flowcore.wires.packing import PLAIN, Codec, MessageTooLarge
from flowcore.wires.receipt import Cause, Receipt

if TYPE_CHECKING:
    from flowcore.wires.out_wire import OutWire

Publish = Callable[[str, bytes], bool]

_pack_plain = plain_packer()  # ports send on the event loop's thread alone


class Kept:
    """One emitted message that somebody is still owed."""

    __slots__ = ("caller", "cause", "holds", "open", "packed", "payload_key", "sent_s", "seq", "size")

    def __init__(
        self, seq: int, packed: bytes, cause: Cause | None, sent_s: float, key: str, holds: tuple[Any, ...] = ()
    ) -> None:
        self.seq = seq
        self.packed = packed
        self.size = len(packed)
        self.cause = cause
        self.sent_s = sent_s  # monotonic
        self.payload_key = key  # what `"share": "key"` goes by
        self.holds = holds  # slots that its bytes name: not written again before the last Kept with them is gone
        self.caller = ""  # `<flow>/<node>` whose call it answers, where that was asked for
        self.open = 0  # wires whose ack the cause waits for

    def one_done(self) -> None:
        """One wire that the cause waits for has it behind it."""
        self.open -= 1
        if self.open == 0 and self.cause is not None:
            self.cause.one_done()


@dataclass(slots=True)
class Origin:
    """Where the producer stands: written into every envelope."""

    flow: str
    node: str
    epoch: int


class OutPort:
    """One output of one process.

    Args:
        origin: flow, node and epoch of the process.
        name: the port's.
        publish: sends bytes on a subject, at once; False when the bus is away.
        codec: packs envelopes; a process's ports share one.
        on_held: called with the port's name and the slots that a message of it names, when that has been sent.
        now_ns: what time is written into envelopes, nanoseconds UTC.
    """

    def __init__(
        self,
        origin: Origin,
        name: str,
        publish: Publish,
        codec: Codec = PLAIN,
        on_held: Callable[[str, tuple[Any, ...]], None] = lambda name, holds: None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.name = name
        self._now_ns = now_ns
        self.epoch = origin.epoch
        self.seq = 0
        self.wires: list[OutWire] = []
        self.is_public = True  # hidden ports (error, status, complete) are, too: outsiders may listen
        self.last: bytes | None = None  # newest packed envelope, for `last`
        self.is_through = True  # a cause waits for the acks of what was made; False: for those of tensors alone
        self.is_held = False  # the newest message names slots
        self.caller_of: Callable[[dict], str] | None = None  # from a message's meta; there once a wire of answers is
        self.on_credit: Callable[[], None] = lambda: None
        self.on_freed: Callable[[], None] = lambda: None  # a wire has forgotten messages that were acked
        self._codec, self._on_held = codec, on_held
        self._publish = publish
        self._subject = subjects.out(origin.flow, origin.node, name)
        self._prefix = f"{origin.node}.{name}:{origin.epoch}:"
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._unshown: list[tuple[Any, ...]] = []

    @property
    def sent(self) -> int:
        """Messages sent so far."""
        return self.seq

    def has_credit(self) -> bool:
        """False while a reliable wire's window is full: then `send` has to wait."""
        for wire in self.wires:  # noqa: SIM110 - a loop: this is asked for every message
            if not wire.has_credit():
                return False
        return True

    def credit(self) -> int:
        """How many messages the fullest wire takes now."""
        return min((wire.credit() for wire in self.wires), default=1 << 30)

    def send(
        self,
        payload: Any,
        topic: str,
        meta: dict,
        cause: Cause | None = None,
        origin_ns: int = 0,
        trace: str = "",
        parent: str = "",
        deadline_ns: int | None = None,
        now_s: float = 0.0,
    ) -> int:
        """Number, pack and keep one message; it travels at the next `flush`.

        Returns:
            Its seq.
        Raises:
            TypeError, ValueError: the payload has no msgpack form.
            MessageTooLarge: it has, but not one that fits.
            What the codec raises when there is no slot for a tensor. In all cases nothing has changed.
        """
        seq = self.seq + 1
        ts = self._now_ns()
        envelope = {
            "epoch": self.epoch,
            "seq": seq,
            "ts": ts,
            "origin": origin_ns or ts,
            "trace": trace or f"{self._prefix}{seq}",
            "parent": parent,
            "topic": topic,
            "payload": payload,
            "meta": meta,
        }
        if deadline_ns is not None:
            envelope["deadline"] = deadline_ns
        codec = self._codec
        if self.is_held:  # the one before had a tensor, and so will this
            packed = codec.pack(envelope)
        else:
            try:
                packed = _pack_plain(envelope)
            except Exception:  # a tensor, a model, or what has no form at all: the codec knows, or says what is wrong
                packed = codec.pack(envelope)
        size = len(packed)
        if size > MAX_ENVELOPE:
            packed = codec.pack_large(envelope)
            size = len(packed)
            if size > MAX_ENVELOPE:
                raise MessageTooLarge(self.name, size)
        if codec.has_taken:
            codec.has_taken, holds = False, codec.taken
            self._unshown.append(holds)
        else:
            holds = ()
        self.is_held = bool(holds)
        if not (self.is_through or holds or type(cause) is Receipt):
            cause = None
        self.seq = seq
        self.last = packed
        if self.wires:
            kept = Kept(seq, packed, cause, now_s, topic, holds)
            if self.caller_of is not None:
                kept.caller = self.caller_of(meta)
            waits = 0
            for wire in self.wires:
                waits += wire.add(kept)
            if waits and cause is not None:
                kept.open = waits
                cause.open += 1
        if self._unsent_bytes + size > MAX_FRAME - 16:
            self.flush()
        self._unsent.append(packed)
        self._unsent_bytes += size
        return seq

    def flush(self) -> None:
        """Send what piled up as one frame, and whatever single wires have to say."""
        if self._unsent:
            # While the bus is away nothing is published: the wires resend when it is back.
            self._publish(self._subject, join(self._unsent))
            self._unsent.clear()
            self._unsent_bytes = 0
        for wire in self.wires:
            wire.flush()
        if self._unshown:  # whoever asks for one has heard of it now
            for holds in self._unshown:
                self._on_held(self.name, holds)
            self._unshown.clear()

    def emit_again(self, packed: Iterable[dict], now_s: float, cause_of: Callable[[], Cause | None]) -> None:
        """Emit envelopes that an earlier process of this node owed (handed over, or stored with its state).

        They get new numbers of this epoch; trace, origin and parent are kept.
        """
        for old in packed:
            cause = cause_of()
            self.send(
                old.get("payload"),
                old.get("topic") or "",
                old.get("meta") or {},
                cause=cause,
                origin_ns=old.get("origin", 0),
                trace=old.get("trace", ""),
                parent=old.get("parent", ""),
                deadline_ns=old.get("deadline"),
                now_s=now_s,
            )
            if cause is not None:
                cause.one_done()

    def renumber(self, kept: Kept) -> Kept:
        """The same message under the port's next number, for a wire that may be past its old one.

        Its cause waits for the copy as well; the caller tells the original that it is done. Its slots are the same:
        unpacked without the codec, a handle is only bytes.
        """
        self.seq += 1
        envelope = unpack(kept.packed)
        envelope["seq"] = self.seq
        again = Kept(self.seq, pack(envelope), kept.cause, kept.sent_s, kept.payload_key, kept.holds)
        if kept.cause is not None:
            kept.cause.open += 1
            again.open = 1
        return again

    def apart(self, kept: Kept) -> Kept | None:
        """The same message for a wire that closes a cycle: copies of its tensors; None: there is no room for them.

        What waits in a cycle must not hold a slot that a node of the cycle waits for, or it stands still.
        """
        own = self._codec.apart(kept.packed) if kept.holds else (kept.packed, ())
        if own is None:
            return None
        self._on_held(self.name, own[1])
        return Kept(kept.seq, own[0], None, kept.sent_s, kept.payload_key, own[1])

    def inline(self, kept: Kept, encoding: Mapping[str, Any] | None = None) -> bytes:
        """The envelope with its tensors in it, however long: for streams and hand-overs, which outlive every slot."""
        return self._codec.inline(kept.packed, encoding) if kept.holds else kept.packed

    def owed(self) -> list[Kept]:
        """What any reliable or durable wire has not acked, oldest first."""
        found: dict[int, Kept] = {}
        for wire in self.wires:
            if wire.cause_waits:
                found.update((kept.seq, kept) for kept in wire.owed_messages())
        return [found[seq] for seq in sorted(found)]
