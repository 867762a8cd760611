"""The child side of a node: one process that connects, waits for `go`, handles messages, and ends when told.

    main(spec, link, page)    what the fork server calls

States, as the page shows them: starting -> ready (imported, `on_start` done) -> running (after `go`) -> draining.
A process that is ready says nothing on any wire, so that the one it replaces can finish first.
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
from collections.abc import Callable
from typing import Any

from flowcore.bus import subjects
from flowcore.bus.connection import Connection
from flowcore.bus.envelope import MAX_ENVELOPE, join, pack
from flowcore.flow.types import fits
from flowcore.node.bus_access import BusAccess
from flowcore.node.clock import Clock, FlowClock
from flowcore.node.describe import pictured, settled_envelope
from flowcore.node.engine import Engine
from flowcore.node.message import Message
from flowcore.node.node import Node
from flowcore.node.tensors import Tensors
from flowcore.runtime.link import MAX_FRAME, Link
from flowcore.runtime.linklog import log_to
from flowcore.runtime.page import DRAINING, READY, RUNNING, STARTING, Page, wire_hash
from flowcore.runtime.stats import Statistics
from flowcore.runtime.store import BusValues, GivenUp, record_store
from flowcore.runtime.wiring import Wiring
from flowcore.wires.out_port import Kept
from flowcore.wires.receipt import Receipt

_BEAT_S, _REST_S = 1.0, 2.0  # between two beats, and where nothing happens
_CONNECT_S = 2.0  # a start does not wait longer for a bus that is away
_ERRORS_PER_S = 10  # summaries that go to the host; `.error` has them all
_TURNS_TO_REST = 5
STUCK_STATUS, STALE_STATUS = 75, 76


def main(spec: dict[str, Any], link: socket.socket, page: memoryview) -> int:
    """Be the process of a node until its end. Returns the exit status."""
    import uvloop

    sys.setswitchinterval(0.001)  # a busy handler thread must not keep the event loop waiting for 5 ms
    return uvloop.run(Runner(spec, Page(page)).run(link))


class Runner:
    """One node process; also the `Around` of its engine."""

    def __init__(self, spec: dict[str, Any], page: Page) -> None:
        self.spec, self.page = spec, page
        self.flow, self.node_id = spec["flow"], spec["node"]
        self._mode = spec.get("mode", "run")
        longest_s = spec["heartbeat_s"] / 2.5  # one may fail to come, and the next still comes in time
        self._beat_s, self._rest_s = min(_BEAT_S, longest_s), min(_REST_S, longest_s)
        self._rests = False
        self.clock = FlowClock(spec["clock"]) if spec.get("clock") else Clock()
        self._ended: asyncio.Future[int] | None = None
        self._state = STARTING
        self._error_budget = float(_ERRORS_PER_S)
        self._error_at_s = time.monotonic()
        self._went = False
        self._inherited: bytes | None = None  # handed over to us, not emitted yet
        self._is_rejecting = False
        self._said = 0  # badges, errors, values shown

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
        self._set_state(READY)
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
            on_refused=self._on_refused,
        )
        self.tensors = Tensors(spec["settings"]["pool_mb"] << 20)
        self.wiring = Wiring(
            spec, self.connection, node_class.inputs, self._take, self._on_reject, self.tensors, self.clock
        )
        self.wiring.outside.on_malformed = self._on_malformed
        self.wiring.on_active = self._on_active
        self._given_up = GivenUp(self.connection, self.flow, self.node_id)
        self.engine = Engine(
            node_class,
            flow=self.flow,
            node_id=self.node_id,
            config=spec["config"],
            settings=spec["settings"],
            ports=self.wiring.outs.ports,
            main_port=spec["outputs"][0] if spec["outputs"] else None,
            around=self,
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
                    engine.report(e, Message(envelope.get("payload"), envelope=envelope))
        engine.emitter.flush()
        self._inherited = None
        self._apply_mode()
        await engine.start()
        self._set_state(RUNNING)

    async def _stop(self, frame: dict[str, Any]) -> None:
        """Finish the handler, save, say the last acks, hand over what nobody can make again, end."""
        assert self._ended is not None
        self._set_state(DRAINING)
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
                case "rewire":
                    await self.wiring.rewire(frame["wires_in"], frame["wires_out"], frame.get("streams") or {})
                    self.link.answer(frame, "rewired")
                case "reconfigure":
                    await self._reconfigure(frame)
                case "pause" | "resume":
                    self._mode = "paused" if op == "pause" else "run"
                    self._apply_mode()
                case "bypass":
                    self._mode = "bypassed" if frame["on"] else "run"
                    self._apply_mode()
                case "quiesce":
                    await self.engine.quiesce()
                case "drained?" | "drained":
                    self.link.answer(
                        frame,
                        "drained",
                        unacked=self.wiring.outs.unacked(),
                        queued=len(self.engine.queue) + self.engine.turns.busy,
                    )
                case "inject":
                    self._inject(frame)
                case "last?" | "last":
                    port = self.wiring.outs.ports.get(frame["port"] or self.engine.emitter.main or "")
                    kept = self.tensors.codec.unpack(port.last) if port and port.last else None
                    envelope = None if kept is None else pictured(kept, has_room=True)
                    self.link.answer(frame, "last", envelope=envelope)
                case "fire":
                    assert isinstance(self.clock, FlowClock), "its clock goes by the real time"
                    self.clock.fire()
                    self.link.answer(frame, "fired")
                case "rest?":
                    self.link.answer(frame, "rest", **await self._rest(frame["flush"]))
                case "shrink":
                    self.engine.committer.shrink()
                case "consumer_failed":
                    self.wiring.outs.set_consumer_failed(frame["wire"], frame["failed"])
        except Exception as e:
            self.link.answer(frame, "failed", error=f"{op}: {type(e).__name__}: {e}")
            logging.getLogger("flowcore.runner").exception("%s failed", op)
            if op == "go" and self._ended is not None and not self._ended.done():
                self._ended.set_result(1)

    async def _reconfigure(self, frame: dict[str, Any]) -> None:
        try:
            await self.engine.reconfigure(frame["config"])
        except Exception as e:
            self.link.answer(frame, "reconfigured", error=f"{type(e).__name__}: {e}")
        else:
            self.link.answer(frame, "reconfigured", error=None)

    def _inject(self, frame: dict[str, Any]) -> None:
        port = frame.get("port") or next(iter(self.spec["inputs"]), "")
        body = {"payload": frame.get("payload"), "topic": frame.get("topic") or "", "ts": self.clock.now_ns()}
        if frame.get("meta"):
            body["meta"] = frame["meta"]
        try:
            self.wiring.outside.inject(port, [body])
        except LookupError as e:
            self.link.answer(frame, "injected", error=str(e))
        else:
            self.link.answer(frame, "injected", error=None)

    async def _rest(self, with_flush: bool) -> dict[str, Any]:
        """Whether anything goes on here, when it will by itself, and a mark that is another after anything went on.

        With `with_flush` all that was said is on its way from the bus before this is answered, and all that the bus had
        for us has come.
        """
        if with_flush:
            with contextlib.suppress(TimeoutError):
                await self.connection.flush()
        for _ in range(_TURNS_TO_REST):  # a task that was just woken gets to what it does
            await asyncio.sleep(0)
        engine, clock = self.engine, self.clock
        fired = clock.fired if isinstance(clock, FlowClock) else 0
        sent = [*self.wiring.progress(), engine.committer.commits, self._said]
        mark = (*sent, *engine.counts.values(), engine.turns.busy, fired)
        is_at_rest = self._state == RUNNING and engine.is_at_rest() and not self.wiring.ins.is_ack_due
        due_s = clock.next_due_s() if isinstance(clock, FlowClock) else None
        return {"is_at_rest": is_at_rest, "mark": mark, "sent": sent, "due_s": due_s}

    def _apply_mode(self) -> None:
        self._on_active()
        engine = self.engine
        if self._mode == "paused":
            engine.pause()
        else:
            engine.resume()
        engine.turns.bypass_to = self._bypass_port() if self._mode == "bypassed" else None

    def _bypass_port(self) -> str | None:
        """The first output whose type takes what the first input brings."""
        node = self.engine.node
        inputs = [port.type_name for port in node.inputs.values()] or ["any"]
        for name in self.spec["outputs"]:
            out = node.outputs.get(name)
            if out is None or fits(inputs[0], out.type_name):
                return name
        return next(iter(self.spec["outputs"]), None)

    # -- what happens on the bus ----------------------------------------------------------------------------------

    def _take(self, works: list[Any]) -> None:
        if self._rests:
            self._on_active()
        self.engine.put(works)

    def _on_down(self) -> None:
        self.link.send("bus", up=False)

    def _on_up(self) -> None:
        self.link.send("bus", up=True)
        if hasattr(self, "wiring"):
            self.wiring.on_up()

    def _on_refused(self, text: str) -> None:
        if self._may_say():
            self.link.send("refused", subject=text)
            self.status(f"refused by the bus: {text}", "error")

    def _on_malformed(self, subject: str, why: str) -> None:
        self._summary({"error": "Malformed", "text": f"{subject}: {why}"})
        if self._error_budget >= 1:
            body = {"flow": self.flow, "node": self.node_id, "error": "Malformed", "text": why, "subject": subject}
            self._publish_event("error", body | {"ts": time.time_ns()})

    def _on_reject(self, kept: Kept, error: Exception) -> None:
        body = {
            "flow": self.flow,
            "node": self.node_id,
            "error": type(error).__name__,
            "text": str(error),
            "ts": time.time_ns(),
            "message": settled_envelope(kept.packed, self.tensors.codec, MAX_ENVELOPE),
        }
        self.event("error", body)
        self.engine.counts["errors"] += 1
        if self._is_rejecting or not self._send_rejected(body):
            self.engine.spawn(self.give_up(body))

    def _send_rejected(self, body: dict) -> bool:
        self._is_rejecting = True  # the error port's own wire may close the cycle, and be as full
        try:
            return self.engine.send_error(body, None)
        finally:
            self._is_rejecting = False

    def _on_stale(self) -> None:
        self.link.send("log", level="error", text=str(self.engine.committer.stale))
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(STALE_STATUS)

    def _on_gave_up(self, work: Any) -> None:
        wire = next((name for name, one in self.wiring.ins.wires.items() if one is work.wire), "")
        self.link.send("gave_up", wire=wire.partition("#")[0], epoch=work.epoch, seq=work.seq)

    # -- Around: what the engine says -----------------------------------------------------------------------------

    def status(self, text: str, kind: str) -> None:
        self.link.send("status", text=text, kind=kind)
        self._publish_event("status", {"node": self.node_id, "text": text, "kind": kind, "ts": time.time_ns()})

    def event(self, kind: str, body: dict) -> None:
        if kind == "error":
            self._summary(body)
        self._publish_event(kind, body)

    def _publish_event(self, kind: str, body: dict) -> None:
        if kind != "stats":
            self._said += 1
            self._on_active()
        try:
            data = pack(body)
        except (TypeError, ValueError):
            data = pack(
                {key: value if isinstance(value, (str, int)) else repr(value)[:8192] for key, value in body.items()}
            )
        self.connection.publish(subjects.event(self.flow, self.node_id, kind), data)

    def _summary(self, body: dict) -> None:
        """Tell the host of an error."""
        if self._may_say():
            self.link.send("error", error=body.get("error"), text=body.get("text"), traceback=body.get("traceback", ""))

    def _may_say(self) -> bool:
        """True ten times a second at most: a node that fails at each message must not fill the host's log."""
        now_s = time.monotonic()
        self._error_budget = min(_ERRORS_PER_S, self._error_budget + (now_s - self._error_at_s) * _ERRORS_PER_S)
        self._error_at_s = now_s
        if self._error_budget < 1:
            return False
        self._error_budget -= 1
        return True

    async def give_up(self, body: dict) -> None:
        await self._given_up.keep(body)

    def stuck(self, message: Any) -> None:
        which = f" ({message.id})" if message is not None else ""
        self.link.send("log", level="error", text=f"the handler does not come back from its time-out{which}")
        asyncio.get_running_loop().create_task(self._end_at_once(STUCK_STATUS))

    async def _end_at_once(self, status: int) -> None:
        await self.link.flush()  # the loop writes what was sent at its next turn only
        os._exit(status)  # a thread that hangs keeps the interpreter from ending

    def enter(self, work: Any) -> int | None:
        hashed = work.wire.page_hash
        return self.page.enter(hashed, work.epoch, work.seq) if hashed else None

    def move(self, slot: int | None, work: Any) -> int | None:
        hashed = work.wire.page_hash
        if slot is None or not hashed:
            self.page.leave(slot, 0)
            return self.enter(work)
        self.page.move(slot, hashed, work.epoch, work.seq)
        return slot

    def noter(self, slot: int | None) -> Callable[[int, int, int], Any]:
        return self.page.noter(slot)

    def leave(self, slot: int | None, handled: int = 1) -> None:
        self.page.leave(slot, handled)

    # -- beats ----------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        self.page.beat()
        # Before the rest: statistics that fail are no reason to die.
        self._beat_after(self._rest_s if self._rests else self._beat_s)
        if self._rests and self._statistics.is_settled:
            return
        self.tensors.trim()
        body = self._statistics.due(
            self._mode if self._state == RUNNING and self._mode != "run" else _WORDS[self._state]
        )
        self._rests = body is None
        if body is not None:
            self._publish_event("stats", body)

    def _beat_after(self, seconds: float) -> None:
        self._next_beat = asyncio.get_running_loop().call_later(seconds, self._beat)

    def _on_active(self) -> None:
        """Something comes or goes again: who looks sees it in a second, and a handler may block as long as ever."""
        if self._rests:
            self._rests = False
            self.page.beat()
            self._next_beat.cancel()
            self._beat_after(self._beat_s)

    def _set_state(self, state: int) -> None:
        self._state = state
        self.page.set_state(state)


_WORDS = {STARTING: "starting", READY: "ready", RUNNING: "running", DRAINING: "draining"}


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
