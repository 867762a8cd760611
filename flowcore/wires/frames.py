"""The frames of the plumbing: acks and offers, packed, decoded and checked.

An **ack** is a consumer's whole state, so a lost, repeated or late one does no harm. An **offer** is what a producer
says to one consumer: what it owes, and (a resend, a replica's feed) the messages; with none it is a tail probe.
What the body says of identity is not read: the identities are in the subject, where the server checks them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flowcore.bus.envelope import Malformed, join, pack, unpack

_OFFER_KEYS = 5  # entries of an offer map besides msgs


@dataclass(frozen=True, slots=True)
class Ack:
    """How far a consumer is on one wire.

    Attributes:
        inc: incarnation of the consuming process; n: count of its acks, so that a late one is known as such.
        epoch: of the producer, as the consumer knows it; 0: never heard.
        next: the seq it takes next; floor: all up to it are done; above: ranges done past it.
        want: send again from `next`.
    """

    inc: int
    n: int
    epoch: int
    next: int
    floor: int
    above: tuple[tuple[int, int], ...] = ()
    want: bool = False

    def pack(self) -> bytes:
        """As msgpack."""
        return pack(
            {
                "inc": self.inc,
                "n": self.n,
                "epoch": self.epoch,
                "next": self.next,
                "floor": self.floor,
                "above": self.above,
                "want": self.want,
            }
        )

    @staticmethod
    def unpack(data: bytes) -> "Ack":
        """Decode and check.

        Raises:
            Malformed: not an ack.
        """
        frame = _map(unpack(data))
        try:
            inc, n, epoch, next, floor = (_count(frame[key]) for key in ("inc", "n", "epoch", "next", "floor"))
            above = tuple((_count(low), _count(high)) for low, high in frame["above"])
            return Ack(inc, n, epoch, next, floor, above, frame["want"] is True)
        except (KeyError, TypeError, ValueError) as e:
            raise Malformed(f"not an ack: {e!r}") from None


@dataclass(frozen=True, slots=True)
class Offer:
    """What a producer owes one consumer.

    Attributes:
        epoch: incarnation of the producing process.
        first, last: lowest seq it still owes; highest it has emitted on this wire.
        prev: the seq before `msgs[0]` on this wire (a replica's wire has holes).
        now: say at once how far you are.
        msgs: envelopes, in the order of the wire, none left out between the first and the last.
    """

    epoch: int
    first: int
    last: int
    prev: int = 0
    now: bool = False
    msgs: Sequence[dict] = ()

    @staticmethod
    def unpack(data: bytes, decode: Callable[[bytes], Any] = unpack) -> "Offer":
        """Decode and check; `decode` makes values of the bytes.

        Raises:
            Malformed: not an offer.
        """
        frame = _map(decode(data))
        try:
            epoch, first, last, prev = (_count(frame[key]) for key in ("epoch", "first", "last", "prev"))
            return Offer(epoch, first, last, prev, "now" in frame["flags"], envelopes(frame["msgs"]))
        except (KeyError, TypeError, ValueError) as e:
            raise Malformed(f"not an offer: {e!r}") from None


def pack_offer(epoch: int, first: int, last: int, prev: int, now: bool, packed: Iterable[bytes]) -> bytes:
    """An offer from envelopes that are packed already."""
    head = (bytes((0x80 | (_OFFER_KEYS + 1),)), b"\xa5epoch", pack(epoch), b"\xa5first", pack(first), b"\xa4last")
    flags = ["now"] if now else []
    rest = (pack(last), b"\xa4prev", pack(prev), b"\xa5flags", pack(flags), b"\xa4msgs")
    return b"".join((*head, *rest, join(packed)))


def envelopes(value: Any) -> list[dict]:
    """Check that a decoded `out` frame or `msgs` is an array of envelopes with an epoch and a seq.

    Raises:
        Malformed: it is not.
    """
    if type(value) is not list:
        raise Malformed("not an array of envelopes")
    try:
        for envelope in value:
            if type(envelope["seq"]) is not int or type(envelope["epoch"]) is not int or "payload" not in envelope:
                raise Malformed("an envelope's epoch and seq are whole numbers, and it has a payload")
    except (TypeError, KeyError) as e:
        raise Malformed(f"not an array of envelopes: {e!r}") from None
    return value


def _map(frame: Any) -> dict:
    if type(frame) is not dict:
        raise Malformed("not a map")
    return frame


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value
