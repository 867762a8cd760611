"""The consumer's end of one wire: what comes next, what is done, and what it says of that.

`InWire` is reliable: it takes each message once and in order, and asks again where it sees a gap. `LatestInWire` keeps
the newest. Sans I/O: frames come in decoded, acks go out through `publish`, taken messages through `deliver`.

Invariant: floor < next; every seq up to floor is done; deliver gets each seq of an epoch at most once, in rising order.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from flowcore.wires.frames import Ack, Offer
from flowcore.wires.out_port import Publish
from flowcore.wires.out_wire import WireEnds
from flowcore.wires.receipt import Cause

ACK_TIMER_S = 0.005
WANT_AGAIN_S = 0.05
HELLO_AGAIN_S = 1.0


class Item(Cause):
    """A message that a consumer has taken; done when its handler and all that was made of it is done."""

    __slots__ = ("envelope", "epoch", "is_done", "seq", "wire")

    is_latest = False
    is_skipped = False

    def __init__(self, wire: Any, epoch: int, seq: int, envelope: dict) -> None:
        self.open = 1
        self.wire = wire
        self.epoch = epoch
        self.seq = seq
        self.envelope = envelope
        self.is_done = False

    def finished(self) -> None:
        if not self.is_done:
            self.is_done = True
            self.wire.on_done(self)
            self.envelope = _DONE  # what was made of it may be un-acked for long, and must not keep its tensors in use


_DONE: dict = {}


class LatestItem(Item):
    """A place in the queue for a message of a latest wire: until its turn comes, a newer message may take it over."""

    __slots__ = ("is_started",)

    is_latest = True

    def __init__(self, wire: Any, epoch: int, seq: int, envelope: dict) -> None:
        super().__init__(wire, epoch, seq, envelope)
        self.is_started = False  # its turn has come


class InWire:
    """A reliable wire, as its consumer sees it.

    Args:
        ends: which wire.
        inc: incarnation of this process.
        window: as in the document; the queue holds no more than that.
        publish: sends an ack's bytes.
        deliver: takes a run of new items into the node's queue.
        is_fed_alone: a replica's or a cycle-closing wire: all messages come in offers.
    """

    delivery = "reliable"

    def __init__(
        self,
        ends: WireEnds,
        inc: int,
        publish: Publish,
        deliver: Callable[[list[Item]], None],
        *,
        window: int = 1024,
        is_fed_alone: bool = False,
    ) -> None:
        self.ends = ends
        self.inc = inc
        self.window = window
        self.epoch = 0
        self.next = 1
        self.floor = 0
        self.taken: deque[Item] = deque()  # past the floor, in order
        self.counts = {"taken": 0, "duplicates": 0, "gaps": 0, "drops": 0}
        self.is_fed_alone = is_fed_alone
        self.in_port = self.id_prefix = ""  # these six are set and read by the node's process
        self.check: Any = None
        self.encoding: Any = None
        self.page_hash = 0
        self.kind: tuple = ()
        self.on_unsaid: Callable[[], None] = lambda: None  # something is to be said within ACK_TIMER_S
        self.on_item_done: Callable[[Item], None] | None = None  # asked for by who looks after tensors
        self._n = 0
        self._publish = publish
        self._deliver = deliver
        self._applied = (0, 0)
        self._unsaid = 0
        self._old = 0  # taken of epochs that have ended, not yet done
        self._is_wanting = False
        self._is_held_back = False  # wants, and has no room
        self._want_at_s = 0.0
        self._quarter = max(1, window // 4)
        self._say_at = self._quarter  # so many done that are not said yet are said at once

    @property
    def is_hasty(self) -> bool:
        """True while it acks each message at once: somebody waits for the slots of their tensors."""
        return self._say_at == 1

    @is_hasty.setter
    def is_hasty(self, value: bool) -> None:
        self._say_at = 1 if value else self._quarter

    @property
    def queued(self) -> int:
        """Taken and not yet done."""
        return len(self.taken)

    def resize(self, window: int) -> None:
        """Another window, from now on."""
        self.window, self._quarter = window, max(1, window // 4)
        self._say_at = self._quarter

    def count_on_from(self, before: "InWire | None") -> None:
        """This process had another end of this wire: the producer believes acks in rising order only."""
        self._n = before._n if before is not None else 0

    def resume(self, applied: tuple[int, int]) -> None:
        """Begin: what lies below `applied` (epoch, next) is contained in the state this process starts from."""
        self._applied = applied

    # -- frames in ----------------------------------------------------------------------------------------------

    def on_live(self, envelopes: Sequence[dict], now_s: float) -> None:
        """A frame of the producer's public feed."""
        if not envelopes or self.is_fed_alone:
            return
        epoch, first = envelopes[0]["epoch"], envelopes[0]["seq"]
        if epoch != self.epoch:
            if epoch > self.epoch:  # only an offer changes the epoch
                self.want(now_s)
            return
        if first > self.next:
            self.counts["gaps"] += 1
            self.want(now_s)
            return
        self._take(envelopes, now_s)

    def on_offer(self, offer: Offer, now_s: float) -> None:
        """A frame meant for this wire alone: what is owed, perhaps with the messages."""
        if offer.epoch < self.epoch:
            return
        if offer.epoch > self.epoch:
            self._adopt(offer)
        if offer.first > self.next:
            self.next = offer.first
            self._advance()
        if offer.msgs and offer.prev < self.next:
            self._take(offer.msgs, now_s)
        if offer.last >= self.next:
            self.want(now_s)
            return
        self._is_wanting = False
        if not offer.msgs or offer.now or self._is_old(offer):
            self.say()

    def _is_old(self, offer: Offer) -> bool:
        """A resend of which nothing was new: the producer has missed our acks."""
        return not self.taken and offer.first <= self.floor

    def _adopt(self, offer: Offer) -> None:
        # What was taken of the old epoch is still handled; its acks go nowhere (on_done looks at the epoch).
        self.epoch = offer.epoch
        self._old += sum(not item.is_done for item in self.taken)
        self.taken.clear()
        self.next = offer.first
        if self._applied[0] == offer.epoch:
            self.next = max(self.next, self._applied[1])
        self.floor = self.next - 1
        self._want_at_s = 0.0

    def _take(self, envelopes: Sequence[dict], now_s: float) -> None:
        """Take what is new of a run that is connected to what was taken before."""
        following, epoch, room = self.next, self.epoch, self._room()
        items: list[Item] = []
        for envelope in envelopes:
            seq = envelope["seq"]
            if seq < following:
                self.counts["duplicates"] += 1
                continue
            if len(items) >= room:  # what was taken of an ended epoch still fills the window
                self.want(now_s)
                break
            items.append(Item(self, epoch, seq, envelope))
            following = seq + 1
        if items:
            self.next = following
            self.taken.extend(items)
            self.counts["taken"] += len(items)
            self._is_wanting = False
            self._deliver(items)

    def _room(self) -> int:
        return self.window + self._quarter - len(self.taken) - self._old

    def _has_room_again(self) -> bool:
        return self._is_held_back and self._room() >= self._quarter

    # -- acks out -----------------------------------------------------------------------------------------------

    def on_done(self, item: Item) -> None:
        """A taken message is done: acked by everyone that it concerns."""
        if self.on_item_done is not None:
            self.on_item_done(item)
        if item.epoch != self.epoch:
            self._old -= 1
            if self._has_room_again():
                self.on_unsaid()
            return
        taken = self.taken
        if taken and taken[0] is item:  # `_advance` for the usual order, written out: this runs for every message
            self.floor = taken.popleft().seq
        if not taken or taken[0].is_done:
            self._advance()
        self._unsaid += 1
        if self._unsaid >= self._say_at:
            self.say()
        elif self._unsaid == 1:
            self.on_unsaid()

    def _advance(self) -> None:
        taken = self.taken
        while taken and taken[0].is_done:
            self.floor = taken.popleft().seq
        if not taken:
            self.floor = self.next - 1

    def want(self, now_s: float) -> None:
        """Ask for everything from `next` on, at most every 50 ms, and not while there is no room for it."""
        self._is_wanting = True
        if self._room() <= 0:
            self._is_held_back = True
        elif now_s >= self._want_at_s:
            self._want_at_s = now_s + (WANT_AGAIN_S if self.epoch else HELLO_AGAIN_S)
            self.say(want=True)

    def say(self, want: bool = False) -> None:
        """Send the whole state of this end."""
        self._n += 1
        self._unsaid = 0
        if want or self._has_room_again():
            want, self._is_held_back = True, False
        ack = Ack(self.inc, self._n, self.epoch, self.next, self.floor, self._above(), want)
        self._publish(self.ends.ack, ack.pack())

    def _above(self) -> tuple[tuple[int, int], ...]:
        """Ranges done past the floor; on a wire with holes a range spans them."""
        ranges: list[tuple[int, int]] = []
        start = last = 0
        for item in self.taken:
            if item.is_done:
                start, last = start or item.seq, item.seq
            elif start:
                ranges.append((start, last))
                start = 0
        if start:
            ranges.append((start, last))
        return tuple(ranges[:64])

    def tick(self, now_s: float) -> None:
        """A wire that never heard its producer, or whose gap was not filled, asks (again)."""
        if self.epoch == 0 or self._is_wanting:
            self.want(now_s)

    @property
    def is_idle(self) -> bool:
        """Nothing to ask: no tick is needed."""
        return self.epoch != 0 and not self._is_wanting

    def say_if_unsaid(self) -> None:
        """The ack timer has run out."""
        if self._unsaid or self._has_room_again():
            self.say()

    def age_s(self, now_ns: int) -> float:
        """Age of the oldest message that is taken and not done."""
        return max(0.0, (now_ns - self.taken[0].envelope.get("ts", now_ns)) / 1e9) if self.taken else 0.0

    def position(self) -> tuple[int, int]:
        """(epoch, next to handle): what a state that contains all that was taken is stored with."""
        return self.epoch, self.next


