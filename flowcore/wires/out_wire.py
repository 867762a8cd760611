"""The producer's end of one wire: what is owed, window and credit, resends, tail probes.

`OutWire` is a reliable wire; `FeedbackWire` closes a cycle and never blocks; `LatestWire` owes the newest alone.
Each keeps its own list of what is owed, so that a replica's wire, which gets only some of the messages, is no special
case. Sans I/O, like the port.

Invariant: for a reliable wire, len(owed) <= window; the floor only rises within an incarnation of the consumer.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flowcore.bus import subjects
from flowcore.bus.envelope import MAX_FRAME
from flowcore.wires.frames import Ack, pack_offer
from flowcore.wires.out_port import Kept, OutPort, Publish

FIRST_RTO_S, LONGEST_RTO_S = 0.25, 5.0


@dataclass(frozen=True, slots=True)
class WireEnds:
    """Which wire, in the words of its subjects."""

    flow: str
    producer: str
    port: str
    consumer: str
    token: str  # the consumer's port, with `-<k>` for replica k

    @property
    def ack(self) -> str:
        """Where its consumer acks."""
        return subjects.ack(self.flow, self.producer, self.port, self.consumer, self.token)

    @property
    def offer(self) -> str:
        """Where its producer offers."""
        return subjects.offer(self.flow, self.producer, self.port, self.consumer, self.token)

    @property
    def out(self) -> str:
        """The public feed it listens to."""
        return subjects.out(self.flow, self.producer, self.port)

    @property
    def id(self) -> str:
        """`hot.out>alarm.in`; a replica's has its number behind it."""
        return f"{self.producer}.{self.port}>{self.consumer}.{self.token}"


