"""Replicas: one consumer, several processes, a wire for each. The producer gives each message to one of them.

No queue group: it shares at random, every member sees gaps, and floors can't be merged.
"""

from collections.abc import Iterable
from zlib import crc32

from flowcore.wires.out_port import Kept
from flowcore.wires.out_wire import OutWire


class SharedWire:
    """The wires of one consumer's replicas, as one wire of the port.

    Args:
        wires: by replica number.
        by_key: the same topic always goes to the same replica, so that order holds per topic; else most credit.
    """

    cause_waits = is_waited_for = True

    def __init__(self, wires: dict[int, OutWire], by_key: bool) -> None:
        self.wires = wires
        self.leaving: list[OutWire] = []  # of replicas that have gone: what they had may still be acked
        self.by_key = by_key
        self._numbers = sorted(wires)

    def has_credit(self) -> bool:
        """By key, every replica must have room: the next message's key is not known yet."""
        wires = self.wires.values()
        return all(wire.has_credit() for wire in wires) if self.by_key else any(wire.has_credit() for wire in wires)

    def credit(self) -> int:
        """How many more messages may be sent."""
        credits = [wire.credit() for wire in self.wires.values()]
        return min(credits) if self.by_key else sum(credits)

    def add(self, kept: Kept) -> int:
        """Give the message to one replica."""
        return self._choose(kept).add(kept)

    def _choose(self, kept: Kept) -> OutWire:
        if self.by_key:
            return self.wires[self._numbers[crc32(kept.payload_key.encode()) % len(self._numbers)]]
        return max(self.wires.values(), key=lambda wire: (not wire.is_failed, wire.credit()))

    def flush(self) -> None:
        """Send what the replicas were given."""
        for wire in self.wires.values():
            wire.flush()

    def owed_messages(self) -> list[Kept]:
        """What is un-acked on any of them."""
        return [kept for wire in (*self.wires.values(), *self.leaving) for kept in wire.owed]

    def set_replicas(self, wires: dict[int, OutWire]) -> list[OutWire]:
        """Another number of replicas. Returns the wires of those that have gone; `assign_again` what they leave."""
        gone = [wire for number, wire in self.wires.items() if number not in wires]
        self.leaving += gone
        self.wires = wires
        self._numbers = sorted(wires)
        return gone

    def assign_again(self, gone: OutWire) -> None:
        """A replica has had its time to finish: the others get what it has not acked."""
        if gone in self.leaving:
            self.leaving.remove(gone)
            for kept in gone.give_up():
                self._choose(kept).take_over([kept])
            self.flush()

    def take_over(self, kept: Iterable[Kept]) -> None:
        """Owe what another wire owed."""
        for one in kept:
            self._choose(one).take_over([one])
