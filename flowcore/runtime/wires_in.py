"""The wires that come into one process: opened and closed as the deploy says, the frames that come on them, and acks.

Knows which end a wire of the document gets and which subjects that listens to. What such an end takes and asks for
again is its own (`flowcore.wires`), what is in a frame is `incoming`'s, and when the process may speak is `wiring`'s.
Everything here runs on the event loop.

A frame that is none, or that an outsider sent, is counted by `outside` and changes no wire.

Invariant: nothing is taken before `go_live`. What was taken from a wire that has gone is still handled and acked, and
one that is added again knows what this process has taken.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from flowcore.bus.connection import Connection
from flowcore.bus.envelope import Malformed
from flowcore.flow.resolved import WireSpec
from flowcore.node.tensors import Tensors
from flowcore.runtime.incoming import Incoming
from flowcore.runtime.outside import Outside
from flowcore.runtime.page import wire_hash
from flowcore.runtime.replica_ends import ends_of
from flowcore.wires.durable_in import DurableInWire
from flowcore.wires.in_wire import InWire, LatestInWire
from flowcore.wires.out_port import Publish
from flowcore.wires.out_wire import WireEnds


class WiresIn:
    """The wires on the inputs of one process.

    Args:
        spec: as the host gives it to a process.
        connection: of this process, connected or not.
        tensors: of the process: what is in a frame is held from when it is decoded.
        outside: counts what it did not take.
        checks: by input port, what brings a payload into its type's form.
        changing: held by whoever calls `rewire`; taken here for what is closed later.
        publish: sends bytes once the process may speak, else returns False.
        deliver: takes messages to where they wait for their handler.
        ack_s: how long an ack may wait for others.

    Attributes:
        wires: wire id (`#<k>`: from the producer's replica k) -> InWire or DurableInWire; those that the deploy has.
        leaving: those that have gone, while what was taken from them is not done.
        incoming: decodes their frames.
        is_ack_due: something done is not acked yet.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        connection: Connection,
        tensors: Tensors,
        outside: Outside,
        *,
        checks: Mapping[str, Any],
        changing: asyncio.Lock,
        publish: Publish,
        deliver: Callable[[list[Any]], None],
        ack_s: float,
    ) -> None:
        self.wires: dict[str, Any] = {}
        self.leaving: list[Any] = []
        self.incoming = Incoming(tensors)
        self.is_ack_due = False
        self._flow, self._replica, self._inc = spec["flow"], spec.get("replica"), spec["inc"]
        self._drain_s = spec["settings"].get("drain_timeout_s", 5.0)
        self._connection, self._codec, self._outside = connection, tensors.codec, outside
        self._checks, self._changing = checks, changing
        self._publish, self._deliver, self._ack_s = publish, deliver, ack_s
        self._is_live = False
        self._applied: Mapping[str, tuple[int, int]] = {}
        self._specs: dict[str, WireSpec] = {}
        self._names: set[str] = set()  # of the ends of wires that the deploy has
        self._offer_of: dict[str, InWire] = {}
        self._feeds: dict[str, list[InWire]] = {}
        self._closed: dict[str, InWire] = {}
        self._loop = asyncio.get_running_loop()

    # -- going live -----------------------------------------------------------------------------------------------

    def go_live(self, applied: Mapping[str, tuple[int, int]]) -> None:
        """This is the process of the node now.

        Args:
            applied: wire -> (epoch, next): what lies below is contained in the node's state.
        """
        self._applied = dict(applied)
        self._is_live = True
        for wire in self.wires.values():
            wire.resume(self._applied.get(wire.ends.id, (0, 0)))

    def on_up(self) -> None:
        """The bus is (back) there: say what is done, ask for what is missing."""
        for wire in [*self.wires.values(), *self.leaving]:
            if isinstance(wire, InWire):
                wire.say(want=wire.epoch == 0)
        for wire in self.wires.values():
            if isinstance(wire, DurableInWire):
                wire.on_up()

    async def close(self) -> None:
        """End what runs by itself."""
        for wire in list(self.wires.values()):
            if isinstance(wire, DurableInWire):
                await wire.close()

    # -- as the deploy says ---------------------------------------------------------------------------------------

    async def rewire(self, specs: list[dict], streams: Mapping[str, dict]) -> None:
        """Have exactly these wires, and listen on them.

        Args:
            specs: as `WireSpec.asdict` gives them.
            streams: wire id -> stream, of the durable ones.
        """
        wanted = {name: spec for one in specs for name, spec in _named(WireSpec.from_dict(one))}
        ids = {spec.id for spec in wanted.values()}
        for name in list(self.wires):
            old, new = self._specs[name], wanted.get(name)
            if new is None and old.id in ids and old.producer_replicas > 1:
                self._loop.call_later(self._drain_s, self._close_late, name)  # a replica that goes says its last
            elif new is None or _kind(old) != _kind(new):
                await self._close(name)
            elif isinstance(self.wires[name], InWire):
                self.wires[name].resize(_taken_at_most(new))
                self.wires[name].encoding = new.encode
                self._specs[name] = new
        self._names = set(wanted)
        for name, spec in wanted.items():
            if name not in self.wires:
                self._specs[name] = spec
                await self._open(name, spec, streams)

    def _close_late(self, name: str) -> None:
        async def close() -> None:
            async with self._changing:
                if name in self.wires and name not in self._names:
                    await self._close(name)

        self._loop.create_task(close())

    async def _open(self, name: str, spec: WireSpec, streams: Mapping[str, dict]) -> None:
        _, _, k = name.partition("#")  # which of the producer's replicas
        ends = ends_of(spec, self._flow, int(k) if k else None, self._replica)
        wire: Any
        if spec.delivery == "durable":
            wire = DurableInWire(
                ends,
                self._connection,
                streams[name],
                self._deliver,
                spec.window,
                is_shared=spec.replicas > 1 or spec.producer_replicas > 1,
                decode=self._codec.unpack,
            )
        else:
            before = wire = self._closed.pop(name, None)
            if wire is None or wire.kind != _kind(spec):
                wire = self._in_wire(spec, ends)
                wire.count_on_from(before)
            wire.resize(_taken_at_most(spec))
            if wire in self.leaving:
                self.leaving.remove(wire)
            self._offer_of[ends.offer] = wire
        wire.in_port = spec.in_port
        wire.id_prefix = f"{spec.producer}.{spec.port}:"
        wire.check = self._checks.get(spec.in_port)
        wire.page_hash = wire_hash(spec.id)
        wire.encoding = spec.encode
        self.wires[name] = wire
        if isinstance(wire, InWire):
            if not wire.is_fed_alone:
                self._feeds.setdefault(ends.out, []).append(wire)
                await self._connection.subscribe(ends.out, self._on_live)
            await self._connection.subscribe(ends.offer, self._on_offer)
        if self._is_live:
            wire.resume(self._applied.get(ends.id, (0, 0)))

    def _in_wire(self, spec: WireSpec, ends: WireEnds) -> InWire:
        options: dict[str, Any] = {}
        kind: Any = InWire
        if spec.delivery == "latest":
            kind, options["keep"] = LatestInWire, spec.keep
            options["is_fed_alone"] = spec.producer_replicas > 1
        else:
            options["is_fed_alone"] = self._replica is not None or spec.producer_replicas > 1 or spec.feedback
        wire = kind(ends, self._inc, self._publish, self._deliver, **options)
        wire.kind = _kind(spec)
        wire.on_unsaid = self._ack_soon
        return wire

    async def _close(self, name: str) -> None:
        wire = self.wires.pop(name)
        del self._specs[name]
        if isinstance(wire, DurableInWire):
            await wire.close()
            return
        self._offer_of.pop(wire.ends.offer, None)
        await self._connection.unsubscribe(wire.ends.offer)
        feed = self._feeds.get(wire.ends.out, [])
        if wire in feed:
            feed.remove(wire)
            if not feed:
                del self._feeds[wire.ends.out]
                await self._connection.unsubscribe(wire.ends.out)
        self._closed[name] = wire  # added again, it must know what this process has taken
        if wire.taken:  # what it took is handled and acked
            self.leaving.append(wire)

    # -- frames ---------------------------------------------------------------------------------------------------

    def _on_live(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        wires = self._feeds.get(subject)
        if not wires or not self._is_live or self._outside.is_forged(reply, headers):
            return
        try:
            self.incoming.on_live(wires, data, time.monotonic())
        except Malformed as e:
            self._outside.malformed(subject, e)

    def _on_offer(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        wire = self._offer_of.get(subject)
        if wire is None or not self._is_live or self._outside.is_forged(reply, headers):
            return
        try:
            self.incoming.on_offer(wire, data, time.monotonic())
        except Malformed as e:
            self._outside.malformed(subject, e)

    # -- acks -----------------------------------------------------------------------------------------------------

    def _ack_soon(self) -> None:
        if not self.is_ack_due:
            self.is_ack_due = True
            self._loop.call_later(self._ack_s, self.say_unsaid)

    def say_unsaid(self) -> None:
        """Send all acks that wait for others."""
        self.is_ack_due = False
        for wire in self.wires.values():
            wire.say_if_unsaid()
        for wire in list(self.leaving):
            wire.say_if_unsaid()
            if not wire.taken:
                self.leaving.remove(wire)

    def tick(self, now_s: float) -> tuple[bool, bool]:
        """Let them ask again for what is missing.

        Returns:
            Whether a wire waits for messages that it knows of, and whether one waits for anything.
        """
        is_busy = is_waiting = False
        for wire in self.wires.values():
            if isinstance(wire, InWire) and not wire.is_idle:
                wire.tick(now_s)
                is_busy, is_waiting = is_busy or wire.epoch != 0, True
        return is_busy, is_waiting


def _kind(spec: WireSpec) -> tuple:
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
