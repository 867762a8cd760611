"""Both ends of a wire without a bus: what one frame does to them."""

import asyncio
import json

import pytest

from flowcore.bus.envelope import Malformed, pack, unpack
from flowcore.wires.durable import DurableWire
from flowcore.wires.frames import Ack, Offer, envelopes, pack_offer
from flowcore.wires.in_wire import InWire, LatestInWire
from flowcore.wires.out_port import Origin, OutPort
from flowcore.wires.out_wire import FIRST_RTO_S, LONGEST_RTO_S, FeedbackWire, LatestWire, OutWire, WireEnds
from flowcore.wires.packing import MessageTooLarge
from flowcore.wires.receipt import Cause, Joined, Receipt
from flowcore.wires.share import SharedWire

ENDS = WireEnds("f", "p", "out", "c", "in")


class Wire:
    """A port with a wire and its consumer's end; frames wait in `live`, `offers` and `acks`."""

    def __init__(self, kind=OutWire, in_kind=InWire, window=4, epoch=1, inc=1, is_fed_alone=False, **options):
        self.live, self.offers, self.acks, self.taken = [], [], [], []
        self.port = OutPort(Origin("f", "p", epoch), "out", lambda subject, data: self.live.append(data) or True)
        more = {} if kind is FeedbackWire else {"window": window, "is_fed_alone": is_fed_alone}
        self.out = kind(ENDS, self.port, lambda subject, data: self.offers.append(data) or True, **more, **options)
        self.port.wires.append(self.out)
        self.window, self.in_kind, self.is_fed_alone = window, in_kind, is_fed_alone or kind is FeedbackWire
        self.new_consumer(inc)

    def new_consumer(self, inc):
        options = {"window": self.window, "is_fed_alone": self.is_fed_alone}
        self.end = self.in_kind(ENDS, inc, lambda s, data: self.acks.append(data) or True, self.taken.extend, **options)

    def send(self, *payloads, cause=None):
        for payload in payloads:
            self.port.send(payload, "", {}, cause=cause)
        self.port.flush()

    def carry(self, now_s=0.0):
        """Deliver until nobody says anything."""
        while self.live or self.offers or self.acks:
            while self.live:
                self.end.on_live(envelopes(unpack(self.live.pop(0))), now_s)
            while self.offers:
                self.end.on_offer(Offer.unpack(self.offers.pop(0)), now_s)
            while self.acks:
                self.out.on_ack(Ack.unpack(self.acks.pop(0)), now_s)
            now_s += 1

    def payloads(self):
        return [item.envelope["payload"] for item in self.taken]


def connected(**options):
    wire = Wire(**options)
    wire.out.offer(0, 0.0)
    wire.carry()
    return wire


def test_messages_are_taken_once_in_order_and_freed_by_the_ack():
    wire = connected()
    wire.send(1, 2)
    frame = wire.live[0]
    wire.carry()
    wire.end.on_live(envelopes(unpack(frame)), 0)
    assert wire.payloads() == [1, 2]
    assert wire.end.counts["duplicates"] == 2
    assert [kept.seq for kept in wire.out.owed] == [1, 2]
    for item in wire.taken:
        item.one_done()
    wire.end.say()
    wire.carry()
    assert not wire.out.owed


def test_a_gap_is_asked_for_and_filled():
    wire = connected()
    wire.send(1)
    wire.live.clear()  # lost
    wire.send(2)
    wire.carry(now_s=1)
    assert wire.payloads() == [1, 2]


def test_the_window_is_credit_and_an_ack_gives_it_back():
    wire = connected(window=2)
    wire.send(1, 2)
    assert not wire.port.has_credit()
    wire.carry()
    wire.taken[0].one_done()
    wire.end.say()
    wire.carry()
    assert wire.port.credit() == 1


def test_bytes_are_credit_too():
    wire = connected(window=100, window_bytes=1000)
    wire.send("x" * 1500)
    assert not wire.port.has_credit()


def test_done_out_of_order_is_said_above_the_floor_and_freed():
    wire = connected()
    wire.send(1, 2, 3)
    wire.carry()
    wire.taken[1].one_done()
    wire.end.say()
    assert Ack.unpack(wire.acks[0]).above == ((2, 2),)
    wire.carry()
    assert [kept.seq for kept in wire.out.owed] == [1, 3]


