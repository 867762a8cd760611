"""Emission: from what a handler returned to messages on ports, with credit, source policies and flushing.

UnknownPort   a handler named an output that its node has not
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flowcore.buffers import NoRoom
from flowcore.node.message import Message
from flowcore.node.ports import Outputs
from flowcore.wires.out_port import Kept, OutPort
from flowcore.wires.receipt import Cause, Receipt

if TYPE_CHECKING:
    from flowcore.node.tensors import Tensors

_YIELD_EVERY = 256

Draft = tuple[str, Message]


class UnknownPort(LookupError):
    """An output that the node has not."""

    def __init__(self, port: str, ports: list[str]) -> None:
        self.port = port
        super().__init__(f"no output '{port}' (it has: {', '.join(ports) or 'none'})")


class Emitter:
    """Sends drafts on the ports of a node.

    Args:
        ports: by name, hidden ones among them.
        main: the first output's name, None for a sink.
        settings: of the node (`full`, `throttle_hz`, `ack`).
        tensors: of the process: where there is no room, a message waits for it.
        on_error: told of what could not be sent later on, when nobody waits for it any more.
    """

    def __init__(
        self,
        ports: dict[str, OutPort],
        main: str | None,
        settings: dict,
        tensors: "Tensors",
        on_error: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        self.ports = ports
        self.main = main
        self.drops = 0
        self._on_error = on_error
        self.running = asyncio.Event()  # cleared while the node is paused: a source waits in send
        self.running.set()
        self._full = settings.get("full", "block")
        self._is_plain = self._full != "drop_oldest" and not settings.get("throttle_hz")
        self._throttle_s = 1 / settings["throttle_hz"] if settings.get("throttle_hz") else 0.0
        self._next_s = 0.0
        self._through = settings.get("ack", "through") == "through"
        self._loop = asyncio.get_running_loop()
        self._tensors = tensors
        tensors.flush = self.flush
        self._credit = asyncio.Event()
        self._freed = asyncio.Event()
        self._is_flush_due = False
        self._sends = 0
        self.blocked = 0  # handlers that wait until a port has credit
        self._newest: dict[str, tuple[Message, Receipt]] = {}  # by port: the one that waits for credit (drop_oldest)
        self._feeders: dict[str, asyncio.Task] = {}
        for port in ports.values():
            self.adopt(port)

    def adopt(self, port: OutPort) -> None:
        """A port of this node, from the start or wired later."""
        port.on_credit, port.on_freed = self._credit.set, self._freed.set
        port.is_through = self._through

    def is_wired(self, hidden: str) -> bool:
        """True when something listens on a port that is there only where a deploy wired it."""
        port = self.ports.get(hidden)
        return port is not None and bool(port.wires)

    # -- what a handler returned ----------------------------------------------------------------------------------

    def drafts(self, result: Any, message: Message | None) -> list[Draft]:
        """Normalise a handler's result: nothing, a value, a Message, or Outputs.

        Raises:
            UnknownPort: it names an output that is not there, or the node has none.
        """
        if result is None:
            return []
        if isinstance(result, Outputs):
            named = ((port, value) for port, value in result.items() if value is not None)
            return [(self._known(port), self._message(value, message)) for port, value in named]
        return [(self._known(None), self._message(result, message))]

    def _known(self, port: str | None) -> str:
        name = port if port is not None else self.main
        if name is None or name not in self.ports:
            raise UnknownPort(name or "out", [port for port in self.ports if port not in HIDDEN])
        return name

    @staticmethod
    def _message(value: Any, message: Message | None) -> Message:
        if isinstance(value, Message):
            return value
        return message.derive(value) if message is not None else Message(value)

    def send_now(self, result: Any, message: Message, cause: Cause, now_s: float) -> bool:
        """The common case, without a coroutine: one value or Message for the first output, which has credit.

        Returns False when it is not that case; then nothing was done, and `emit` is to be used.
        """
        port = self.ports.get(self.main) if self.main is not None else None
        if port is None or isinstance(result, Outputs) or not port.has_credit():
            return False
        if isinstance(result, Message):
            if result.cause is not cause:
                return False
            payload, message = result.payload, result
            parent = result._id if result._is_derived else result.parent or result.id
        else:
            payload, parent = result, message.id
        envelope = message.envelope
        try:
            port.send(
                payload,
                message.topic,
                message.meta,
                cause,
                envelope.get("origin") or message.origin_ns,
                envelope.get("trace") or "",
                parent,
                message._deadline_ns,
                now_s,
            )
        except NoRoom:
            return False
        return True

    async def emit(self, drafts: list[Draft], cause: Cause | None) -> None:
        """Send what a handler made; each output keeps its cause (or the one its message came from) open."""
        for name, draft in drafts:
            port = self.ports[name]
            if not port.has_credit():
                await self._wait_in_handler(port)
            own = draft.cause  # another one's than `cause` when a handler kept the message, or got a batch
            cause_of = own if own is not None and own.open > 0 else cause
            try:
                self._send(port, draft, cause_of)
            except NoRoom as e:
                await self._send_when_room(port, draft, cause_of, e)

    async def _send_when_room(self, port: OutPort, draft: Message, cause: Cause | None, error: NoRoom) -> None:
        """Try again until there is a slot for it; where only the newest counts, drop it."""
        room = self._tensors.room()
        while not self._may_drop(port):
            await room.wait(error)
            if not port.has_credit():
                await self._wait_for_credit(port)
            try:
                self._send(port, draft, cause)
                return
            except NoRoom as e:
                error = e

    def _may_drop(self, port: OutPort) -> bool:
        """Drop one for want of room, if nobody waits for all that this port sends."""
        if any(wire.is_waited_for for wire in port.wires):
            return False
        for wire in port.wires:
            wire.drops += 1
        self.drops += not port.wires
        return True

    def _send(self, port: OutPort, draft: Message, cause: Cause | None) -> None:
        port.send(
            draft.payload,
            draft.topic,
            draft.meta,
            cause,
            draft.origin_ns,
            draft.trace,
            draft.parent or draft.id,
            draft.deadline_ns,
            time.monotonic(),
        )

    def send_at_once(self, port_name: str, draft: Message, cause: Cause | None) -> None:
        """Send one message without waiting; whoever calls has seen that there is credit.

        Raises:
            NoRoom: for a tensor in it.
        """
        self._send(self.ports[port_name], draft, cause)
        self.flush_soon()

    async def emit_again(self, port_name: str, envelope: dict) -> None:
        """Emit what an earlier process of this node owed; over the window, but only when there are slots for it."""
        port, room = self.ports[port_name], self._tensors.room()
        while True:
            try:
                port.emit_again([envelope], time.monotonic(), Receipt)
                return
            except NoRoom as e:
                await room.wait(e)

    async def wait_for_credit(self, port_name: str) -> None:
        """Wait until a port may send."""
        await self._wait_for_credit(self.ports[port_name])

    def send_value(self, port_name: str | None, value: Any, topic: str, meta: dict | None, receipt: Receipt) -> bool:
        """The common case of a source: a new value, and nothing to wait for.

        Returns False when it is not that case; then nothing was done, and `send` is to be used.
        """
        port = self.ports.get(port_name or self.main or "")
        if port is None or not self._is_plain or not self.running.is_set() or not port.has_credit():
            return False
        try:
            port.send(value, topic, meta or {}, cause=receipt, now_s=time.monotonic())
        except NoRoom:
            return False
        receipt.one_done()
        self._sends += 1
        if not self._is_flush_due:
            self.flush_soon()
        return True

    @property
    def is_turn_over(self) -> bool:
        """True when a source has sent so many that other tasks should get a turn."""
        return self._sends % _YIELD_EVERY == 0

    # -- self.send ------------------------------------------------------------------------------------------------

    async def send(
        self, port_name: str | None, draft: Message, current: Cause | None, receipt: Receipt, held: bool = True
    ) -> None:
        """Send one message; a source (no `current`) waits while paused and obeys the node's `full` policy.

        Without `held`, `current` does not wait for it.
        """
        port = self.ports[self._known(port_name)]
        if current is None:
            await self.running.wait()
            if self._throttle_s:
                await self._pace()
            if self._full == "drop_newest" and not port.has_credit():
                receipt.one_done()
                await self._drop()
                return
            if self._full == "drop_oldest":
                self.drops += self._send_newest(port, draft, receipt)
                await (asyncio.sleep(0) if port.name in self._newest else self._let_others_run())
                return
        else:
            current.open += 1  # it is known only afterwards whether it waits for this message
        try:
            if not port.has_credit():
                await (self._wait_for_credit(port) if current is None else self._wait_in_handler(port))
            try:
                self._send(port, draft, receipt)
            except NoRoom as e:
                if current is None and self._full == "drop_newest":
                    await self._drop()
                    return
                await self._send_when_room(port, draft, receipt, e)
        finally:
            receipt.one_done()
            if current is not None:
                receipt.is_for_input = held and (self._through or port.is_held)
                if receipt.is_for_input:
                    receipt.then(current.one_done)
                else:
                    receipt.input = None if held else current
                    current.one_done()
        self.flush_soon()
        await self._let_others_run()

    async def _drop(self) -> None:
        self.drops += 1
        await asyncio.sleep(0)

    async def _let_others_run(self) -> None:
        self._sends += 1
        if self.is_turn_over:
            await asyncio.sleep(0)

    async def _pace(self) -> None:
        now_s = time.monotonic()
        self._next_s = max(self._next_s + self._throttle_s, now_s)
        if self._next_s > now_s:
            await asyncio.sleep(self._next_s - now_s)

    def send_newest(self, port_name: str, draft: Message) -> None:
        """Send without waiting; while the port has no credit, the newest alone waits for it."""
        self._send_newest(self.ports[port_name], draft, Receipt())

    def _send_newest(self, port: OutPort, draft: Message, receipt: Receipt) -> int:
        """Returns how many were dropped for it."""
        if port.name not in self._newest and port.has_credit():
            try:
                self._send(port, draft, receipt)
            except NoRoom:
                pass  # it waits below, or a newer one does
            except BaseException:
                receipt.one_done()
                raise
            else:
                receipt.one_done()
                self.flush_soon()
                return 0
        dropped = self._newest.pop(port.name, None)
        if dropped is not None:
            dropped[1].one_done()
        self._newest[port.name] = draft, receipt
        if port.name not in self._feeders:
            self._feeders[port.name] = self._loop.create_task(self._feed(port))
        return 0 if dropped is None else 1

    async def _feed(self, port: OutPort) -> None:
        room = self._tensors.room()
        is_waiting = True
        while is_waiting:
            await self._wait_for_credit(port)
            draft, receipt = self._newest[port.name]
            try:
                try:
                    self._send(port, draft, receipt)
                    is_waiting = False
                except NoRoom as e:
                    await room.wait(e)  # a newer one may take its place
            except Exception as e:
                self._on_error(e)
                is_waiting = False
        receipt = self._newest.pop(port.name)[1]
        del self._feeders[port.name]
        receipt.one_done()
        self.flush_soon()

    # -- credit and flushing --------------------------------------------------------------------------------------

    async def _wait_in_handler(self, port: OutPort) -> None:
        self.blocked += 1
        try:
            await self._wait_for_credit(port)
        finally:
            self.blocked -= 1

    async def _wait_for_credit(self, port: OutPort) -> None:
        while not port.has_credit():
            self._credit.clear()
            self.flush()
            if not port.has_credit():
                await self._credit.wait()

    async def until_acked(self, awaited: list[Kept]) -> None:
        """Wait until nobody owes these any more, under whatever number; each is taken out of the list when it is so."""
        while awaited:
            owed = {id(kept.holds) for port in self.ports.values() for kept in port.owed() if kept.holds}
            awaited[:] = [kept for kept in awaited if id(kept.holds) in owed]
            if awaited:
                self._freed.clear()
                await self._freed.wait()

    @property
    def is_flushed(self) -> bool:
        """True when nothing that was sent waits for the end of this turn of the event loop."""
        return not self._is_flush_due

    def credit(self) -> int:
        """How many messages every port takes now."""
        return min((port.credit() for port in self.ports.values()), default=1 << 30)

    def flush(self) -> None:
        """Send what piled up, each port's as one frame."""
        self._is_flush_due = False
        for port in self.ports.values():
            port.flush()

    def flush_soon(self) -> None:
        """Flush at the end of this turn of the event loop."""
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self.flush)

    async def close(self) -> None:
        """Stop feeding; what waited for credit by `drop_oldest` is dropped."""
        for feeder in list(self._feeders.values()):
            feeder.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeder


HIDDEN = ("error", "status", "complete", "late")


def hidden_ports(has_wire: Callable[[str], bool]) -> list[str]:
    """The hidden outputs that a deploy wired (catch, status, complete, late)."""
    return [name for name in HIDDEN if has_wire(name)]