class LatestInWire(InWire):
    """Newest wins: at most `keep` messages wait; older ones are skipped, counted and acked.

    A newer message takes over the place that an older one has in the node's queue, so that the queue holds no more than
    `keep` of them however long the handler takes.
    """

    delivery = "latest"

    def __init__(self, *args, keep: int = 1, **options) -> None:
        super().__init__(*args, **options)
        self._keep = keep
        self._stale: list[LatestItem] = []  # places that messages of an ended epoch still have

    def on_live(self, envelopes: Sequence[dict], now_s: float) -> None:
        if envelopes and envelopes[0]["epoch"] >= self.epoch:
            self._take_newest(envelopes)

    def on_offer(self, offer: Offer, now_s: float) -> None:
        if offer.epoch < self.epoch:
            return
        if offer.epoch > self.epoch:
            self._adopt(offer)
        if offer.first > self.next:
            self.counts["drops"] += offer.first - self.next
            self.next = offer.first
            self._advance()
        self._take_newest(offer.msgs)
        if offer.last >= self.next:
            self.want(now_s)
            return
        self._is_wanting = False
        if not offer.msgs or offer.now:
            self.say()

    def _adopt(self, offer: Offer) -> None:
        self._stale = self._waiting()
        super()._adopt(offer)

    def _waiting(self) -> list[LatestItem]:
        places = [*self._stale, *(item for item in self.taken if isinstance(item, LatestItem))]
        return [place for place in places if not (place.is_started or place.is_done)]

    def _take_newest(self, envelopes: Sequence[dict]) -> None:
        if not envelopes:
            return
        epoch = envelopes[0]["epoch"]
        if epoch > self.epoch:  # nothing is owed from before, so no offer is needed to begin
            self._adopt(Offer(epoch, envelopes[0]["seq"], envelopes[0]["seq"]))
        fresh = [envelope for envelope in envelopes if envelope["seq"] >= self.next]
        if not fresh:
            return
        newest = fresh[-self._keep :]
        self.counts["drops"] += newest[0]["seq"] - self.next
        places = self._waiting()
        waiting = [(place.epoch, place.seq, place.envelope) for place in places]
        waiting += [(epoch, envelope["seq"], envelope) for envelope in newest]
        skipped = max(0, len(waiting) - self._keep)
        self.counts["drops"] += skipped
        items: list[Item] = []
        for at, (of_epoch, seq, envelope) in enumerate(waiting[skipped:]):
            if at == len(places) + len(items):
                items.append(LatestItem(self, of_epoch, seq, envelope))
                continue
            self._old -= places[at].epoch != of_epoch
            places[at].epoch, places[at].seq, places[at].envelope = of_epoch, seq, envelope
        in_work = [item for item in self.taken if item not in places]
        self.taken = deque([*in_work, *(place for place in (*places, *items) if place.epoch == epoch)])
        self._stale = [place for place in places if place.epoch != epoch]
        self.next = newest[-1]["seq"] + 1
        self.counts["taken"] += len(newest)
        self._advance()
        self._deliver(items)

    def _advance(self) -> None:
        super()._advance()
        if self.taken:
            self.floor = max(self.floor, self.taken[0].seq - 1)