def test_a_lost_last_message_is_found_by_the_probe_whose_time_doubles():
    wire = connected()
    wire.send(1)
    wire.live.clear()
    now_s, waits = 0.0, []
    for _ in range(7):
        begun_s = now_s
        while not wire.offers:
            now_s += 0.01
            wire.out.tick(now_s)
        waits.append(now_s - begun_s)
        last = wire.offers.pop()
    assert waits[0] == pytest.approx(FIRST_RTO_S, abs=0.02)
    assert waits[-1] == pytest.approx(LONGEST_RTO_S, abs=0.02)
    wire.end.on_offer(Offer.unpack(last), now_s)
    wire.carry(now_s)
    assert wire.payloads() == [1]


def test_a_late_ack_or_one_of_an_older_process_changes_nothing():
    wire = connected(inc=5)
    wire.send(1, 2)
    before = (wire.out.inc, wire.out.n)
    wire.out.on_ack(Ack(4, 99, 1, 3, 2), 0)
    wire.out.on_ack(Ack(5, 0, 1, 3, 2), 0)
    assert (wire.out.inc, wire.out.n) == before
    assert len(wire.out.owed) == 2


def test_an_ack_of_what_was_never_sent_changes_nothing():
    wire = connected()
    wire.send(1)
    wire.out.on_ack(Ack(1, 50, 1, 100, 99), 0)
    assert len(wire.out.owed) == 1


def test_a_new_process_of_the_consumer_gets_what_is_owed_and_no_more():
    wire = connected()
    wire.send(1, 2, 3)
    wire.carry()
    wire.taken[0].one_done()
    wire.end.say()
    wire.carry()
    wire.taken.clear()
    wire.new_consumer(inc=2)
    wire.end.want(0)
    wire.carry()
    assert wire.payloads() == [2, 3]


def test_a_state_that_contains_messages_is_not_given_them_again():
    wire = connected()
    wire.send(1, 2, 3)
    wire.carry()
    wire.taken.clear()
    wire.new_consumer(inc=2)
    wire.end.resume((1, 3))
    wire.end.want(0)
    wire.carry()
    assert wire.payloads() == [3]
    assert [kept.seq for kept in wire.out.owed] == [3]


def test_only_an_offer_changes_the_epoch():
    wire = connected()
    newer = envelopes([{"epoch": 2, "seq": 1, "payload": 9}])
    wire.end.on_live(newer, 5)
    assert (wire.end.epoch, wire.taken) == (1, [])
    wire.end.on_offer(Offer(2, 1, 1, 0, False, newer), 5)
    assert wire.end.epoch == 2
    assert wire.payloads() == [9]
    wire.end.on_offer(Offer(1, 1, 9), 5)
    assert wire.end.epoch == 2


def test_a_wire_fed_alone_has_holes_and_loses_nothing_in_them():
    wire = connected(is_fed_alone=True)
    wire.send(1)
    wire.port.seq += 3  # other replicas got these
    wire.send(2)
    wire.offers.pop(0)  # the first is lost: the second must not be taken alone
    wire.carry(now_s=1)
    assert wire.payloads() == [1, 2]


def test_a_closing_wire_never_blocks_and_rejects_the_newest_at_its_bound():
    rejected = []
    wire = connected(kind=FeedbackWire, bound=2, on_reject=lambda kept, error: rejected.append(kept))
    cause = Cause()
    wire.send(1, 2, 3, cause=cause)
    assert wire.port.has_credit()
    assert [kept.seq for kept in rejected] == [3]
    assert cause.open == 1  # the handler alone
    wire.carry()
    assert wire.payloads() == [1, 2]


def test_latest_keeps_the_newest_in_the_place_of_the_one_that_waits():
    wire = connected(kind=LatestWire, in_kind=LatestInWire)
    for payload in (1, 2, 3):
        wire.send(payload)
        wire.carry()
    assert wire.payloads() == [3]
    assert wire.end.counts["drops"] == 2
    wire.taken[0].is_started = True
    wire.send(4)
    wire.carry()
    wire.send(5)
    wire.carry()
    assert wire.payloads() == [3, 5]
    assert wire.end.floor == 2


def test_latest_finds_the_lost_newest():
    wire = connected(kind=LatestWire, in_kind=LatestInWire)
    wire.send(1, 2)
    wire.live.clear()
    wire.out.tick(10.0)
    wire.carry(now_s=10)
    assert wire.payloads() == [2]


def test_replicas_share_by_credit_or_by_key():
    port = OutPort(Origin("f", "p", 1), "out", lambda subject, data: True)
    wires = {k: OutWire(ENDS, port, lambda s, d: True, window=2, is_fed_alone=True) for k in range(2)}
    shared = SharedWire(wires, by_key=False)
    port.wires.append(shared)
    for n in range(4):
        port.send(n, "t", {})
    assert [len(wire.owed) for wire in wires.values()] == [2, 2]
    assert not port.has_credit()
    for wire in wires.values():
        wire.give_up()
    shared.by_key = True
    for n in range(2):
        port.send(n, "t", {})
    assert sorted(len(wire.owed) for wire in wires.values()) == [0, 2]