class OutWire:
    """A reliable wire, as its producer sees it.

    Args:
        ends: which wire.
        port: the port it hangs on.
        publish: sends an offer's bytes.
        window, window_bytes: how much may be un-acked.
        is_fed_alone: a replica's wire, whose messages travel in offers, not on `out`.
    """

    cause_waits = True  # an input is acked only when this wire has acked what was made from it
    is_waited_for = True  # while it has no room, its port does not send

    def __init__(
        self,
        ends: WireEnds,
        port: OutPort,
        publish: Publish,
        *,
        window: int = 1024,
        window_bytes: int = 4 << 20,
        is_fed_alone: bool = False,
    ) -> None:
        self.ends = ends
        self.window, self.window_bytes = window, window_bytes
        self.owed: deque[Kept] = deque()
        self.owed_bytes = 0
        self.inc = 0  # of the consumer, as its last ack said
        self.n = -1
        self.resent = 0
        self.discarded = 0
        self.drops = 0
        self.is_failed = False  # its consumer is past its restart limit, and the wire says drop
        self._last = port.seq  # highest seq on this wire; it owes what comes after the one it begins with
        self._port = port
        self._publish = publish
        self._is_fed_alone = is_fed_alone
        self._unfed: list[Kept] = []
        self._rto_s = FIRST_RTO_S
        self._probe_at_s = 0.0

    # -- window -------------------------------------------------------------------------------------------------

    def has_credit(self) -> bool:
        """True when one more message may be sent."""
        return (len(self.owed) < self.window and self.owed_bytes < self.window_bytes) or self.is_failed

    def credit(self) -> int:
        """How many more messages may be sent."""
        if self.is_failed:
            return self.window
        return max(0, self.window - len(self.owed)) if self.owed_bytes < self.window_bytes else 0

    def add(self, kept: Kept) -> int:
        """Owe one more message. Returns 1 when its cause has to wait for this wire, else 0."""
        if self.is_failed:
            self.drops += 1
            self._last = kept.seq
            return 0
        if not self.owed:
            self._probe_at_s = kept.sent_s + self._rto_s
        self.owed.append(kept)
        self.owed_bytes += kept.size
        if self._is_fed_alone:
            self._unfed.append(kept)
        else:
            self._last = kept.seq
        return 1

    @property
    def first(self) -> int:
        """Lowest seq still owed; one past the last when nothing is."""
        return self.owed[0].seq if self.owed else self.last + 1

    @property
    def last(self) -> int:
        """Highest seq emitted on this wire."""
        return self._last

    # -- acks ---------------------------------------------------------------------------------------------------

    def on_ack(self, ack: Ack, now_s: float) -> None:
        """Take in the consumer's state; resend when it wants."""
        if ack.inc < self.inc or (ack.inc == self.inc and ack.n <= self.n):
            return  # late, or from a process that has gone
        self.inc, self.n = ack.inc, ack.n
        if ack.epoch != self._port.epoch:
            if ack.want:
                self.offer(0, now_s)
            return
        if ack.floor > self._port.seq or ack.next > self._port.seq + 1:
            return  # of messages that were never emitted: not a state this wire can be in
        had_credit = self.has_credit()
        before = len(self.owed)
        self._free(ack)
        if len(self.owed) != before:
            self._rto_s = FIRST_RTO_S
            self._port.on_freed()
        self._probe_at_s = now_s + self._rto_s
        if ack.want:
            self.offer(ack.next, now_s)
        if not had_credit and self.has_credit():
            self._port.on_credit()

    def _free(self, ack: Ack) -> None:
        owed, floor = self.owed, ack.floor
        while owed and owed[0].seq <= floor:
            kept = owed.popleft()
            self.owed_bytes -= kept.size
            kept.open -= 1  # Kept.one_done and Cause.one_done, written out: this runs for every message
            if kept.open == 0 and (cause := kept.cause) is not None:
                cause.open -= 1
                if cause.open == 0:
                    cause.finished()
        if ack.above and owed:
            is_above = _inside(ack.above)
            done = [kept for kept in owed if is_above(kept.seq)]
            if done:
                self.owed = deque(kept for kept in owed if not is_above(kept.seq))
                self.owed_bytes -= sum(kept.size for kept in done)
                for kept in done:
                    kept.one_done()

    # -- offers -------------------------------------------------------------------------------------------------

    def offer(self, from_seq: int, now_s: float) -> None:
        """Resend what is owed from `from_seq` on, in parts that fit a frame; with nothing to send, a probe."""
        self._port.flush()  # what waits on `out` goes first, or the consumer would see a gap
        parts: list[Kept] = []
        size = 0
        prev = self.first - 1
        for kept in self.owed:
            if kept.seq < from_seq:
                prev = kept.seq
                continue
            if parts and size + kept.size > MAX_FRAME - 256:
                self._send_offer(prev, parts)
                prev, parts, size = parts[-1].seq, [], 0
            parts.append(kept)
            size += kept.size
        self._send_offer(prev, parts)
        self._probe_at_s = now_s + self._rto_s

    def flush(self) -> None:
        """Send what a replica's wire was given since the last turn."""
        if self._unfed:
            batch: list[Kept] = []
            size, self._unfed, unfed = 0, [], self._unfed
            for kept in unfed:
                if batch and size + kept.size > MAX_FRAME - 256:
                    self._feed(batch)
                    batch, size = [], 0
                batch.append(kept)
                size += kept.size
            self._feed(batch)

    def _feed(self, batch: list[Kept]) -> None:
        prev, self._last = self._last, batch[-1].seq
        self._publish(self.ends.offer, self._pack(prev, batch))

    def _send_offer(self, prev: int, kept: list[Kept]) -> None:
        self.resent += len(kept)
        self._publish(self.ends.offer, self._pack(prev, kept))

    def _pack(self, prev: int, kept: Iterable[Kept]) -> bytes:
        is_half_full = len(self.owed) * 2 > self.window or self.owed_bytes * 2 > self.window_bytes
        return pack_offer(self._port.epoch, self.first, self.last, prev, is_half_full, [one.packed for one in kept])

    def tick(self, now_s: float) -> None:
        """Tail probe: owed, and nothing heard for RTO. It finds a lost last message and a lost ack."""
        if self.owed and now_s >= self._probe_at_s:
            self._rto_s = min(self._rto_s * 2, LONGEST_RTO_S)
            self._port.flush()
            self._send_offer(self.first - 1, [])
            self._probe_at_s = now_s + self._rto_s

    @property
    def is_idle(self) -> bool:
        """Nothing owed: no tick is needed."""
        return not self.owed

    # -- leaving ------------------------------------------------------------------------------------------------

    def owed_messages(self) -> list[Kept]:
        """What is un-acked, oldest first."""
        return list(self.owed)

    def give_up(self) -> list[Kept]:
        """Owe nothing more; returns what was un-acked, for another wire."""
        owed, self.owed = self.owed, deque()
        self.owed_bytes = 0
        self._unfed.clear()
        return list(owed)

    def discard(self) -> int:
        """The wire is gone (or its consumer failed and it says drop): forget what is owed, and say how many."""
        owed = self.give_up()
        self.discarded += len(owed)
        for kept in owed:
            kept.one_done()
        self._port.on_freed()
        self._port.on_credit()
        return len(owed)

    def resize(self, window: int, window_bytes: int) -> None:
        """Another window, from now on."""
        self.window, self.window_bytes = window, window_bytes
        self._port.on_credit()

    def take_over(self, kept: Iterable[Kept]) -> None:
        """Owe what another wire owed, over the window if need be, under new numbers: this one may be past the old."""
        for one in kept:
            again = self._port.renumber(one)
            if not self.add(again):
                again.one_done()
            one.one_done()


