"""The wires that leave one process: opened, changed and closed as the deploy says, and the acks that come for them.

Knows which end a wire of the document gets, and on which subject its consumer acks. What such an end owes and when it
sends that again is its own (`flowcore.wires`); when the process may speak is `wiring`'s. Everything here runs on the
event loop, and nothing waits: a deploy is carried out in one step, between two messages.

An ack that is none, or that an outsider sent, is counted by `outside` and changes no wire.

Invariant: what is un-acked on a wire that has gone stays owed for `drain_timeout_s`: its consumer may ack it, and the
wire goes on where it was when it is added again. Then it is given to those that take over, or forgotten.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flowcore.bus import subjects
from flowcore.bus.connection import Connection
from flowcore.bus.envelope import Malformed
from flowcore.flow.resolved import WireSpec
from flowcore.node.calls import caller_of
from flowcore.node.tensors import Tensors
from flowcore.runtime.outside import Outside
from flowcore.runtime.replica_ends import ends_of
from flowcore.wires.durable import DurableWire
from flowcore.wires.frames import Ack
from flowcore.wires.out_port import Kept, Origin, OutPort, Publish
from flowcore.wires.out_wire import AnswerWire, FeedbackWire, LatestWire, OutWire
from flowcore.wires.share import SharedWire


class WiresOut:
    """The outputs of one process and the wires on them.

    Args:
        spec: as the host gives it to a process.
        connection: of this process, connected or not.
        tensors: of the process, with whose codec the ports pack.
        outside: counts what it did not take.
        publish: sends bytes once the process may speak, else returns False.
        on_held: called with a port's name and the slots that a message of it names, when that has been sent.
        on_reject: called with a message that a wire will not carry, and why.
        now_ns: what time is written into envelopes, nanoseconds UTC.

    Attributes:
        ports: by name; hidden ones from when they are first wired.
        wires: wire id -> OutWire, SharedWire or DurableWire; those that the deploy has.
        by_ack: subject of its acks -> wire, one for each replica; those too that have gone and still owe.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        connection: Connection,
        tensors: Tensors,
        outside: Outside,
        *,
        publish: Publish,
        on_held: Callable[[str, tuple[Any, ...]], None],
        on_reject: Callable[[Kept, Exception], None],
        now_ns: Callable[[], int],
    ) -> None:
        self.ports: dict[str, OutPort] = {}
        self.wires: dict[str, Any] = {}
        self.by_ack: dict[str, OutWire] = {}
        self.on_new_port: Callable[[OutPort], None] = lambda port: None  # a hidden one, wired while the node runs
        self._flow, self._node, self._replica = spec["flow"], spec["node"], spec.get("replica")
        self._origin = Origin(self._flow, self._node, spec["inc"])
        self._drain_s = spec["settings"].get("drain_timeout_s", 5.0)
        self._connection, self._codec, self._outside = connection, tensors.codec, outside
        self._publish, self._on_held, self._on_reject, self._now_ns = publish, on_held, on_reject, now_ns
        self._is_live = False
        self._specs: dict[str, WireSpec] = {}
        self._streams: Mapping[str, dict] = {}
        self._closing: dict[str, tuple[Any, WireSpec, asyncio.TimerHandle]] = {}
        self._loop = asyncio.get_running_loop()
        for name in spec["outputs"]:
            self.port(name)

    def port(self, name: str) -> OutPort:
        """An output; hidden ones come into being when they are first wired."""
        if name not in self.ports:
            self.ports[name] = OutPort(self._origin, name, self._publish, self._codec, self._on_held, self._now_ns)
            self.on_new_port(self.ports[name])
        return self.ports[name]

    # -- going live -----------------------------------------------------------------------------------------------

    async def subscribe(self) -> None:
        """Hear acks; none is taken before `go_live`."""
        await self._connection.subscribe(subjects.ack(self._flow, self._node, "*", "*", "*"), self._on_ack)

    def go_live(self) -> None:
        """This is the process of the node now."""
        self._is_live = True

    def on_up(self) -> None:
        """The bus is (back) there: offer what is owed."""
        now_s = time.monotonic()
        for wire in self.by_ack.values():
            wire.offer(0, now_s)
        for wire in self.wires.values():
            if isinstance(wire, DurableWire):
                wire.on_up()

    async def close(self) -> None:
        """End what runs by itself."""
        for wire in list(self.wires.values()):
            if isinstance(wire, DurableWire):
                await wire.close(0.0)

    # -- as the deploy says ---------------------------------------------------------------------------------------

    def rewire(self, specs: list[dict], streams: Mapping[str, dict]) -> None:
        """Have exactly these wires.

        Args:
            specs: as `WireSpec.asdict` gives them.
            streams: wire id -> stream, of the durable ones.
        """
        self._streams = streams
        wanted = {(spec := WireSpec.from_dict(one)).id: spec for one in specs}
        for wire_id in [one for one in self.wires if one not in wanted]:
            self._close(wire_id)
        for wire_id, spec in wanted.items():
            if wire_id in self._closing:
                self._reopen(wire_id)
            if wire_id not in self.wires:
                self._open(wire_id, spec)
            elif spec != self._specs[wire_id]:
                self._change(wire_id, spec)

    def _open(self, wire_id: str, spec: WireSpec, owed: Iterable[Kept] = ()) -> None:
        """Begin a wire; `owed` is what another kind of wire in its place has left."""
        port = self.port(spec.port)
        wire: Any
        if spec.delivery == "durable":
            wire = DurableWire(
                ends_of(spec, self._flow, None, None),
                port,
                self._connection,
                self._streams[wire_id],
                on_reject=self._on_reject,
                most_bytes=int((spec.durable or {}).get("max_bytes") or 64 << 20),
                by=self._replica or 0,
                is_shared=spec.replicas > 1,
                encoding=spec.encode,
            )
        elif spec.replicas > 1 and spec.delivery != "latest":
            replicas = {k: self._out_wire(spec, port, k) for k in range(spec.replicas)}
            wire = SharedWire(replicas, by_key=spec.share == "key")
        else:
            wire = self._out_wire(spec, port, None)
        self.wires[wire_id], self._specs[wire_id] = wire, spec
        port.wires.append(wire)
        if owed:
            wire.take_over(owed)
        self._begin(_each(wire))

    def _begin(self, wires: Iterable[OutWire]) -> None:
        """Say to their consumers that these wires are there."""
        for wire in wires:
            if self._is_live:
                wire.offer(0, time.monotonic())

    def _out_wire(self, spec: WireSpec, port: OutPort, replica: int | None) -> OutWire:
        """The end that speaks with the consumer, or with this replica of it."""
        ends = ends_of(spec, self._flow, self._replica, replica)
        common: dict[str, Any] = {"window": spec.window, "window_bytes": spec.window_bytes}
        # Replicas share the public feed, which has no order among them: what they send goes over wires of their own.
        is_fed_alone = replica is not None or self._replica is not None
        if spec.delivery == "latest":
            wire: OutWire = LatestWire(ends, port, self._publish, keep=spec.keep, is_fed_alone=is_fed_alone)
        elif spec.answers:
            caller = f"{spec.to_flow or self._flow}/{spec.consumer}"
            wire = AnswerWire(ends, port, self._publish, bound=spec.bound, on_reject=self._on_reject, caller=caller)
            wire.window_bytes = spec.window_bytes
            port.caller_of = caller_of
        elif spec.feedback:
            wire = FeedbackWire(ends, port, self._publish, bound=spec.bound, on_reject=self._on_reject)
        else:
            wire = OutWire(ends, port, self._publish, is_fed_alone=is_fed_alone, **common)
        self.by_ack[ends.ack] = wire
        return wire

    def _change(self, wire_id: str, spec: WireSpec) -> None:
        """Another window, more replicas: the wire goes on. Another kind of wire takes over what is owed."""
        wire, old = self.wires[wire_id], self._specs[wire_id]
        if _kind(old) != _kind(spec):
            self.port(old.port).wires.remove(wire)
            del self.wires[wire_id]
            owed = wire.owed_messages()
            for one in _each(wire):
                self._forget_acks(one)
                one.give_up()
            if isinstance(wire, DurableWire):
                self._loop.create_task(wire.close(self._drain_s))
                owed = []
            self._open(wire_id, spec, owed)
            return
        self._specs[wire_id] = spec
        if isinstance(wire, DurableWire):
            wire.encoding = spec.encode
        for one in _each(wire):
            if isinstance(one, LatestWire):
                one.resize(spec.keep, spec.window_bytes)
            else:
                one.resize(spec.bound if spec.feedback else spec.window, spec.window_bytes)
            if one.is_failed and spec.when_failed != "drop":
                one.is_failed = False
        if isinstance(wire, SharedWire):
            wire.by_key = spec.share == "key"
            if len(wire.wires) != spec.replicas:
                self._rescale(wire, spec)

    def _rescale(self, shared: SharedWire, spec: WireSpec) -> None:
        port = self.port(spec.port)
        new = {k: self._out_wire(spec, port, k) for k in range(spec.replicas) if k not in shared.wires}
        gone = shared.set_replicas({k: new[k] if k in new else shared.wires[k] for k in range(spec.replicas)})
        self._begin(new.values())

        def assign_again() -> None:
            for one in gone:
                if one in shared.leaving:
                    self._forget_acks(one)
                    shared.assign_again(one)

        self._loop.call_later(self._drain_s, assign_again)  # until then they may still ack what they took

    def _close(self, wire_id: str) -> None:
        wire = self.wires.pop(wire_id)
        spec = self._specs.pop(wire_id)
        wire.flush()
        self.port(spec.port).wires.remove(wire)
        if isinstance(wire, DurableWire):
            self._loop.create_task(wire.close(self._drain_s))
            return

        def forget() -> None:
            self._closing.pop(wire_id, None)
            for one in _each(wire):
                self._forget_acks(one)
                one.discard()

        self._closing[wire_id] = (wire, spec, self._loop.call_later(self._drain_s, forget))
        self.port(spec.port).on_credit()

    def _reopen(self, wire_id: str) -> None:
        """Added again while what it owes is still waited for: it goes on where it was."""
        wire, spec, timer = self._closing.pop(wire_id)
        timer.cancel()
        self.wires[wire_id], self._specs[wire_id] = wire, spec
        self.port(spec.port).wires.append(wire)

    def _forget_acks(self, wire: OutWire) -> None:
        if self.by_ack.get(wire.ends.ack) is wire:
            del self.by_ack[wire.ends.ack]

    def set_consumer_failed(self, wire_id: str, is_failed: bool) -> None:
        """The consumer is past its restart limit (or back): a wire that says `drop` drops, others block."""
        wire, spec = self.wires.get(wire_id), self._specs.get(wire_id)
        if wire is None or spec is None or spec.when_failed != "drop" or isinstance(wire, DurableWire):
            return
        for one in wire.wires.values() if isinstance(wire, SharedWire) else [wire]:
            one.is_failed = is_failed
            if is_failed:
                one.drops += one.discard()

    # -- while they are there -------------------------------------------------------------------------------------

    def _on_ack(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        wire = self.by_ack.get(subject)
        if wire is None or not self._is_live or self._outside.is_forged(reply, headers):
            return
        try:
            wire.on_ack(Ack.unpack(data), time.monotonic())
        except Malformed as e:
            self._outside.malformed(subject, e)

    def tick(self, now_s: float) -> bool:
        """Let them ask after what is long un-acked. Returns True while something is owed."""
        is_busy = False
        for wire in self.by_ack.values():
            wire.tick(now_s)
            is_busy = is_busy or not wire.is_idle
        return is_busy

    def unacked(self) -> dict[str, int]:
        """Wire id -> messages that a reliable or durable wire still owes."""
        return {
            wire_id: n
            for wire_id, wire in self.wires.items()
            if not isinstance(wire, LatestWire) and (n := len(wire.owed_messages()))
        }


def _each(wire: Any) -> list[OutWire]:
    """The wires of a port's wire: those of all replicas, or itself; none of a durable one."""
    if isinstance(wire, SharedWire):
        return [*wire.wires.values(), *wire.leaving]
    return [] if isinstance(wire, DurableWire) else [wire]


def _kind(spec: WireSpec) -> tuple:
    """What cannot change while a wire goes on, at its producer."""
    return spec.delivery, spec.feedback, spec.answers, spec.replicas > 1