def test_what_a_gone_replica_leaves_gets_new_numbers_and_keeps_its_cause():
    port = OutPort(Origin("f", "p", 1), "out", lambda subject, data: True)
    wires = {k: OutWire(ENDS, port, lambda s, d: True, is_fed_alone=True) for k in range(2)}
    shared = SharedWire(wires, by_key=False)
    port.wires.append(shared)
    cause = Receipt()
    for n in range(4):
        port.send(n, "", {}, cause=cause)
    cause.one_done()
    (gone,) = shared.set_replicas({0: wires[0]})
    left = [unpack(kept.packed)["payload"] for kept in gone.owed]
    shared.assign_again(gone)
    assert [unpack(kept.packed)["payload"] for kept in wires[0].owed][-2:] == left
    assert [kept.seq for kept in wires[0].owed][-2:] == [5, 6]
    for kept in wires[0].give_up():
        assert not cause.is_done
        kept.one_done()
    assert cause.is_done


def test_an_output_of_many_messages_keeps_all_of_them_open():
    parts = [Cause(), Cause()]
    joined = Joined(parts)
    for part in parts:
        part.one_done()
    assert [part.open for part in parts] == [1, 1]
    joined.one_done()
    assert [part.open for part in parts] == [0, 0]


def test_a_message_that_does_not_fit_changes_nothing():
    wire = connected()
    with pytest.raises(MessageTooLarge, match="262,144"):
        wire.port.send("x" * 300_000, "", {})
    with pytest.raises(TypeError):
        wire.port.send(object(), "", {})
    assert (wire.port.seq, len(wire.out.owed)) == (0, 0)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        pack([]),
        pack({}),
        pack({"inc": 1, "n": 1, "epoch": 1, "next": 1, "floor": -1, "above": [], "want": False}),
        pack({"inc": True, "n": 1, "epoch": 1, "next": 1, "floor": 0, "above": [], "want": False}),
        pack({"inc": 1, "n": 1, "epoch": 1, "next": 1, "floor": 0, "above": [[1]], "want": False}),
        pack({"epoch": 1, "first": 1, "last": 1, "prev": 0, "flags": 5, "msgs": []}),
        pack({"epoch": 1, "first": 1, "last": 1, "prev": 0, "flags": [], "msgs": [{"seq": 1}]}),
        pack({"epoch": 1, "first": "1", "last": 1, "prev": 0, "flags": [], "msgs": []}),
    ],
)
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(Malformed):
        Ack.unpack(frame)
    with pytest.raises(Malformed):
        Offer.unpack(frame)


def test_frames_come_out_as_they_went_in():
    ack = Ack(3, 4, 5, 60, 7, ((9, 10), (12, 12)), True)
    assert Ack.unpack(ack.pack()) == ack
    message = {"epoch": 1, "seq": 2, "payload": None}
    offer = Offer.unpack(pack_offer(1, 2, 3, 1, True, [pack(message)]))
    assert offer == Offer(1, 2, 3, 1, True, [message])


class ForgetfulServer:
    """Stores each publish; the answer to the first is lost."""

    def __init__(self):
        self.identities, self.asked = [], asyncio.Event()

    async def request(self, subject, data, timeout, headers):
        self.identities.append(headers["Nats-Msg-Id"])
        self.asked.set()
        if len(self.identities) == 1:
            raise TimeoutError("no answer")
        return json.dumps({"seq": 1}).encode()


async def test_a_durable_wire_publishes_again_what_it_published_and_no_more():
    """More may have piled up meanwhile; under another identity the server would store it twice."""
    server, port = ForgetfulServer(), OutPort(Origin("f", "p", 1), "out", lambda subject, data: True)
    wire = DurableWire(ENDS, port, server, {"subject": "s"})
    port.wires.append(wire)
    cause = Receipt()
    port.send(1, "", {}, cause=cause)
    port.send(2, "", {}, cause=cause)
    port.flush()
    async with asyncio.timeout(5):
        await server.asked.wait()
        late = Receipt()
        port.send(3, "", {}, cause=late)
        port.flush()
        for one in (cause, late):
            one.one_done()
            await one
    assert server.identities == ["1:1-2", "1:1-2", "1:3-3"]
    assert not wire.owed
    await wire.close(0.0)
