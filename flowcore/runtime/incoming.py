"""Frames of other nodes, decoded for each wire: tensors in them are held from here on.

A message whose tensor is gone already is not taken from a reliable wire: it is asked for again, because its producer
still owes it, and has the tensor. A latest wire leaves it out. Tried three times it is handed over all the same, and
whoever wants the bytes gets `BufferExpired`.

Frames without tensors pass through as fast as if there were none.
"""

from dataclasses import replace
from typing import Any

from flowcore.buffers.spilled import Spilled, parts
from flowcore.node.tensors import Tensors
from flowcore.wires.frames import Offer, envelopes
from flowcore.wires.in_wire import InWire, Item

_TRIES = 3


class Incoming:
    """Decodes for the wires of one process."""

    def __init__(self, tensors: Tensors) -> None:
        self.expired = 0  # messages that were not taken because a tensor was gone
        self._codec, self._resolver = tensors.codec, tensors.resolver
        self._tries: dict[InWire, tuple[int, int, int]] = {}  # epoch, seq, how often it came and was gone

    def on_live(self, wires: list[InWire], data: bytes, now_s: float) -> None:
        """A frame of a producer's public feed, for each wire that listens to it.

        Raises:
            Malformed: it is none.
        """
        codec = self._codec
        for wire in list(wires):  # decoded for each: what one input's handler changes is not another's
            seen, expired, unresolved = codec.seen, codec.expired, codec.unresolved
            frame = envelopes(codec.unpack(data))
            if codec.seen == seen:
                if wire.is_hasty:
                    wire.is_hasty = False
                wire.on_live(frame, now_s)
                continue
            self._note(wire, frame)
            if codec.unresolved != unresolved:
                self._mark(frame)
            if codec.expired == expired or not frame or (frame[0]["epoch"] != wire.epoch and not _is_latest(wire)):
                wire.on_live(frame, now_s)
                continue
            usable = self._usable(wire, frame, wire.epoch)
            wire.on_live(usable, now_s)
            if len(usable) < len(frame) and not _is_latest(wire):
                wire.want(now_s)

    def on_offer(self, wire: InWire, data: bytes, now_s: float) -> None:
        """A frame for one wire alone.

        Raises:
            Malformed: it is none.
        """
        codec = self._codec
        seen, expired, unresolved = codec.seen, codec.expired, codec.unresolved
        offer = Offer.unpack(data, codec.unpack)
        if codec.seen != seen:
            self._note(wire, offer.msgs)
            if codec.unresolved != unresolved:
                self._mark(offer.msgs)
            if codec.expired != expired:
                offer = replace(offer, msgs=self._usable(wire, list(offer.msgs), offer.epoch))
        elif wire.is_hasty and offer.msgs:
            wire.is_hasty = False
        wire.on_offer(offer, now_s)

    def _note(self, wire: InWire, messages: Any) -> None:
        """These have tensors: their acks are waited for, and what is held when they are done is listed."""
        wire.is_hasty = True
        wire.on_item_done = self._on_done
        for envelope in messages:
            leases = self._codec.lingering.of([envelope["payload"], envelope.get("meta")])
            if leases:
                envelope["leases"] = leases

    def _on_done(self, item: Item) -> None:
        leases = item.envelope.get("leases")
        if leases:
            wire = item.wire
            self._codec.lingering.done(leases, wire.in_port, f"{wire.id_prefix}{item.epoch}:{item.seq}")

    def _mark(self, messages: Any) -> None:
        """Note in each message what has to be put in place or fetched."""
        for envelope in messages:
            found = [part for part in _parts(envelope) if isinstance(part, Spilled) or part.state == "remote"]
            if found:
                envelope["unresolved"] = found
                self._resolver.is_used = True

    def _usable(self, wire: InWire, messages: list[dict], epoch: int) -> list[dict]:
        """The messages that can be taken: of a reliable wire those before the first that is not whole."""
        following = wire.next if wire.epoch == epoch else 0
        usable: list[dict] = []
        for envelope in messages:
            seq = envelope["seq"]
            gone = [part for part in _parts(envelope) if part.state == "expired"] if seq >= following else []
            if gone and not self._was_tried(wire, epoch, seq):
                self.expired += 1
                if _is_latest(wire):
                    continue
                break
            if any(isinstance(part, Spilled) for part in gone):
                envelope["unresolved"] = gone  # it fails before its handler
                self._resolver.is_used = True
            usable.append(envelope)
        return usable

    def _was_tried(self, wire: InWire, epoch: int, seq: int) -> bool:
        """True when this message came often enough."""
        if _is_latest(wire):
            return False
        known = self._tries.get(wire)
        tries = known[2] + 1 if known is not None and known[:2] == (epoch, seq) else 1
        self._tries[wire] = epoch, seq, tries
        return tries > _TRIES


def _parts(envelope: dict) -> list:
    return parts([envelope["payload"], envelope.get("meta")])


def _is_latest(wire: InWire) -> bool:
    return wire.delivery == "latest"
