"""What stands behind one node: its parts put together, its life, its queue, and what a node's methods ask for.

The process around it (`flowcore.node.around`) brings wires and a store. How messages go through the handlers is in
`flowcore.node.turns`; how outputs leave is in `flowcore.node.emit`; when the state is written is in
`flowcore.node.commit`; what becomes of errors is in `flowcore.node.failures`; a source's `run()` is in
`flowcore.node.source`.

Invariant: unless `concurrency` says otherwise, one handler (message, timer or life-cycle hook) runs at a time.
"""

import asyncio
import contextvars
import inspect
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from flowcore.buffers import BufferExpired
from flowcore.bus.envelope import Malformed, pack
from flowcore.node.around import Around
from flowcore.node.clock import Clock
from flowcore.node.commit import Committer
from flowcore.node.config import parse
from flowcore.node.context import Context
from flowcore.node.emit import Emitter
from flowcore.node.failures import Failures
from flowcore.node.message import Message, current
from flowcore.node.node import Node
from flowcore.node.preview import Budget
from flowcore.node.record import Record, RecordStore
from flowcore.node.references import References
from flowcore.node.reports import debug_body
from flowcore.node.resolve import ComesAgain
from flowcore.node.source import Source
from flowcore.node.state import State
from flowcore.node.tensors import Tensors
from flowcore.node.turns import Turns
from flowcore.node.work import HandlerThread, Timer
from flowcore.wires.out_port import OutPort
from flowcore.wires.receipt import Receipt

_STATUS_LIMIT = 500
_SHORTEST_EVERY_S = 0.001
_LEAST_STOP_S = 0.2  # for each step of a stop, when the ones before took all the time


