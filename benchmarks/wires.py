"""What the two ends of a wire cost a message: processor time alone, no bus, no handler.

    python benchmarks/wires.py [messages]

Prints microseconds a message for sending (number, pack, keep, join into frames), taking (unpack, check, take), acking
(done, said, freed), for one message a frame and for 64.
"""

import sys
import time
from collections.abc import Callable

from flowcore.bus.envelope import unpack
from flowcore.wires.frames import Ack, Offer, envelopes
from flowcore.wires.in_wire import InWire, Item
from flowcore.wires.out_port import Origin, OutPort
from flowcore.wires.out_wire import OutWire, WireEnds
from flowcore.wires.receipt import Cause

_PAYLOAD = {"machine": "press-7", "temp_c": 71.25, "vibration": 0.031, "ok": True}


class Wire:
    """A port, its wire and the consumer's end, joined by lists."""

    def __init__(self, window: int, is_fed_alone: bool = False) -> None:
        ends = WireEnds("f", "p", "out", "c", "in")
        self.live: list[bytes] = []
        self.offers: list[bytes] = []
        self.acks: list[bytes] = []
        self.taken: list[Item] = []
        self.port = OutPort(Origin("f", "p", 1), "out", lambda _, data: not self.live.append(data))
        self.out = OutWire(
            ends, self.port, lambda _, data: not self.offers.append(data), window=window, is_fed_alone=is_fed_alone
        )
        self.port.wires.append(self.out)
        self.end = InWire(
            ends,
            1,
            lambda _, data: not self.acks.append(data),
            self.taken.extend,
            window=window,
            is_fed_alone=is_fed_alone,
        )
        self.out.offer(0, 0.0)
        self.end.on_offer(Offer.unpack(self.offers.pop()), 0.0)
        self.acks.clear()


def measure(messages: int, a_frame: int, is_fed_alone: bool = False) -> dict[str, float]:
    """Microseconds a message of each step."""
    wire = Wire(window=max(1024, 4 * a_frame), is_fed_alone=is_fed_alone)
    spent = dict.fromkeys(("send", "take", "ack"), 0.0)

    def timed(step: str, act: Callable[[], None]) -> None:
        begun = time.perf_counter()
        act()
        spent[step] += time.perf_counter() - begun

    def send() -> None:
        for _ in range(a_frame):
            wire.port.send(_PAYLOAD, "press/7", {}, cause=Cause())
        wire.port.flush()

    def take() -> None:
        for data in wire.live:
            frame = envelopes(unpack(data))
            wire.end.on_live(frame, 0.0)
        for data in wire.offers:
            wire.end.on_offer(Offer.unpack(data), 0.0)
        wire.live.clear()
        wire.offers.clear()

    def ack() -> None:
        for item in wire.taken:
            item.one_done()
        wire.end.say_if_unsaid()
        for data in wire.acks:
            wire.out.on_ack(Ack.unpack(data), 0.0)
        wire.taken.clear()
        wire.acks.clear()

    for _ in range(messages // a_frame):
        timed("send", send)
        timed("take", take)
        timed("ack", ack)
    assert not wire.out.owed
    return {step: seconds / messages * 1e6 for step, seconds in spent.items()}


def main(messages: int) -> None:
    """Measure and print."""
    print(f"{'':26}{'send':>8}{'take':>8}{'ack':>8}{'both':>8}   us a message, {messages:,} messages")
    for name, a_frame, is_fed_alone in (
        ("one a frame", 1, False),
        ("64 a frame", 64, False),
        ("64 a frame, fed alone", 64, True),
    ):
        spent = measure(messages // a_frame * a_frame, a_frame, is_fed_alone)
        figures = "".join(f"{spent[step]:8.2f}" for step in ("send", "take", "ack"))
        print(f"{name:26}{figures}{sum(spent.values()):8.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
