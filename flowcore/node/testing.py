"""Drive one node in a test: put messages in, look at what comes out. No bus, no process; the engine is the real one.

    async with drive(Deadband, band=1.0) as node:
        await node.put(20.0, 20.4, 21.5)
        assert await node.sent() == [20.0, 21.5]

The node's clock (`now_s`, `after`, `every`) stands still until `await node.advance(seconds)`.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from flowcore.buffers import Codec, Pools
from flowcore.node.clock import MovedClock
from flowcore.node.describe import has_tensors
from flowcore.node.engine import Engine
from flowcore.node.message import Message
from flowcore.node.node import Node
from flowcore.node.ports import In
from flowcore.node.record import RecordStore
from flowcore.node.tensors import Tensors
from flowcore.node.work import Foreign, ForeignInput
from flowcore.wires.out_port import Kept, Origin, OutPort

_OUTSIDE_BYTES = 1 << 30  # shared memory for tensors that a test puts in, at most


class MemoryStore:
    """Keeps a node's record for a test; give it to a second `drive` to see a restart."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[bytes, int]] = {}
        self.bytes_written = 0
        self._revision = 0

    def copy(self) -> "MemoryStore":
        """What is stored now: what a process that starts after a kill at this moment finds."""
        copied = MemoryStore()
        copied.entries, copied._revision = dict(self.entries), self._revision
        return copied

    async def read(self, key: str) -> tuple[bytes | None, int]:
        """An entry and its revision."""
        return self.entries.get(key, (None, 0))

    async def write(self, key: str, value: bytes, revision: int, below: str) -> int | None:
        """Keep an entry."""
        if revision != max((one[1] for name, one in self.entries.items() if name.startswith(below)), default=0):
            return None
        self._revision += 1
        self.entries[key] = (value, self._revision)
        self.bytes_written += len(value)
        return self._revision


