"""The rules of the wires, each switched off in turn: does the simulation notice?

python tests/wires/mutations.py 60      prints the table of docs/wires.md, 60 schedules a graph
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from unittest import mock

from faults import play
from graphs import GRAPHS
from sim_world import Broken

from flowcore.buffers.ledger import Ledger
from flowcore.node.commit import Committer
from flowcore.node.emit import Emitter
from flowcore.runtime.incoming import Incoming
from flowcore.wires import out_wire
from flowcore.wires.in_wire import InWire
from flowcore.wires.out_port import Kept, OutPort
from flowcore.wires.out_wire import FeedbackWire, OutWire
from flowcore.wires.receipt import Receipt


def _off(owner: object, **changes: object) -> Callable[[], contextlib.AbstractContextManager]:
    return lambda: mock.patch.multiple(owner, **changes)


def _take_anything(self: InWire, envelopes: list, now_s: float) -> None:
    if envelopes[0]["epoch"] == self.epoch:
        self._take(envelopes, now_s)


_pack_offer = out_wire.pack_offer
_add = OutWire.add
_turn_ends = Committer.turn_ends
_init = Emitter.__init__


def _owe_when_heard(self: OutWire, kept: object) -> int:
    return _add(self, kept) if self.inc else 0  # type: ignore[arg-type]


def _ack_at_once(self: Committer, works: list) -> None:
    _turn_ends(self, works)
    for work in works:
        if work.open > 0 and self._works:
            work.one_done()


def _sent(self: Emitter, *args: object) -> None:
    _init(self, *args)  # type: ignore[arg-type]
    self._through = False


def _position_at_send(self: Committer, receipt: object, position: object) -> None:
    receipt.position = position  # type: ignore[attr-defined]
    self.position, self._is_position_new = position, True
    self._write_when_due()


def _pack_later(self: Committer) -> None:
    async def write() -> None:
        await self._save(*self._pack())

    self._writing = self._loop.create_task(write())


@contextlib.contextmanager
def _closing_blocks() -> Iterator[None]:
    init = FeedbackWire.__init__

    def small(self: FeedbackWire, *args: object, **options: object) -> None:
        init(self, *args, **options)  # type: ignore[arg-type]
        self.window = 8

    with mock.patch.multiple(
        FeedbackWire,
        __init__=small,
        cause_waits=True,
        has_credit=OutWire.has_credit,
        credit=OutWire.credit,
        add=OutWire.add,
    ):
        yield


def _any_epoch(self: InWire, offer: object, now_s: float) -> None:
    if offer.epoch != self.epoch:  # type: ignore[attr-defined]
        self._adopt(offer)  # type: ignore[arg-type]
    _on_offer(self, offer, now_s)  # type: ignore[arg-type]


_on_offer = InWire.on_offer
_on_ack = OutWire.on_ack


def _any_inc(self: OutWire, ack: object, now_s: float) -> None:
    self.inc, self.n = 0, -1
    _on_ack(self, ack, now_s)  # type: ignore[arg-type]


_kept, _send = Kept.__init__, OutPort.send


def _hold_nothing(self: Kept, *args: object) -> None:
    _kept(self, *args[:5])  # type: ignore[arg-type]


def _sent_is_enough(self: OutPort, *args: object, cause: object = None, **options: object) -> int:
    cause = cause if self.is_through or isinstance(cause, Receipt) else None
    return _send(self, *args, cause=cause, **options)  # type: ignore[arg-type]


async def _at_once(self: Emitter, awaited: list) -> None:
    awaited.clear()


def _as_it_is(self: OutPort, kept: Kept) -> Kept:
    return Kept(kept.seq, kept.packed, None, kept.sent_s, kept.payload_key, kept.holds)


# What is off -> (the graphs it serves, how it is switched off).
MUTATIONS: dict[str, tuple[tuple[str, ...], Callable[[], contextlib.AbstractContextManager]]] = {
    "tail probe": (("chain", "fan", "state"), _off(OutWire, tick=lambda self, now_s: None)),
    "take only next": (("chain", "fan"), _off(InWire, on_live=_take_anything)),
    "`first` in offers": (
        ("chain", "fan"),
        _off(out_wire, pack_offer=lambda epoch, first, *rest: _pack_offer(epoch, 1, *rest)),
    ),
    "`prev` in offers": (
        ("replicas",),
        _off(out_wire, pack_offer=lambda epoch, first, last, prev, *rest: _pack_offer(epoch, first, last, 0, *rest)),
    ),
    "owed from deploy": (("fan", "chain"), _off(OutWire, add=_owe_when_heard)),
    "`through`": (("chain", "fan"), _off(Emitter, __init__=_sent)),
    "position saved at the ack": (("chain",), _off(Committer, track=_position_at_send)),
    "store before ack": (("diamond", "state"), _off(Committer, turn_ends=_ack_at_once)),
    "outbox in the record": (("state", "diamond"), _off(Committer, _outbox=lambda self: ([], []))),
    "record packed between turns": (("state",), _off(Committer, _begin=_pack_later)),
    "`applied` in the record": (("state",), _off(InWire, resume=lambda self, applied: None)),
    "closing wire never blocks": (("cycle",), _closing_blocks),
    "new numbers for what a replica leaves": (("replicas",), _off(OutPort, renumber=lambda self, kept: kept)),
    "a message holds its slots until it is acked": (("frames", "made frames"), _off(Kept, __init__=_hold_nothing)),
    "readers lock what they decode": (("frames",), _off(Ledger, lock_read=lambda self, slot: True)),
    "a tensor that is gone is asked for again": (
        ("frames",),
        _off(Incoming, _usable=lambda self, wire, messages, epoch: messages),
    ),
    "a record waits for outputs with tensors": (("frames",), _off(Emitter, until_acked=_at_once)),
    "`through` for tensors": (("made frames",), _off(OutPort, send=_sent_is_enough)),
    "a closing wire carries copies": (("frame cycle",), _off(OutPort, apart=_as_it_is)),
    "want while waiting": (("fan",), _off(InWire, tick=lambda self, now_s: None)),
    "ordered epochs": (("chain",), _off(InWire, on_offer=_any_epoch)),
    "ack fence by incarnation": (("fan",), _off(OutWire, on_ack=_any_inc)),
}


def failures(name: str, graph: str, seeds: range, at_most: int = 1 << 30) -> tuple[int, str]:
    """How many schedules fail with a rule off, and what the first one said."""
    failed, said = 0, ""
    with MUTATIONS[name][1]():
        for seed in seeds:
            try:
                play(GRAPHS[graph](), seed)
            except (Broken, RuntimeError) as e:
                failed, said = failed + 1, said or str(e).splitlines()[0]
                if failed >= at_most:
                    break
    return failed, said


def main(schedules: int) -> None:
    """Print the table."""
    print("| off | graph | failed | the first said |\n|---|---|---|---|")
    for name, (graphs, _) in MUTATIONS.items():
        for graph in graphs:
            begun_s = time.perf_counter()
            failed, said = failures(name, graph, range(schedules))
            took_s = time.perf_counter() - begun_s
            print(f"| {name} | {graph} | {failed} of {schedules} | {said[:90]} |", flush=True)
            print(f"{took_s:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
