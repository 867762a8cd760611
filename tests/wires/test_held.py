"""What a message holds, from its port to the ack; and frames whose tensors are gone, as the consumer takes them."""

import numpy as np
import pytest

from flowcore.buffers import BufferExpired, NoRoom
from flowcore.node.tensors import Tensors
from flowcore.runtime.incoming import Incoming
from flowcore.wires.frames import Ack, pack_offer
from flowcore.wires.in_wire import InWire, LatestInWire
from flowcore.wires.out_port import Origin, OutPort
from flowcore.wires.out_wire import FeedbackWire, LatestWire, OutWire, WireEnds
from flowcore.wires.receipt import Cause

ENDS = WireEnds("f", "p", "out", "c", "in")


def frame(n):
    """200 KB: a process that may share 1 MB has four slots for it."""
    return np.full(25_000, n, np.int64)


class Ends:
    """A producer's port with memory for four frames, a wire, and a consumer's end; frames wait in lists."""

    def __init__(self, kind=OutWire, in_kind=InWire, pool_mb=1, **options):
        self.live, self.offers, self.acks, self.taken = [], [], [], []
        self.producer, self.consumer = Tensors(pool_mb << 20), Tensors(1 << 20)
        origin = Origin("f", "p", 1)
        self.port = OutPort(origin, "out", lambda _, data: not self.live.append(data), self.producer.codec)
        self.out = kind(ENDS, self.port, lambda _, data: not self.offers.append(data), **options)
        self.end = in_kind(ENDS, 1, lambda _, data: not self.acks.append(data), self.taken.extend, window=64)
        self.incoming = Incoming(self.consumer)
        self.incoming.on_offer(self.end, pack_offer(1, 1, 0, 0, False, []), 0.0)
        self.acks.clear()

    def send(self, *payloads, cause=None):
        for payload in payloads:
            self.port.send(payload, "", {}, cause=cause)
        self.port.flush()

    def take(self, now_s=0.0):
        for data in self.live:
            self.incoming.on_live([self.end], data, now_s)
        self.live.clear()

    def used(self):
        return sum(pool["used"] for pool in self.producer.stats())

    def numbers(self):
        return [int(item.envelope["payload"].numpy()[0]) for item in self.taken]


async def test_a_slot_is_held_until_the_ack_and_then_by_who_still_reads():
    ends = Ends()
    ends.port.wires.append(ends.out)
    ends.send(*[frame(n) for n in range(4)])
    with pytest.raises(NoRoom):
        ends.port.send(frame(4), "", {})
    assert ends.port.seq == 4 and ends.used() == 4
    ends.take()
    assert ends.numbers() == [0, 1, 2, 3]
    kept = ends.taken[0].envelope["payload"]
    for item in ends.taken:
        item.one_done()
    ends.taken.clear()
    del item
    ends.out.on_ack(Ack.unpack(ends.acks[-1]), 0.0)
    (pool,) = ends.producer.stats()
    assert (pool["used"], pool["waiting"]) == (0, 1)
    ends.send(frame(4), frame(5), frame(6))
    with pytest.raises(NoRoom):
        ends.port.send(frame(7), "", {})
    assert int(kept.numpy()[0]) == 0
    kept.release()
    ends.send(frame(7))


async def test_a_wire_with_tensors_acks_each_message_at_once_and_others_do_not():
    ends = Ends()
    ends.send(frame(1), 2)
    ends.take()
    ends.taken[0].one_done()
    assert Ack.unpack(ends.acks.pop()).floor == 1 and ends.end.is_hasty
    ends.send(3, 4)
    ends.take()
    for item in ends.taken[1:]:
        item.one_done()
    assert not ends.acks and not ends.end.is_hasty


async def test_with_ack_sent_an_input_waits_for_outputs_with_tensors_alone():
    ends = Ends()
    ends.port.wires.append(ends.out)
    ends.port.is_through = False
    cause = Cause()
    ends.send(1, cause=cause)
    assert cause.open == 1
    ends.send({"a": [frame(2)]}, cause=cause)
    assert cause.open == 2


async def test_what_is_gone_is_asked_for_again_and_what_was_before_it_is_taken():
    """No wire holds it: the slot of the second is written again before the consumer looks."""
    ends = Ends()
    ends.send("first", frame(2), "third")
    for n in range(4):
        ends.producer.codec.pack(frame(n))
    late = list(ends.live)
    ends.take()
    assert [item.envelope["payload"] for item in ends.taken] == ["first"]
    assert Ack.unpack(ends.acks.pop()).want and ends.end.next == 2 and ends.incoming.expired == 1
    for _ in range(3):
        ends.live += late
        ends.take(now_s=1.0)
    assert [item.seq for item in ends.taken] == [1, 2, 3]  # and then its handler hears of it
    with pytest.raises(BufferExpired, match="written again"):
        ends.taken[1].envelope["payload"].numpy()


async def test_a_latest_wire_leaves_out_what_is_gone():
    ends = Ends(kind=LatestWire, in_kind=LatestInWire)
    ends.send(frame(1))
    for n in range(4):
        ends.producer.codec.pack(frame(n))
    ends.take()
    assert not ends.taken
    ends.send(frame(9))
    ends.take()
    assert ends.numbers() == [9] and ends.end.counts["drops"] == 1


async def test_only_the_newest_is_held_for_a_latest_wire():
    ends = Ends(kind=LatestWire, in_kind=LatestInWire)
    ends.port.wires.append(ends.out)
    for n in range(20):
        ends.send(frame(n))
    assert ends.used() == 1
    ends.live[:-1] = []
    ends.take()
    assert ends.numbers() == [19]


async def test_another_kind_of_wire_takes_over_what_is_held():
    ends = Ends()
    ends.port.wires.append(ends.out)
    ends.send(frame(1), frame(2))
    other = OutWire(ENDS, ends.port, lambda *_: True)
    other.take_over(ends.out.give_up())
    assert ends.used() == 2 and [kept.seq for kept in other.owed] == [3, 4]
    other.discard()
    assert ends.used() == 0


async def test_a_closing_wire_has_slots_of_its_own_and_rejects_when_they_are_full():
    rejected = []
    ends = Ends(kind=FeedbackWire, bound=64, on_reject=lambda kept, error: rejected.append(str(error)))
    ends.port.wires.append(ends.out)
    for n in range(4):
        ends.send(frame(n))
    assert [pool["used"] for pool in ends.producer.stats()] == [0, 4]
    ends.send(frame(4))
    assert len(rejected) == 1 and "no room for copies of tensors" in rejected[0]
    for data in ends.offers:
        ends.incoming.on_offer(ends.end, data, 0.0)
    assert ends.numbers() == [0, 1, 2, 3]


async def test_a_large_payload_is_put_in_place_before_it_is_handled():
    """In the envelope is a handle; a list of numbers goes as a whole, with the tensors that are in it."""
    ends = Ends(pool_mb=8)
    ends.port.wires.append(ends.out)
    ends.send({"list": list(range(100_000)), "frame": frame(5), "text": "x" * 300_000})
    assert len(ends.live[0]) < 2000
    ends.take()
    (item,) = ends.taken
    assert ends.consumer.resolver.is_used
    await ends.consumer.resolver.resolve(item)
    payload = item.envelope["payload"]
    assert payload["list"][-1] == 99_999 and payload["text"] == "x" * 300_000 and int(payload["frame"].numpy()[7]) == 5
