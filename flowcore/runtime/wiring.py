"""The wires of one process on the bus: subjects to ports, frames to wires, timers, rewiring.

Joins `flowcore.wires` (which knows no bus) with a connection. Everything here runs on the event loop of a node process;
callbacks of the connection only queue.

Invariant: before `go` nothing is said on a wire, so an old and a new process of a node never speak at once.
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
from flowcore.node.clock import Clock, FlowClock
from flowcore.node.ports import In
from flowcore.node.tensors import Tensors
from flowcore.runtime.fetching import Fetching
from flowcore.runtime.incoming import Incoming
from flowcore.runtime.outside import Outside
from flowcore.runtime.page import wire_hash
from flowcore.wires.durable import DurableWire
from flowcore.wires.durable_in import DurableInWire
from flowcore.wires.frames import Ack
from flowcore.wires.in_wire import ACK_TIMER_S, InWire, Item, LatestInWire
from flowcore.wires.out_port import Kept, Origin, OutPort
from flowcore.wires.out_wire import AnswerWire, FeedbackWire, LatestWire, OutWire, WireEnds
from flowcore.wires.share import SharedWire

TICK_S, IDLE_TICK_S = 0.025, 0.5


class Wiring:
    """All ports and wires of one process.

    Args:
        spec: as the host gives it to a process.
        connection: of this process, connected or not.
        inputs: the class's input ports, by name.
        take: queues works for the engine.
        on_reject: called with a message that a wire will not carry, and why.
        tensors: of the process.
        clock: of its node: where it stands still, acks are said at once, since what is at rest must have said them.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        connection: Connection,
        inputs: Mapping[str, In],
        take: Callable[[list[Any]], None],
        on_reject: Callable[[Kept, Exception], None],
        tensors: Tensors,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or Clock()
        self._ack_s = 0.0 if isinstance(self._clock, FlowClock) else ACK_TIMER_S
        self.flow, self.node, self.replica = spec["flow"], spec["node"], spec.get("replica")
        self.inc = spec["inc"]
        self.connection = connection
        self.ports: dict[str, OutPort] = {}
        self.ins: dict[str, Any] = {}  # wire id (`#<k>`: from the producer's replica k) -> InWire or DurableInWire
        self.outs: dict[str, Any] = {}  # wire id -> OutWire, SharedWire or DurableWire
        self.applied: dict[str, tuple[int, int]] = {}
        self.is_live = False
        self._drain_s = spec["settings"].get("drain_timeout_s", 5.0)
        self._inputs, self._take, self._on_reject = inputs, take, on_reject
        self._codec = tensors.codec
        self.incoming = Incoming(tensors)
        self.fetching = Fetching(
            self.flow,
            spec["process"],
            self.inc,
            connection,
            tensors,
            deliver=take,
            is_open=lambda wire: wire in self.ins.values(),
        )
        self.on_active: Callable[[], None] = lambda: None  # something is said after a time of silence
        self.on_new_port: Callable[[OutPort], None] = lambda port: None  # a hidden one, wired while the node runs
        self._origin = Origin(self.flow, self.node, self.inc)
        self._ack_of: dict[str, OutWire] = {}
        self._offer_of: dict[str, InWire] = {}
        self._feeds: dict[str, list[InWire]] = {}
        self._checks = {name: port.checker() for name, port in inputs.items()}
        self.outside = Outside(
            {name: self._checks.get(name) for name in spec["inputs"]},
            spec["settings"].get("queue", 1000),
            take,
            connection.publish,
            self._clock.now_ns,
        )
        self._leaving: list[Any] = []
        self._names: set[str] = set()  # of the ends of wires that the deploy has
        self._closed: dict[str, InWire] = {}
        self._closing: dict[str, tuple[Any, WireSpec, asyncio.TimerHandle]] = {}
        self._loop = asyncio.get_running_loop()
        self._tick_at: asyncio.TimerHandle | None = None
        self._ack_due = False
        self._rewiring = asyncio.Lock()
        for name in spec["outputs"]:
            self.port(name)
        self._specs: dict[str, WireSpec] = {}
        self._streams: dict[str, dict] = dict(spec.get("streams") or {})
        self._wires_in = list(spec["wires_in"])
        self.fetching.set_wires(spec["wires_in"], spec["wires_out"])
        self._set_outs(spec["wires_out"])

    def port(self, name: str) -> OutPort:
        """An output; hidden ones come into being when they are first wired."""
        if name not in self.ports:
            self.ports[name] = OutPort(
                self._origin, name, self._publish, self._codec, self.fetching.shown.add, self._clock.now_ns
            )
            self.on_new_port(self.ports[name])
        return self.ports[name]

    # -- going live -----------------------------------------------------------------------------------------------

    async def subscribe(self) -> None:
        """Listen; nothing is taken before `go_live`."""
        await self.connection.subscribe(subjects.ack(self.flow, self.node, "*", "*", "*"), self._on_ack)
        await self.connection.subscribe(subjects.into(self.flow, self.node, ">"), self.outside.on_message)
        await self.fetching.subscribe()
        async with self._rewiring:
            await self._set_ins(self._wires_in)

    async def go_live(self, applied: Mapping[str, tuple[int, int]]) -> None:
        """This is the process of the node now: say what is owed, ask for what is missing."""
        self.applied = dict(applied)
        self.is_live = True
        for wire in self.ins.values():
            wire.resume(self.applied.get(wire.ends.id, (0, 0)))
        self.on_up()
        self._arm(TICK_S)

    def on_up(self) -> None:
        """(Re)connected: offers first, then acks, on the one connection."""
        if not self.is_live:
            return
        now_s = time.monotonic()
        for wire in self._out_wires():
            wire.offer(0, now_s)
        for wire in [*self.ins.values(), *self._leaving]:
            if isinstance(wire, InWire):
                wire.say(want=wire.epoch == 0)
        for wire in [*self.outs.values(), *self.ins.values()]:
            if isinstance(wire, (DurableWire, DurableInWire)):
                wire.on_up()

    def _out_wires(self) -> Iterable[OutWire]:
        yield from self._ack_of.values()

    # -- rewiring -------------------------------------------------------------------------------------------------

    async def rewire(self, wires_in: list[dict], wires_out: list[dict], streams: Mapping[str, dict]) -> None:
        """Have exactly these wires; what is un-acked on a closed one stays owed for `drain_timeout_s`."""
        async with self._rewiring:
            self._streams = dict(streams)
            self.fetching.set_wires(wires_in, wires_out)
            self._set_outs(wires_out)
            self._wires_in = list(wires_in)
            await self._set_ins(wires_in)
        self._arm(TICK_S)

    def _set_outs(self, specs: list[dict]) -> None:
        wanted = {(spec := WireSpec.from_dict(one)).id: spec for one in specs}
        for wire_id in [one for one in self.outs if one not in wanted]:
            self._close_out(wire_id)
        for wire_id, spec in wanted.items():
            if wire_id in self._closing:
                self._reopen_out(wire_id)
            if wire_id not in self.outs:
                self._open_out(wire_id, spec)
            elif spec != self._specs[wire_id]:
                self._change_out(wire_id, spec)

    def _open_out(self, wire_id: str, spec: WireSpec, owed: Iterable[Kept] = ()) -> None:
        """Begin a wire; `owed` is what another kind of wire in its place has left."""
        port = self.port(spec.port)
        wire: Any
        if spec.delivery == "durable":
            wire = DurableWire(
                self._ends(spec, None, None),
                port,
                self.connection,
                self._streams[wire_id],
                on_reject=self._on_reject,
                most_bytes=int((spec.durable or {}).get("max_bytes") or 64 << 20),
                by=self.replica or 0,
                is_shared=spec.replicas > 1,
                encoding=spec.encode,
            )
        elif spec.replicas > 1 and spec.delivery != "latest":
            replicas = {k: self._out_wire(spec, port, k) for k in range(spec.replicas)}
            wire = SharedWire(replicas, by_key=spec.share == "key")
        else:
            wire = self._out_wire(spec, port, None)
        self.outs[wire_id], self._specs[wire_id] = wire, spec
        port.wires.append(wire)
        if owed:
            wire.take_over(owed)
        for one in _each(wire):
            if self.is_live:
                one.offer(0, time.monotonic())

    def _change_out(self, wire_id: str, spec: WireSpec) -> None:
        """Another window, more replicas: the wire goes on. Another kind of wire takes over what is owed."""
        wire, old = self.outs[wire_id], self._specs[wire_id]
        if _kind(old) != _kind(spec):
            self.port(old.port).wires.remove(wire)
            del self.outs[wire_id]
            owed = wire.owed_messages()
            for one in _each(wire):
                self._forget_acks(one)
                one.give_up()
            if isinstance(wire, DurableWire):
                self._loop.create_task(wire.close(self._drain_s))
                owed = []
            self._open_out(wire_id, spec, owed)
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
        for one in new.values():
            if self.is_live:
                one.offer(0, time.monotonic())

        def assign_again() -> None:
            for one in gone:
                if one in shared.leaving:
                    self._forget_acks(one)
                    shared.assign_again(one)

        self._loop.call_later(self._drain_s, assign_again)  # until then they may still ack what they took

    def _forget_acks(self, wire: OutWire) -> None:
        if self._ack_of.get(wire.ends.ack) is wire:
            del self._ack_of[wire.ends.ack]

    def _out_wire(self, spec: WireSpec, port: OutPort, replica: int | None) -> OutWire:
        ends = self._ends(spec, self.replica, replica)
        common: dict[str, Any] = {"window": spec.window, "window_bytes": spec.window_bytes}
        # Replicas share the public feed, which has no order among them: what they send goes over wires of their own.
        is_fed_alone = replica is not None or self.replica is not None
        if spec.delivery == "latest":
            wire: OutWire = LatestWire(ends, port, self._publish, keep=spec.keep, is_fed_alone=is_fed_alone)
        elif spec.answers:
            caller = f"{spec.to_flow or self.flow}/{spec.consumer}"
            wire = AnswerWire(ends, port, self._publish, bound=spec.bound, on_reject=self._on_reject, caller=caller)
            wire.window_bytes = spec.window_bytes
            port.caller_of = caller_of
        elif spec.feedback:
            wire = FeedbackWire(ends, port, self._publish, bound=spec.bound, on_reject=self._on_reject)
        else:
            wire = OutWire(ends, port, self._publish, is_fed_alone=is_fed_alone, **common)
        self._ack_of[ends.ack] = wire
        return wire

    def _ends(self, spec: WireSpec, producer_replica: int | None, replica: int | None) -> WireEnds:
        """The wire in the words of its subjects; an end in another flow is written `<flow>/<node>`."""
        flow = spec.from_flow or self.flow
        consumer = spec.consumer
        if spec.to_flow:
            consumer = f"{spec.to_flow}/{spec.consumer}"
        elif spec.from_flow:
            consumer = f"{self.flow}/{spec.consumer}"
        port, token = subjects.port_token(spec.port, producer_replica), subjects.port_token(spec.in_port, replica)
        return WireEnds(flow, spec.producer, port, consumer, token)

    def _close_out(self, wire_id: str) -> None:
        wire = self.outs.pop(wire_id)
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

    def _reopen_out(self, wire_id: str) -> None:
        """Added again while what it owes is still waited for: it goes on where it was."""
        wire, spec, timer = self._closing.pop(wire_id)
        timer.cancel()
        self.outs[wire_id], self._specs[wire_id] = wire, spec
        self.port(spec.port).wires.append(wire)

    async def _set_ins(self, specs: list[dict]) -> None:
        wanted = {name: spec for one in specs for name, spec in _named(WireSpec.from_dict(one))}
        ids = {spec.id for spec in wanted.values()}
        for name in list(self.ins):
            old, new = self._specs[f"in {name}"], wanted.get(name)
            if new is None and old.id in ids and old.producer_replicas > 1:
                self._loop.call_later(self._drain_s, self._close_late, name)  # a replica that goes says its last
            elif new is None or _in_kind(old) != _in_kind(new):
                await self._close_in(name)
            elif isinstance(self.ins[name], InWire):
                self.ins[name].resize(_taken_at_most(new))
                self.ins[name].encoding = new.encode
                self._specs[f"in {name}"] = new
        self._names = set(wanted)
        for name, spec in wanted.items():
            if name not in self.ins:
                self._specs[f"in {name}"] = spec
                await self._open_in(name, spec)

    def _close_late(self, name: str) -> None:
        async def close() -> None:
            async with self._rewiring:
                if name in self.ins and name not in self._names:
                    await self._close_in(name)

        self._loop.create_task(close())

    async def _open_in(self, wire_id: str, spec: WireSpec) -> None:
        _, _, k = wire_id.partition("#")  # which of the producer's replicas
        ends = self._ends(spec, int(k) if k else None, self.replica)
        wire: Any
        if spec.delivery == "durable":
            wire = DurableInWire(
                ends,
                self.connection,
                self._streams[wire_id],
                self._take_items,
                spec.window,
                is_shared=spec.replicas > 1 or spec.producer_replicas > 1,
                decode=self._codec.unpack,
            )
        else:
            before = wire = self._closed.pop(wire_id, None)
            if wire is None or wire.kind != _in_kind(spec):
                wire = self._in_wire(spec, ends)
                wire.count_on_from(before)
            wire.resize(_taken_at_most(spec))
            if wire in self._leaving:
                self._leaving.remove(wire)
            self._offer_of[ends.offer] = wire
        wire.in_port = spec.in_port
        wire.id_prefix = f"{spec.producer}.{spec.port}:"
        wire.check = self._checks.get(spec.in_port)
        wire.page_hash = wire_hash(spec.id)
        wire.encoding = spec.encode
        self.ins[wire_id] = wire
        if isinstance(wire, InWire):
            if not wire.is_fed_alone:
                self._feeds.setdefault(ends.out, []).append(wire)
                await self.connection.subscribe(ends.out, self._on_live)
            await self.connection.subscribe(ends.offer, self._on_offer)
        if self.is_live:
            wire.resume(self.applied.get(ends.id, (0, 0)))

    def _in_wire(self, spec: WireSpec, ends: WireEnds) -> InWire:
        options: dict[str, Any] = {}
        kind: Any = InWire
        if spec.delivery == "latest":
            kind, options["keep"] = LatestInWire, spec.keep
            options["is_fed_alone"] = spec.producer_replicas > 1
        else:
            options["is_fed_alone"] = self.replica is not None or spec.producer_replicas > 1 or spec.feedback
        wire = kind(ends, self.inc, self._publish, self._take_items, **options)
        wire.kind = _in_kind(spec)
        wire.on_unsaid = self._ack_soon
        return wire

    async def _close_in(self, wire_id: str) -> None:
        wire = self.ins.pop(wire_id)
        del self._specs[f"in {wire_id}"]
        if isinstance(wire, DurableInWire):
            await wire.close()
            return
        self._offer_of.pop(wire.ends.offer, None)
        await self.connection.unsubscribe(wire.ends.offer)
        feed = self._feeds.get(wire.ends.out, [])
        if wire in feed:
            feed.remove(wire)
            if not feed:
                del self._feeds[wire.ends.out]
                await self.connection.unsubscribe(wire.ends.out)
        self._closed[wire_id] = wire  # added again, it must know what this process has taken
        if wire.taken:  # what it took is handled and acked
            self._leaving.append(wire)

    # -- frames ---------------------------------------------------------------------------------------------------

    def _publish(self, subject: str, data: bytes) -> bool:
        if not self.is_live:
            return False
        if self._tick_at is None:
            self.on_active()
            self._arm(TICK_S)
        return self.connection.publish(subject, data)

    def _on_live(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        wires = self._feeds.get(subject)
        if not wires or not self.is_live or self._is_forged(reply, headers):
            return
        try:
            self.incoming.on_live(wires, data, time.monotonic())
        except Malformed as e:
            self.outside.malformed(subject, e)

    def _on_offer(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        wire = self._offer_of.get(subject)
        if wire is None or not self.is_live or self._is_forged(reply, headers):
            return
        try:
            self.incoming.on_offer(wire, data, time.monotonic())
        except Malformed as e:
            self.outside.malformed(subject, e)

    def _on_ack(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        wire = self._ack_of.get(subject)
        if wire is None or not self.is_live or self._is_forged(reply, headers):
            return
        try:
            wire.on_ack(Ack.unpack(data), time.monotonic())
        except Malformed as e:
            self.outside.malformed(subject, e)

    def _is_forged(self, reply: str, headers: bytes) -> bool:
        """True for what the server published for somebody: it has headers or a reply subject."""
        if reply or headers:
            self.outside.counts["refused"] += 1
            return True
        return False

    def _take_items(self, items: list[Item]) -> None:
        self.fetching.take(items)

    # -- timers ---------------------------------------------------------------------------------------------------

    def _ack_soon(self) -> None:
        if not self._ack_due:
            self._ack_due = True
            self._loop.call_later(self._ack_s, self._say_unsaid)

    def _say_unsaid(self) -> None:
        self._ack_due = False
        for wire in self.ins.values():
            wire.say_if_unsaid()
        for wire in list(self._leaving):
            wire.say_if_unsaid()
            if not wire.taken:
                self._leaving.remove(wire)

    def say_all(self) -> None:
        """Send every wire's ack now, before the process ends."""
        self._say_unsaid()

    def _arm(self, seconds: float) -> None:
        if self._tick_at is None:
            self._tick_at = self._loop.call_later(seconds, self._tick)

    def _tick(self) -> None:
        self._tick_at = None
        now_s = time.monotonic()
        is_busy = is_waiting = False
        for out in self._out_wires():
            out.tick(now_s)
            is_busy = is_busy or not out.is_idle
        for wire in self.ins.values():
            if isinstance(wire, InWire) and not wire.is_idle:
                wire.tick(now_s)
                is_busy, is_waiting = is_busy or wire.epoch != 0, True
        if is_busy or is_waiting:
            self._arm(TICK_S if is_busy else IDLE_TICK_S)

    # -- looking --------------------------------------------------------------------------------------------------

    @property
    def is_ack_due(self) -> bool:
        """True while something done is not acked yet."""
        return self._ack_due

    def progress(self) -> list[int]:
        """Numbers of which one is another after any message came, went or was acked."""
        ports = [port.sent for port in self.ports.values()]
        owed = [len(wire.owed_messages()) for wire in self.outs.values()]
        taken = [count for wire in self.ins.values() for count in (wire.counts["taken"], wire.queued)]
        return [*ports, *owed, *taken, *self.outside.queued(), len(self.outs)]

    def unacked(self) -> dict[str, int]:
        """Wire id -> messages that a reliable or durable wire still owes."""
        return {
            wire_id: n
            for wire_id, wire in self.outs.items()
            if not isinstance(wire, LatestWire) and (n := len(wire.owed_messages()))
        }

    def set_consumer_failed(self, wire_id: str, is_failed: bool) -> None:
        """The consumer is past its restart limit (or back): a wire that says `drop` drops, others block."""
        wire, spec = self.outs.get(wire_id), self._specs.get(wire_id)
        if wire is None or spec is None or spec.when_failed != "drop" or isinstance(wire, DurableWire):
            return
        for one in wire.wires.values() if isinstance(wire, SharedWire) else [wire]:
            one.is_failed = is_failed
            if is_failed:
                one.drops += one.discard()

    async def close(self) -> None:
        """End what runs by itself."""
        if self._tick_at is not None:
            self._tick_at.cancel()
        self.fetching.close()
        for wire in [*self.outs.values(), *self.ins.values()]:
            if isinstance(wire, DurableWire):
                await wire.close(0.0)
            elif isinstance(wire, DurableInWire):
                await wire.close()


def _each(wire: Any) -> list[OutWire]:
    """The wires of a port's wire: those of all replicas, or itself; none of a durable one."""
    if isinstance(wire, SharedWire):
        return [*wire.wires.values(), *wire.leaving]
    return [] if isinstance(wire, DurableWire) else [wire]


def _kind(spec: WireSpec) -> tuple:
    """What cannot change while a wire goes on, at its producer."""
    return spec.delivery, spec.feedback, spec.answers, spec.replicas > 1


def _in_kind(spec: WireSpec) -> tuple:
    """What cannot change while a wire goes on, at its consumer."""
    is_shared = spec.replicas > 1 or spec.producer_replicas > 1
    return spec.delivery, spec.feedback, spec.keep, spec.delivery == "durable" and is_shared


def _taken_at_most(spec: WireSpec) -> int:
    return spec.bound if spec.feedback else spec.window


def _named(spec: WireSpec) -> list[tuple[str, WireSpec]]:
    """The ends of a wire at its consumer: `<wire id>#<k>` for each replica that feeds it."""
    if spec.producer_replicas == 1 or spec.delivery == "durable":
        return [(spec.id, spec)]
    return [(f"{spec.id}#{k}", spec) for k in range(spec.producer_replicas)]
