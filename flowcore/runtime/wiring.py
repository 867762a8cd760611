"""All that one node process has on the bus: its wires both ways, outsiders, tensors of other hosts; joined here.

Decides when the process may speak, carries out a deploy's wires on both sides, and keeps the one timer by which they
ask again. Which wires there are and what comes on them is `wires_out`'s and `wires_in`'s; delivery itself is
`flowcore.wires`', which knows no bus. Everything here runs on the event loop of a node process.

Malformed frames are counted, and said, by `outside`; nothing is raised.

Invariant: before `go_live` nothing is said on a wire, so an old and a new process of a node never speak at once.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from flowcore.bus import subjects
from flowcore.bus.connection import Connection
from flowcore.node.clock import Clock, FlowClock
from flowcore.node.ports import In
from flowcore.node.tensors import Tensors
from flowcore.runtime.fetching import Fetching
from flowcore.runtime.outside import Outside
from flowcore.runtime.wires_in import WiresIn
from flowcore.runtime.wires_out import WiresOut
from flowcore.wires.in_wire import ACK_TIMER_S
from flowcore.wires.out_port import Kept

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

    Attributes:
        outs, ins: the wires.
        outside: what outsiders put into the inputs.
        fetching: of tensors from and to other hosts.
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
        clock = clock or Clock()
        checks = {name: port.checker() for name, port in inputs.items()}
        self._flow, self._node = spec["flow"], spec["node"]
        self.connection = connection
        self.is_live = False
        self.on_active: Callable[[], None] = lambda: None  # something is said after a time of silence
        self._loop = asyncio.get_running_loop()
        self._tick_at: asyncio.TimerHandle | None = None
        self._rewiring = asyncio.Lock()
        self.outside = Outside(
            {name: checks.get(name) for name in spec["inputs"]},
            spec["settings"].get("queue", 1000),
            take,
            connection.publish,
            clock.now_ns,
        )
        self.fetching = Fetching(
            self._flow,
            spec["process"],
            spec["inc"],
            connection,
            tensors,
            deliver=take,
            is_open=lambda wire: wire in self.ins.wires.values(),
        )
        self.outs = WiresOut(
            spec,
            connection,
            tensors,
            self.outside,
            publish=self._publish,
            on_held=self.fetching.shown.add,
            on_reject=on_reject,
            now_ns=clock.now_ns,
        )
        self.ins = WiresIn(
            spec,
            connection,
            tensors,
            self.outside,
            checks=checks,
            changing=self._rewiring,
            publish=self._publish,
            deliver=self.fetching.take,
            ack_s=0.0 if isinstance(clock, FlowClock) else ACK_TIMER_S,
        )
        self._streams: Mapping[str, dict] = dict(spec.get("streams") or {})
        self._wires_in: list[dict] = list(spec["wires_in"])
        self.fetching.set_wires(spec["wires_in"], spec["wires_out"])
        self.outs.rewire(spec["wires_out"], self._streams)

    # -- going live -----------------------------------------------------------------------------------------------

    async def subscribe(self) -> None:
        """Listen; nothing is taken before `go_live`."""
        await self.outs.subscribe()
        await self.connection.subscribe(subjects.into(self._flow, self._node, ">"), self.outside.on_message)
        await self.fetching.subscribe()
        async with self._rewiring:
            await self.ins.rewire(self._wires_in, self._streams)

    async def go_live(self, applied: Mapping[str, tuple[int, int]]) -> None:
        """This is the process of the node now: say what is owed, ask for what is missing."""
        self.is_live = True
        self.outs.go_live()
        self.ins.go_live(applied)
        self.on_up()
        self._arm(TICK_S)

    def on_up(self) -> None:
        """(Re)connected: offers first, then acks, on the one connection."""
        if self.is_live:
            self.outs.on_up()
            self.ins.on_up()

    async def rewire(self, wires_in: list[dict], wires_out: list[dict], streams: Mapping[str, dict]) -> None:
        """Have exactly these wires; what is un-acked on a closed one stays owed for `drain_timeout_s`."""
        async with self._rewiring:
            self._streams, self._wires_in = dict(streams), list(wires_in)
            self.fetching.set_wires(wires_in, wires_out)
            self.outs.rewire(wires_out, self._streams)
            await self.ins.rewire(self._wires_in, self._streams)
        self._arm(TICK_S)

    async def close(self) -> None:
        """End what runs by itself."""
        if self._tick_at is not None:
            self._tick_at.cancel()
        self.fetching.close()
        await self.outs.close()
        await self.ins.close()

    # -- speaking -------------------------------------------------------------------------------------------------

    def _publish(self, subject: str, data: bytes) -> bool:
        if not self.is_live:
            return False
        if self._tick_at is None:
            self.on_active()
            self._arm(TICK_S)
        return self.connection.publish(subject, data)

    def _arm(self, seconds: float) -> None:
        if self._tick_at is None:
            self._tick_at = self._loop.call_later(seconds, self._tick)

    def _tick(self) -> None:
        self._tick_at = None
        now_s = time.monotonic()
        is_owing = self.outs.tick(now_s)
        is_missing, is_waiting = self.ins.tick(now_s)
        if is_owing or is_waiting:
            self._arm(TICK_S if is_owing or is_missing else IDLE_TICK_S)

    # -- looking --------------------------------------------------------------------------------------------------

    def progress(self) -> list[int]:
        """Numbers of which one is another after any message came, went or was acked."""
        ports = [port.sent for port in self.outs.ports.values()]
        owed = [len(wire.owed_messages()) for wire in self.outs.wires.values()]
        taken = [count for wire in self.ins.wires.values() for count in (wire.counts["taken"], wire.queued)]
        return [*ports, *owed, *taken, *self.outside.queued(), len(self.outs.wires)]
