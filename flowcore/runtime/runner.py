"""The child side of a node: one process that connects, waits for `go`, handles messages, and ends when told.

    main(spec, link, page)    what the fork server calls

States, as the page shows them: starting -> ready (imported, `on_start` done) -> running (after `go`) -> draining.
A process that is ready says nothing on any wire, so that the one it replaces can finish first.

Here it is put together, begins, shows that it lives, and ends. What its host wants of it meanwhile is in `orders`, what
it says in `telling`, what it has on the bus in `wiring`.

Errors: a start that fails is told to the host, with whether it can help to try again, and ends the process; so does a
`go` that fails.

Invariant: what a process took is acked, or handed over, or comes again to its successor.
"""

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import socket
import sys
import time
import traceback
from typing import Any

from flowcore.bus.connection import Connection
from flowcore.bus.envelope import MAX_ENVELOPE, join, pack
from flowcore.node.bus_access import BusAccess
from flowcore.node.clock import Clock, FlowClock
from flowcore.node.describe import settled_envelope
from flowcore.node.engine import Engine
from flowcore.node.message import Message
from flowcore.node.node import Node
from flowcore.node.tensors import Tensors
from flowcore.runtime.link import MAX_FRAME, Link
from flowcore.runtime.linklog import log_to
from flowcore.runtime.orders import Orders
from flowcore.runtime.page import DRAINING, READY, RUNNING, STATES, Page, wire_hash
from flowcore.runtime.stats import Statistics
from flowcore.runtime.store import BusValues, record_store
from flowcore.runtime.telling import Telling
from flowcore.runtime.wiring import Wiring
from flowcore.wires.out_port import Kept
from flowcore.wires.receipt import Receipt

_BEAT_S, _REST_S = 1.0, 2.0  # between two beats, and where nothing happens
_CONNECT_S = 2.0  # a start does not wait longer for a bus that is away
STALE_STATUS = 76


def main(spec: dict[str, Any], link: socket.socket, page: memoryview) -> int:
    """Be the process of a node until its end. Returns the exit status."""
    import uvloop

    sys.setswitchinterval(0.001)  # a busy handler thread must not keep the event loop waiting for 5 ms
    return uvloop.run(Runner(spec, Page(page)).run(link))


