"""What a host orders a node process to do while it is at work: other wires, another config, pause, inject, look.

One frame of the link, one order, and its answer where one is waited for (`runtime/link.py`). To go and to stop are no
orders: they begin and end the work, and are the runner's.

Errors: what can be said in the answer (a config that is refused, an input that is not there) is; anything else is
raised, and the runner answers `failed`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from flowcore.flow.types import fits
from flowcore.node.clock import FlowClock
from flowcore.node.describe import pictured
from flowcore.node.engine import Engine
from flowcore.runtime.link import Link
from flowcore.runtime.page import RUNNING, Page
from flowcore.runtime.telling import Telling
from flowcore.runtime.wiring import Wiring

_TURNS_TO_REST = 5


class Orders:
    """Carries out the orders of one process's host.

    Args:
        spec: as the host gives it to a process.
        link: to the host.
        page: that the host reads.
        engine, wiring, telling: of the process.

    Attributes:
        mode: run, paused or bypassed; at first as in `spec`, for the engine from `apply_mode` on.
    """

    def __init__(
        self, spec: Mapping[str, Any], link: Link, page: Page, engine: Engine, wiring: Wiring, telling: Telling
    ) -> None:
        self.mode: str = spec.get("mode", "run")
        self.on_active: Callable[[], None] = lambda: None  # it has another mode, for whoever looks
        self._inputs, self._outputs = spec["inputs"], spec["outputs"]
        self._link, self._page, self._engine, self._wiring, self._telling = link, page, engine, wiring, telling

    async def obey(self, frame: dict[str, Any]) -> None:
        """Do what a frame says, and answer it. What is no order is passed over."""
        engine, wiring, link = self._engine, self._wiring, self._link
        match frame["op"]:
            case "rewire":
                await wiring.rewire(frame["wires_in"], frame["wires_out"], frame.get("streams") or {})
                link.answer(frame, "rewired")
            case "reconfigure":
                link.answer(frame, "reconfigured", error=await self._reconfigure(frame["config"]))
            case "pause" | "resume" as op:
                self._set_mode("paused" if op == "pause" else "run")
            case "bypass":
                self._set_mode("bypassed" if frame["on"] else "run")
            case "quiesce":
                await engine.source.quiesce()
            case "drained?" | "drained":
                queued = len(engine.queue) + engine.turns.busy
                link.answer(frame, "drained", unacked=wiring.outs.unacked(), queued=queued)
            case "inject":
                link.answer(frame, "injected", error=self._inject(frame))
            case "last?" | "last":
                link.answer(frame, "last", envelope=self._last(frame["port"]))
            case "fire":
                assert isinstance(engine.clock, FlowClock), "its clock goes by the real time"
                engine.clock.fire()
                link.answer(frame, "fired")
            case "rest?":
                link.answer(frame, "rest", **await self._rest(frame["flush"]))
            case "shrink":
                engine.committer.shrink()
            case "consumer_failed":
                wiring.outs.set_consumer_failed(frame["wire"], frame["failed"])

    async def _reconfigure(self, config: dict[str, Any]) -> str | None:
        """Returns why the old config stays, None when it does not."""
        try:
            await self._engine.reconfigure(config)
        except Exception as e:
            return f"{type(e).__name__}: {e}"
        return None

    def _inject(self, frame: dict[str, Any]) -> str | None:
        """Queue a message as from outside. Returns why it is not taken."""
        port = frame.get("port") or next(iter(self._inputs), "")
        ts = self._engine.clock.now_ns()
        body = {"payload": frame.get("payload"), "topic": frame.get("topic") or "", "ts": ts}
        if frame.get("meta"):
            body["meta"] = frame["meta"]
        try:
            self._wiring.outside.inject(port, [body])
        except LookupError as e:
            return str(e)
        return None

    def _last(self, name: str | None) -> Any:
        """The newest message of an output, tensors as small pictures; None: there is none."""
        port = self._wiring.outs.ports.get(name or self._engine.emitter.main or "")
        kept = self._engine.tensors.codec.unpack(port.last) if port and port.last else None
        return None if kept is None else pictured(kept, has_room=True)

    async def _rest(self, with_flush: bool) -> dict[str, Any]:
        """Whether anything goes on here, when it will by itself, and a mark that is another after anything went on.

        With `with_flush` all that was said is on its way from the bus before this is answered, and all that the bus had
        for us has come.
        """
        engine, wiring, clock = self._engine, self._wiring, self._engine.clock
        if with_flush:
            with contextlib.suppress(TimeoutError):
                await wiring.connection.flush()
        for _ in range(_TURNS_TO_REST):  # a task that was just woken gets to what it does
            await asyncio.sleep(0)
        fired = clock.fired if isinstance(clock, FlowClock) else 0
        sent = [*wiring.progress(), engine.committer.commits, self._telling.said]
        mark = (*sent, *engine.counts.values(), engine.turns.busy, fired)
        is_at_rest = self._page.state == RUNNING and engine.is_at_rest() and not wiring.ins.is_ack_due
        due_s = clock.next_due_s() if isinstance(clock, FlowClock) else None
        return {"is_at_rest": is_at_rest, "mark": mark, "sent": sent, "due_s": due_s}

    # -- mode -----------------------------------------------------------------------------------------------------

    def _set_mode(self, mode: str) -> None:
        self.mode = mode
        self.apply_mode()

    def apply_mode(self) -> None:
        """Have the engine handle, wait or pass on, as the mode says."""
        self.on_active()
        engine = self._engine
        if self.mode == "paused":
            engine.pause()
        else:
            engine.resume()
        engine.turns.bypass_to = self._bypass_port() if self.mode == "bypassed" else None

    def _bypass_port(self) -> str | None:
        """The first output whose type takes what the first input brings."""
        node = self._engine.node
        inputs = [port.type_name for port in node.inputs.values()] or ["any"]
        for name in self._outputs:
            out = node.outputs.get(name)
            if out is None or fits(inputs[0], out.type_name):
                return name
        return next(iter(self._outputs), None)