class Engine:
    """Runs one node. Make it inside a running event loop.

    Args:
        node_class: the class of the node.
        flow, node_id: who it is.
        config: raw values; env and secrets filled in, `$message`, `$flow` and `$global` still references.
        settings: complete node settings.
        ports: output ports by name, hidden ones among them.
        tensors: the shared memory of this process, whose codec the ports pack with.
        store: where the node's record is kept; None: nowhere.
        contexts: the shared contexts, for classes that ask for them.
    """

    def __init__(
        self,
        node_class: type[Node],
        *,
        flow: str,
        node_id: str,
        config: dict[str, Any],
        settings: dict[str, Any],
        ports: dict[str, OutPort],
        main_port: str | None,
        around: Around,
        tensors: Tensors,
        store: RecordStore | None = None,
        contexts: Any = None,
        clock: Clock | None = None,
        inc: int = 1,
        extras: dict[str, Any] | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.settings = settings
        self.around = around
        self.clock = clock or Clock()
        self.queue: deque[Any] = deque()
        self.timers_due: deque[Timer] = deque()
        self.counts = {"handled": 0, "errors": 0, "late": 0, "retried": 0, "given_up": 0}
        self.latencies_ms: deque[float] = deque(maxlen=512)
        self.state = State()
        self.tensors = tensors
        self.failures = Failures(self)
        self.emitter = Emitter(ports, main_port, settings, tensors, lambda error: self.failures.report(error, None))
        self.committer = Committer(self.state, self.emitter, store, inc)
        self.thread = HandlerThread(self.loop, f"{node_id}-handler")
        self.extras = extras or {}
        self._previews = Budget()
        self._tasks: set[asyncio.Task] = set()
        self._thread_id = threading.get_ident()

        self.node = node = node_class()
        node.engine = self
        node.id, node.flow = node_id, flow
        node.log = logging.getLogger(f"flowcore.node.{flow}.{node_id}")
        node.state = self.state
        node.flow_context = Context(contexts if "flow" in node_class.context else None, flow)
        node.global_context = Context(contexts if "global" in node_class.context else None, "global")
        node.config, references = parse(node_class.Config, config)
        self.references = References(node, references)
        self.source = Source(node, lambda error: self.failures.report(error, None))
        if self.concurrency > 1:
            self.committer.is_ordered = False
            self.state.refusal = "self.state needs concurrency 1: two handlers at once cannot be stored as one state"
        self.turns = Turns(self)
        self._aside = frozenset(name for name, port in node_class.inputs.items() if port.is_aside)

    @property
    def concurrency(self) -> int:
        """How many handlers run at once."""
        if self.node.waits:
            return max(1, getattr(self.node.config, self.node.waits))
        return max(1, self.settings.get("concurrency", 1))

    # -- life -----------------------------------------------------------------------------------------------------

    async def load(self) -> Record:
        """Read the stored state; the caller gives `applied` to its wires and emits the outbox."""
        return await self.committer.load()

    async def warm_up(self) -> None:
        """Call `on_start`: connect, load models. Raises what it raises."""
        await self.call(self.node.on_start)

    async def start(self) -> None:
        """Call `on_go`, begin to handle, and to run a source. After `load`."""
        await self._call_as_turn(self.node.on_go)
        self.turns.start()
        if self.node.is_source():
            self.source.begin()

    async def stop(self, drain_s: float) -> None:
        """Take nothing more, let the handler finish, call `on_stop`, write the state; all within `drain_s`, or so."""
        until_s = time.monotonic() + drain_s

        def left_s() -> float:
            return max(_LEAST_STOP_S, until_s - time.monotonic())

        self.emitter.running.set()  # what `on_stop` sends must not wait for a resume
        await self.source.quiesce(left_s())
        if not await self.turns.stop(left_s()):
            self.node.log.warning("a handler did not end within %.1f s: it is left behind", drain_s)
            self.committer.abandon()
        try:
            async with asyncio.timeout(left_s()):
                await self._call_as_turn(self.node.on_stop)
        except TimeoutError:
            self.node.log.warning("on_stop did not end within %.1f s", drain_s)
            if self.thread.is_busy:
                self.committer.abandon()
        except Exception as e:
            self.failures.report(e, None)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=left_s())
        self.emitter.flush()
        await self.committer.close(left_s())
        await self.emitter.close()
        self.thread.close()
        self.tensors.close()

    async def _call_as_turn(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a hook that may change the state: what it changed is stored when it is through."""
        self.committer.turn_begins()
        try:
            return await self.call(function, *args)
        finally:
            if not self.thread.is_busy:
                self.committer.turn_ends([])

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a hook: async on the loop, sync in the handler thread."""
        if inspect.iscoroutinefunction(function):
            return await function(*args)
        result = await self.thread.call(function, *args)
        return await result if inspect.isawaitable(result) else result

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Change the config while the node runs; when validation or `on_reconfigure` raise, the old one stays."""
        new, references = parse(type(self.node).Config, config)
        async with self.turns.between():
            old, old_references = self.node.config, self.references
            self.node.config, self.references = new, References(self.node, references, old_references.known)
            try:
                await self._call_as_turn(self.node.on_reconfigure, old)  # type: ignore[attr-defined]
            except BaseException:
                self.node.config, self.references = old, old_references
                raise
            self.turns.set_concurrency(self.concurrency)
            if self.source.is_running and getattr(self.node, "run_again_on_reconfigure", False):
                await self.source.quiesce()
                self.source.begin()

    # -- work in --------------------------------------------------------------------------------------------------

    def put(self, items: Sequence[Any]) -> None:
        """Queue messages, in order of arrival; those of an input aside wait for nothing."""
        if self._aside and (aside := [one for one in items if one.wire.in_port in self._aside]):
            for work in aside:
                if "unresolved" in work.envelope:
                    self.spawn(self._resolve_aside(work))
                else:
                    self._take_aside(work)
            items = [one for one in items if one.wire.in_port not in self._aside]
        if items:
            self.queue.extend(items)
            self.turns.wake()

    def _take_aside(self, work: Any) -> None:
        message = Message.arrived(work)
        try:
            self.node.on_aside(message)  # type: ignore[attr-defined]
        except Exception as e:
            self.failures.report(e, message)
        work.one_done()

    async def _resolve_aside(self, work: Any) -> None:
        try:
            await self.tensors.resolver.resolve(work)
        except ComesAgain:
            work.one_done()
        except (BufferExpired, Malformed) as e:
            self.failures.report(e, Message.arrived(work))
            work.one_done()
        else:
            self._take_aside(work)

    def pause(self) -> None:
        """Handle nothing more; a source waits in send."""
        self.turns.pause()
        self.emitter.running.clear()

    def resume(self) -> None:
        """Undo `pause`."""
        self.emitter.running.set()
        self.turns.resume()

    # -- what Node's methods call ---------------------------------------------------------------------------------

    @property
    def position(self) -> Any:
        return self.committer.position

    async def send(
        self,
        value: Any,
        *,
        port: str | None,
        topic: str | None,
        meta: dict | None,
        position: Any,
        held: bool = True,
    ) -> Receipt:
        handling = current.get()
        if handling is None and position is None and not isinstance(value, Message):
            receipt = Receipt()
            if self.emitter.send_value(port, value, topic or "", meta, receipt):
                if self.emitter.is_turn_over:
                    self.around.leave(None)  # progress, as below
                    await asyncio.sleep(0)
                return receipt
        if isinstance(value, Message):
            draft = value
            if topic is not None or meta is not None:
                draft = value.derive()
        elif handling is not None:
            draft = handling.derive(value)
        else:
            draft = Message(value)
        if topic is not None:
            draft.topic = topic
        if meta is not None:
            draft.meta = meta
        receipt = Receipt()
        if position is not None:
            pack(position)  # now, when its sender hears of it
            receipt.position = position
        # A task that a handler started may outlive it: its input is acked by then, and waits for nothing.
        cause = handling.cause if handling is not None and handling.cause.open > 0 else None
        try:
            await self.emitter.send(port, draft, cause, receipt, held)
        except (TypeError, ValueError):
            if position is not None:
                self.committer.track(receipt, position)  # it can never be sent: a replay begins behind it
            raise
        if position is not None:
            self.committer.track(receipt, position)
        if handling is None:
            self.around.leave(None)  # progress: a source that dies after it has begun well
        return receipt

    def timer(self, after_s: float, every_s: float | None, function: Callable[..., Any], args: tuple) -> Timer:
        if every_s is not None:
            every_s = max(every_s, _SHORTEST_EVERY_S)
        timer = Timer(function, args, every_s, self.clock.call_later, self.on_loop, self._on_due)
        self.on_loop(timer.schedule, after_s)
        return timer

    def _on_due(self, timer: Timer) -> None:
        self.timers_due.append(timer)
        self.turns.wake()

    def spawn(self, coroutine: Any) -> Any:
        def start() -> asyncio.Task:
            apart = contextvars.copy_context()
            apart.run(current.set, None)  # what it sends is not the output of the message that is being handled
            task = self.loop.create_task(self._guard(coroutine), context=apart)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return task

        if self.is_on_loop():
            return start()
        return self.loop.call_soon_threadsafe(start)

    async def _guard(self, coroutine: Any) -> Any:
        try:
            return await coroutine
        except Exception as e:
            self.failures.report(e, None)

    def now_s(self) -> float:
        return self.clock.now_s()

    def is_at_rest(self) -> bool:
        """With a clock that stands still: nothing goes on here before a message comes or the clock is moved."""
        busy = self.turns.busy
        if busy > self.clock.waiting + self.emitter.blocked or not self.emitter.is_flushed:
            return False
        if busy:  # handlers that wait for the clock, or for nodes that do; what is behind them waits, too
            return busy >= self.concurrency or not (self.queue or self.timers_due)
        return (self.turns.is_paused or not (self.queue or self.timers_due)) and self.committer.is_clean

    def is_on_loop(self) -> bool:
        """True in the event loop's thread."""
        return threading.get_ident() == self._thread_id

    def on_loop(self, function: Callable[..., Any], *args: Any) -> None:
        """Call now when in the loop's thread, else soon."""
        if self.is_on_loop():
            function(*args)
        else:
            self.loop.call_soon_threadsafe(function, *args)

    def set_status(self, text: str, kind: str) -> None:
        self.on_loop(self._set_status, str(text)[:_STATUS_LIMIT], kind)

    def _set_status(self, text: str, kind: str) -> None:
        self.around.status(text, kind)
        if self.emitter.is_wired("status"):
            instance = self.node.id.rpartition(":")[0] if self.node.speaks_for_instance else ""
            told = {"node": instance or self.node.id, "text": text, "kind": kind}
            self.emitter.send_newest("status", Message(told))

    def debug(self, value: Any, message: Message | None) -> None:
        self.on_loop(self.around.event, "debug", debug_body(value, message, self.node.id, self._previews))