class Runner:
    """One node process."""

    def __init__(self, spec: dict[str, Any], page: Page) -> None:
        self.spec, self.page = spec, page
        self.flow, self.node_id = spec["flow"], spec["node"]
        longest_s = spec["heartbeat_s"] / 2.5  # one may fail to come, and the next still comes in time
        self._beat_s, self._rest_s = min(_BEAT_S, longest_s), min(_REST_S, longest_s)
        self._rests = False
        self.clock = FlowClock(spec["clock"]) if spec.get("clock") else Clock()
        self._ended: asyncio.Future[int] | None = None
        self._went = False
        self._inherited: bytes | None = None  # handed over to us, not emitted yet
        self._is_rejecting = False

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self, sock: socket.socket) -> int:
        """Start, wait for the end."""
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        self.link = await Link.open(sock, self._on_frame, self._on_host_gone)
        self.page.beat()
        log_to(self.link)
        is_built = False
        try:
            node_class = load_class(self.spec)
            await self._build(node_class)
            is_built = True
            await self.engine.warm_up()
        except BaseException as e:
            text = f"{type(e).__name__}: {e}"
            # What is wrong with the code or the config stays wrong; what `on_start` could not reach may come back.
            permanent = (
                not is_built or isinstance(e, (ImportError, SyntaxError)) or bool(getattr(e, "is_permanent", False))
            )
            self.link.send("fail", error=text, permanent=permanent, traceback=traceback.format_exc()[-8192:])
            await self.link.flush()
            return 1
        gc.freeze()  # what is loaded stays: not looked through again, and its pages stay shared with the fork server
        gc.set_threshold(20_000, 20, 20)
        self.page.set_state(READY)
        self.page.beat()  # the first: an `on_start` that took long was no silence
        self.link.send("ready")
        self._next_beat = loop.call_later(self._beat_s, self._beat)
        status = await self._ended
        await self.link.flush()
        return status

    async def _build(self, node_class: type[Node]) -> None:
        spec, bus = self.spec, self.spec["bus"]
        self.connection = Connection(
            bus["url"],
            user=bus.get("user"),
            password=bus.get("password"),
            name=f"{self.flow}.{spec['process']}",
            inbox=bus.get("inbox") or "_INBOX",
            trust=bus["trust"],
            on_up=self._on_up,
            on_down=self._on_down,
            on_refused=lambda text: self.telling.refused(text),
        )
        self.telling = Telling(self.flow, self.node_id, self.link, self.page, self.connection)
        self.telling.on_active = self._on_active
        self.tensors = Tensors(spec["settings"]["pool_mb"] << 20)
        self.wiring = Wiring(
            spec, self.connection, node_class.inputs, self._take, self._on_reject, self.tensors, self.clock
        )
        self.wiring.outside.on_malformed = self.telling.malformed
        self.wiring.on_active = self._on_active
        self.engine = Engine(
            node_class,
            flow=self.flow,
            node_id=self.node_id,
            config=spec["config"],
            settings=spec["settings"],
            ports=self.wiring.outs.ports,
            main_port=spec["outputs"][0] if spec["outputs"] else None,
            around=self.telling,
            tensors=self.tensors,
            store=record_store(self.connection, spec["state_key"]),
            contexts=BusValues(self.connection),
            clock=self.clock,
            inc=spec["inc"],
            extras={
                "bus": BusAccess(self.connection),
                "embedded_mqtt": spec.get("embedded_mqtt"),
                "script_socket": spec.get("script_socket"),
                "data_folder": spec.get("data_folder"),
            },
        )
        self.wiring.outs.on_new_port = self.engine.emitter.adopt
        self.engine.committer.on_stale = self._on_stale
        self.engine.turns.on_gave_up = self._on_gave_up
        self._statistics = Statistics(spec, self.engine, self.wiring)
        self.orders = Orders(spec, self.link, self.page, self.engine, self.wiring, self.telling)
        self.orders.on_active = self._on_active
        connecting = asyncio.get_running_loop().create_task(self._connect())
        await asyncio.wait({connecting}, timeout=_CONNECT_S)
        self._connecting = connecting

    async def _connect(self) -> None:
        await self.connection.connect()
        await self.wiring.subscribe()
        with contextlib.suppress(TimeoutError):
            await self.connection.flush()

    async def _go(self, frame: dict[str, Any]) -> None:
        """Now this is the node's process: read the state, emit what is owed from before, begin."""
        self._went = self.wiring.outside.is_open = True
        self._inherited = frame.get("handover")
        self.link.answer(frame, "running")
        await self._connecting
        engine, wiring = self.engine, self.wiring
        record = await engine.load()
        for suspect in frame.get("suspects") or ():
            key = (wire_hash(suspect["wire"]), suspect["epoch"], suspect["seq"])
            engine.turns.suspects[key] = suspect["tries"]
        inherited = [(port, envelope) for port, envelope in record.outbox]
        if self._inherited:
            inherited += self.tensors.codec.unpack(self._inherited, limit=MAX_FRAME)
        await wiring.go_live(record.applied)
        for port, envelope in inherited:
            if port in wiring.outs.ports:
                try:
                    await engine.emitter.emit_again(port, envelope)
                except (TypeError, ValueError) as e:  # one of the largest size, and the new numbers are longer
                    engine.failures.report(e, Message(envelope.get("payload"), envelope=envelope))
        engine.emitter.flush()
        self._inherited = None
        self.orders.apply_mode()
        await engine.start()
        self.page.set_state(RUNNING)

    async def _stop(self, frame: dict[str, Any]) -> None:
        """Finish the handler, save, say the last acks, hand over what nobody can make again, end."""
        assert self._ended is not None
        self.page.set_state(DRAINING)
        handover, unacked = None, {}
        if self._went:
            drain_s = float(frame.get("drain_s") or self.spec["settings"].get("drain_timeout_s", 5.0))
            until_s = time.monotonic() + drain_s
            self.wiring.outside.is_open = False
            await self.engine.stop(drain_s)
            await self._wait_for_acks(min(float(frame["acks_s"]), until_s - time.monotonic()))
            self.wiring.ins.say_unsaid()
            handover = self._handover()
            unacked = self.wiring.outs.unacked()
            await self.wiring.close()
            await self.connection.close()
        self.link.answer(frame, "bye", handover=handover, unacked=unacked)
        if not self._ended.done():
            self._ended.set_result(0)

    async def _wait_for_acks(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s and self.wiring.outs.unacked():  # noqa: ASYNC110 - at the end, for a moment
            await asyncio.sleep(0.002)

    def _handover(self) -> bytes | None:
        """Un-acked outputs that no un-acked input can make again (a source's, a `sent` node's)."""
        if self._inherited is not None:
            return self._inherited  # stopped before it began
        if self.engine.committer.has_record and self.engine.committer.is_stored:
            return None  # the record's outbox has them
        parts, left, lost = [], MAX_FRAME - 65_536, 0
        for name, port in self.wiring.outs.ports.items():
            for kept in port.owed():
                if self._can_be_made_again(kept):
                    continue
                part = b"\x92" + pack(name) + port.inline(kept) if left > 0 else b""
                left -= len(part)
                if part and left >= 0:
                    parts.append(part)
                else:
                    lost += 1
        if lost:
            text = f"{lost} messages are not handed over: their tensors are more than {MAX_FRAME >> 20} MB in all"
            self.link.send("log", level="error", text=text)
        return join(parts) if parts else None

    @staticmethod
    def _can_be_made_again(kept: Kept) -> bool:
        cause = kept.cause
        if isinstance(cause, Receipt):
            return cause.position is not None or cause.comes_again
        return cause is not None and cause.open > 0

    def _on_host_gone(self) -> None:
        os._exit(0)  # nobody is left to end us in order (the host was killed)

    # -- frames of the host ---------------------------------------------------------------------------------------

    def _on_frame(self, frame: dict[str, Any]) -> None:
        asyncio.get_running_loop().create_task(self._handle(frame))

    async def _handle(self, frame: dict[str, Any]) -> None:
        op = frame["op"]
        try:
            match op:
                case "go":
                    await self._go(frame)
                case "stop":
                    await self._stop(frame)
                case _:
                    await self.orders.obey(frame)
        except Exception as e:
            self.link.answer(frame, "failed", error=f"{op}: {type(e).__name__}: {e}")
            logging.getLogger("flowcore.runner").exception("%s failed", op)
            if op == "go" and self._ended is not None and not self._ended.done():
                self._ended.set_result(1)

    # -- what happens on the bus ----------------------------------------------------------------------------------

    def _take(self, works: list[Any]) -> None:
        if self._rests:
            self._on_active()
        self.engine.put(works)

    def _on_down(self) -> None:
        self.link.send("bus", up=False)

    def _on_up(self) -> None:
        self.link.send("bus", up=True)
        self.wiring.on_up()

    def _on_reject(self, kept: Kept, error: Exception) -> None:
        body = {
            "flow": self.flow,
            "node": self.node_id,
            "error": type(error).__name__,
            "text": str(error),
            "ts": time.time_ns(),
            "message": settled_envelope(kept.packed, self.tensors.codec, MAX_ENVELOPE),
        }
        self.telling.event("error", body)
        self.engine.counts["errors"] += 1
        if self._is_rejecting or not self._send_rejected(body):
            self.engine.spawn(self.telling.give_up(body))

    def _send_rejected(self, body: dict) -> bool:
        self._is_rejecting = True  # the error port's own wire may close the cycle, and be as full
        try:
            return self.engine.failures.send(body, None)
        finally:
            self._is_rejecting = False

    def _on_stale(self) -> None:
        self.link.send("log", level="error", text=str(self.engine.committer.stale))
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(STALE_STATUS)

    def _on_gave_up(self, work: Any) -> None:
        wire = next((name for name, one in self.wiring.ins.wires.items() if one is work.wire), "")
        self.link.send("gave_up", wire=wire.partition("#")[0], epoch=work.epoch, seq=work.seq)

    # -- beats ----------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        self.page.beat()
        # Before the rest: statistics that fail are no reason to die.
        self._beat_after(self._rest_s if self._rests else self._beat_s)
        if self._rests and self._statistics.is_settled:
            return
        self.tensors.trim()
        mode, state = self.orders.mode, self.page.state
        body = self._statistics.due(mode if state == RUNNING and mode != "run" else STATES[state])
        self._rests = body is None
        if body is not None:
            self.telling.publish("stats", body)

    def _beat_after(self, seconds: float) -> None:
        self._next_beat = asyncio.get_running_loop().call_later(seconds, self._beat)

    def _on_active(self) -> None:
        """Something comes or goes again: who looks sees it in a second, and a handler may block as long as ever."""
        if self._rests:
            self._rests = False
            self.page.beat()
            self._next_beat.cancel()
            self._beat_after(self._beat_s)


def load_class(spec: dict[str, Any]) -> type[Node]:
    """Import the class of a node.

    Raises:
        ImportError, and whatever its module raises.
    """
    module = importlib.import_module(spec["module"])
    found: Any = module
    for name in spec["qualname"].split("."):
        found = getattr(found, name)
    if not (isinstance(found, type) and issubclass(found, Node)):
        raise ImportError(f"{spec['module']}.{spec['qualname']} is no node class")
    return found