class MemoryValues:
    """Shared contexts for a test."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[bytes, int]] = {}

    async def get(self, key: str) -> tuple[bytes | None, int]:
        """The entry and its revision."""
        return self.entries.get(key, (None, 0))

    async def put(self, key: str, value: bytes, revision: int | None) -> bool:
        """Write it."""
        newest = self.entries.get(key, (None, 0))[1]
        if revision is not None and revision != newest:
            return False
        self.entries[key] = (value, newest + 1)
        return True


class _Listener:
    """What a port sends to: it has a message until it was published, and the test has it from then on."""

    cause_waits = False
    is_waited_for = True

    def __init__(self) -> None:
        self._kept: list[Kept] = []

    def has_credit(self) -> bool:
        return True

    def credit(self) -> int:
        return 1 << 30

    def add(self, kept: Kept) -> int:
        self._kept.append(kept)
        return 0

    def flush(self) -> None:
        self._kept.clear()


class Driven:
    """A node under test; made by `drive`.

    Attributes:
        node: the instance.
        errors: bodies of what was published on `.error`; given_up: those that no catch took.
        statuses: (text, kind) of each badge, in order.
        debugged: values shown by `self.debug`.
        store: of `self.state`.
    """

    def __init__(self, node_class: type[Node], config: dict[str, Any], settings: dict[str, Any], options: dict) -> None:
        self._class, self._config, self._settings, self._options = node_class, config, settings, options
        self.errors: list[dict] = []
        self.given_up: list[dict] = []
        self.statuses: list[tuple[str, str]] = []
        self.debugged: list[Any] = []
        self.clock = MovedClock()
        self.store: Any = options.get("store") or MemoryStore()
        self._sent: dict[str, list[Message]] = defaultdict(list)
        self._order: list[Message] = []
        self._changed = asyncio.Event()
        self._pending: list[asyncio.Future] = []

    async def __aenter__(self) -> "Driven":
        names = [*_names(self._class.outputs, self._class.outputs_from, self._config, self._class, "out")]
        origin = Origin("test", "node", 1)
        self._outside = Codec(Pools(_OUTSIDE_BYTES))  # of whoever sends to the node
        self.tensors = Tensors(self._settings.get("pool_mb", 256) << 20)
        ports = {name: OutPort(origin, name, self._publish, self.tensors.codec) for name in names}
        for one in ports.values():
            one.wires.append(_Listener())  # type: ignore[arg-type]
        self._inputs = {
            name: ForeignInput(name, port.checker()) for name, port in _inputs(self._class, self._config).items()
        }
        self.engine = Engine(
            self._class,
            flow="test",
            node_id="node",
            config=self._config,
            settings=self._settings,
            ports=ports,
            main_port=names[0] if names else None,
            around=self,
            tensors=self.tensors,
            store=RecordStore(self.store, "test.node"),
            contexts=self._options.get("contexts") or MemoryValues(),
            clock=self.clock,
            extras=self._options.get("extras"),
        )
        self.node = self.engine.node
        await self.engine.warm_up()
        record = await self.engine.load()
        if self._options.get("state"):
            self.engine.state.replace(self._options["state"])
        for port, envelope in record.outbox:
            ports[port].emit_again([envelope], 0.0, lambda: None)
        await self.engine.start()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.engine.stop(2.0)

    # -- what a test does -----------------------------------------------------------------------------------------

    async def put(
        self, *payloads: Any, port: str | None = None, topic: str = "", meta: dict | None = None, **envelope: Any
    ) -> None:
        """Put messages in and wait until they are handled (and what they changed is stored)."""
        name = port or next(iter(self._inputs))
        if name not in self._inputs:
            raise LookupError(f"no input '{name}' (it has: {', '.join(self._inputs) or 'none'})")
        wire = self._inputs[name]
        works: list[Foreign] = []
        handled: list[asyncio.Future[None]] = []
        for payload in payloads:
            claims: tuple = ()
            if has_tensors(payload):  # as it comes over a wire
                payload, claims = self._received(payload)
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            handled.append(future)
            body = {"payload": payload, "topic": topic, "meta": dict(meta or {}), "ts": time.time_ns(), **envelope}
            wire.queued += 1
            works.append(Foreign(wire, body, partial(self._handled, future, claims, name)))
        payload = None  # who handles it alone holds it
        self.engine.put(works)
        if not self.engine.turns.is_paused:
            async with asyncio.timeout(20):
                await asyncio.gather(*handled)
                await self._settle()

    def _received(self, payload: Any) -> tuple[Any, tuple]:
        """A payload as the node gets it when another process sends it, and what that one holds until it is acked."""
        received = self.tensors.codec.unpack(self._outside.pack(payload))
        return received, (self._outside.taken, self.tensors.codec.lingering.of(received))

    def _handled(self, future: asyncio.Future[None], claims: tuple, port: str) -> None:
        if claims:
            self.tensors.codec.lingering.done(claims[1], port, "")
        if not future.done():
            future.set_result(None)

    async def sent(self, n: int | None = None, port: str | None = None) -> list[Any]:
        """Payloads sent so far on a port (None: on all, in order); waits until there are `n`, for 10 s at most."""
        return [message.payload for message in await self.sent_messages(n, port)]

    async def sent_messages(self, n: int | None = None, port: str | None = None) -> list[Message]:
        """As `sent`, the messages."""
        async with asyncio.timeout(10):
            while True:
                await self._settle()
                found = list(self._sent[port] if port is not None else self._order)
                if n is None or len(found) >= n:
                    return found
                self._changed.clear()
                await self._changed.wait()

    def messages(self, port: str | None = None) -> list[Message]:
        """Messages sent so far."""
        return list(self._sent[port] if port is not None else self._order)

    def clear(self) -> None:
        """Forget what was sent."""
        self._sent.clear()
        self._order.clear()

    async def advance(self, seconds: float) -> None:
        """Move the node's clock; what falls due is run, at its time, before this returns."""
        until_s = self.clock.now_s() + seconds
        await self._settle()
        while (handle := self.clock.pop_due(until_s)) is not None:
            handle.function()
            await self._settle()

    async def reconfigure(self, **config: Any) -> None:
        """Change the config of the running node."""
        self._config = self._config | config
        await self.engine.reconfigure(self._config)

    async def wait_for(self, condition: Callable[[], bool], timeout: float = 10.0) -> None:
        """Wait until something the node published makes `condition()` true."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.05)  # what the node keeps to itself is looked at

    async def _settle(self) -> None:
        """Wait until no work is queued or at hand and everything is stored and flushed."""
        engine = self.engine
        while True:
            for _ in range(3):
                await asyncio.sleep(0)
            is_quiet = not engine.queue and not engine.timers_due and not engine.turns.busy
            if engine.node.waits:  # its handlers wait for what the test puts in next
                is_quiet = not engine.timers_due and (not engine.queue or engine.turns.busy >= engine.concurrency)
            if (is_quiet or engine.turns.is_paused) and engine.committer.is_clean:
                engine.emitter.flush()
                return
            await asyncio.sleep(0.001)

    # -- Around: what the engine tells ----------------------------------------------------------------------------

    def status(self, text: str, kind: str) -> None:
        self.statuses.append((text, kind))
        self._changed.set()

    def event(self, kind: str, body: dict) -> None:
        if kind == "error":
            self.errors.append(body)
        else:
            self.debugged.append(body["value"])
        self._changed.set()

    async def give_up(self, body: dict) -> None:
        self.given_up.append(body)

    def stuck(self, message: Message | None) -> None:
        self.errors.append({"error": "Stuck", "text": "the handler does not come back from its time-out"})

    def enter(self, work: Any) -> int | None:
        return None

    def move(self, slot: int | None, work: Any) -> int | None:
        return None

    def noter(self, slot: int | None) -> Callable[[int, int, int], Any]:
        return lambda epoch, seq, now_ns: None

    def leave(self, slot: int | None, handled: int = 1) -> None:
        pass

    def _publish(self, subject: str, data: bytes) -> bool:
        port = subject.rsplit(".", 1)[-1]
        codec = self.tensors.codec
        for envelope in codec.resolve(codec.unpack(data)):
            message = Message(
                envelope["payload"],
                envelope["topic"],
                envelope["meta"],
                id=f"{envelope['epoch']}:{envelope['seq']}",
                envelope=envelope,
                deadline_ns=envelope.get("deadline"),
            )
            self._sent[port].append(message)
            self._order.append(message)
        self._changed.set()
        return True


def drive(
    node_class: type[Node],
    *,
    state: dict[str, Any] | None = None,
    store: Any = None,
    settings: dict[str, Any] | None = None,
    contexts: Any = None,
    extras: dict[str, Any] | None = None,
    **config: Any,
) -> Driven:
    """Drive one node: `async with drive(Scale, factor=2) as node: ...`.

    Args:
        state: what `self.state` holds at the start.
        store: a MemoryStore that outlives this drive, to test a restart.
        settings: node settings, such as `{"retry": {"times": 2, "backoff_s": 0}}`.
        config: the node's config, raw, as in a flow file.
    """
    options = {"state": state, "store": store, "contexts": contexts, "extras": extras}
    return Driven(node_class, config, settings or {}, options)


def _names(fixed: Any, names_from: str | None, config: dict, node_class: type[Node], prefix: str) -> list[str]:
    names = list(fixed)
    if names_from:
        value = config.get(names_from)
        if value is None:
            value = node_class.Config.model_fields[names_from].get_default(call_default_factory=True)
        if isinstance(value, int):
            names += [f"{prefix}{k}" for k in range(1, value + 1)]
        elif value and all(isinstance(one, str) for one in value):
            names += value
        else:
            names += [f"{prefix}{k}" for k in range(1, len(value or []) + 1)]
    return names


def _inputs(node_class: type[Node], config: dict) -> dict[str, In]:
    names = _names(node_class.inputs, node_class.inputs_from, config, node_class, "in")
    return {name: node_class.inputs.get(name) or _any(name) for name in names}


def _any(name: str) -> In:
    port = In()
    port.name = name
    return port
