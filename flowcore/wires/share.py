"""Replicas: one consumer, several processes, a wire for each. The producer gives each message to one of them.

No queue group: it shares at random, every member sees gaps, and floors can't be merged (WIRES 9).
"""

from zlib import crc32

from flowcore.wires.out_port import Kept
from flowcore.wires.out_wire import OutWire


class SharedWire:
    """The wires of one consumer's replicas, as one wire of the port.

    Args:
        wires: by replica number.
        by_key: the same topic always goes to the same replica, so that order holds per topic; else most credit.
    """

    cause_waits = True

    def __init__(self, wires: dict[int, OutWire], by_key: bool) -> None:
        self.wires = wires
        self._by_key = by_key
        self._numbers = sorted(wires)

    def has_credit(self) -> bool:
        """By key, every replica must have room: the next message's key is not known yet."""
        wires = self.wires.values()
        return all(wire.has_credit() for wire in wires) if self._by_key else any(wire.has_credit() for wire in wires)

    def credit(self) -> int:
        """How many more messages may be sent."""
        credits = [wire.credit() for wire in self.wires.values()]
        return min(credits) if self._by_key else sum(credits)

    def add(self, kept: Kept) -> int:
        """Give the message to one replica."""
        return self._choose(kept).add(kept)

    def _choose(self, kept: Kept) -> OutWire:
        if self._by_key:
            return self.wires[self._numbers[crc32(kept.payload_key.encode()) % len(self._numbers)]]
        return max(self.wires.values(), key=lambda wire: (not wire.is_failed, wire.credit()))

    def flush(self) -> None:
        """Send what the replicas were given."""
        for wire in self.wires.values():
            wire.flush()

    def owed_messages(self) -> list[Kept]:
        """What is un-acked on any of them."""
        return [kept for wire in self.wires.values() for kept in wire.owed]

    def set_replicas(self, wires: dict[int, OutWire]) -> None:
        """Another number of replicas: what a replica that has gone was owed is assigned again."""
        orphans = [kept for number, wire in self.wires.items() if number not in wires for kept in wire.owed]
        self.wires = wires
        self._numbers = sorted(wires)
        for kept in sorted(orphans, key=lambda one: one.seq):
            self._choose(kept).take_over([kept])