class CycleFull(Exception):
    """A wire that closes a cycle has no room: its newest message is rejected."""


class FeedbackWire(OutWire):
    """A wire that closes a cycle: it never blocks, no ack waits for it; at its bound the newest goes to `.error`."""

    cause_waits = False
    full_error: type[Exception] = CycleFull
    full_text = "a wire that closes a cycle {}; its newest message is rejected"

    def __init__(self, *args, bound: int = 1024, on_reject: Callable[[Kept, Exception], None], **options) -> None:
        super().__init__(*args, **options)
        self.window = bound
        self._is_fed_alone = True  # what is rejected must not reach the consumer by the public feed
        self._on_reject = on_reject

    def has_credit(self) -> bool:
        return True

    def credit(self) -> int:
        return 1 << 30

    def add(self, kept: Kept) -> int:
        is_full = len(self.owed) >= self.window or self.owed_bytes >= self.window_bytes
        own = None if is_full else self._port.apart(kept)
        if own is None:
            self.drops += 1
            what = "is at its bound" if is_full else "has no room for copies of tensors"
            self._on_reject(kept, self.full_error(self.full_text.format(what)))
        else:
            super().add(own)
        return 0


class NoAnswerTaken(Exception):
    """A caller takes no answers: what waits for it is at its bound."""


class AnswerWire(FeedbackWire):
    """A wire of answers, from where a call ends back to the node that made it: takes what is that caller's alone.

    As a wire that closes a cycle it never blocks and no ack waits for it: a callee that many call must not stand still
    because one of them does.
    """

    full_error: type[Exception] = NoAnswerTaken
    full_text = "a wire of answers to a caller {}; the newest is rejected"

    def __init__(self, *args, caller: str, **options) -> None:
        super().__init__(*args, **options)
        self.caller = caller

    def add(self, kept: Kept) -> int:
        return super().add(kept) if kept.caller == self.caller else 0


class LatestWire(OutWire):
    """Newest wins: owes at most `keep` messages, blocks nobody, and probes so that the newest arrives in the end."""

    cause_waits = is_waited_for = False

    def __init__(self, *args, keep: int = 1, **options) -> None:
        super().__init__(*args, **options)
        self.window = keep

    def has_credit(self) -> bool:
        return True

    def credit(self) -> int:
        return 1 << 30

    def add(self, kept: Kept) -> int:
        while len(self.owed) >= self.window:
            self.owed_bytes -= self.owed.popleft().size
        super().add(Kept(kept.seq, kept.packed, None, kept.sent_s, kept.payload_key, kept.holds))
        return 0


def _inside(ranges: Iterable[tuple[int, int]]) -> Callable[[int], bool]:
    spans = list(ranges)
    return lambda seq: any(low <= seq <= high for low, high in spans)
