"""A simulated world: a flow of real engines and real wiring, a bus that fails, a host that starts and replaces.

    with World(graph, seed) as world:
        world.run(0.5); world.kill("a"); world.run(0.2); world.finish()

Everything a node process does is the project's own code (`Runner`, `Wiring`, `Engine`, `Committer`, both ends of a
wire); simulated are the clock, the handler thread, the bus, and the host. A broken promise raises `Broken`.
"""

import asyncio
import contextlib
import contextvars
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import sim_frames
import sim_nodes
from sim_bus import Connection, Server
from sim_time import VirtualLoop, running, simulated

from flowcore.bus.envelope import pack, unpack
from flowcore.flow.model import NodeSettings
from flowcore.flow.resolved import WireSpec
from flowcore.node import record as stored_record
from flowcore.node.node import Node
from flowcore.node.record import Record, assemble
from flowcore.runtime.page import SIZE, Page
from flowcore.runtime.process import LAST_ACKS_S
from flowcore.runtime.runner import Runner
from flowcore.wires.frames import Ack, pack_offer
from flowcore.wires.out_wire import FeedbackWire, LatestWire, OutWire
from flowcore.wires.share import SharedWire

FLOW = "f"
WINDOW = 8
_SOURCES = (sim_nodes.Numbers, sim_frames.Frames)


class Broken(AssertionError):
    """A promise of the wires was broken."""


class Died(Exception):
    """The process that was asked something is dead."""


@dataclass
class Graph:
    """A flow: node id -> class, and its wires.

    Attributes:
        ordered: nodes whose first handlings must come in order.
        sinks: nodes that every number must reach.
        latest: nodes that must end with the newest number.
        group: the total is a multiple of this.
        spare: wires that come and go, and the node at their end.
    """

    nodes: dict[str, type[Node]]
    wires: list[WireSpec]
    ordered: tuple[str, ...] = ()
    sinks: tuple[str, ...] = ()
    latest: tuple[str, ...] = ()
    group: int = 1
    settings: dict[str, dict] = field(default_factory=dict)
    spare: WireSpec | None = None


def wire(text: str, **more: Any) -> WireSpec:
    """`a.out>b.in` as a wire with a small window."""
    start, end = text.split(">")
    (producer, port), (consumer, in_port) = start.split("."), end.split(".")
    return WireSpec(producer, port, consumer, in_port, **{"window": WINDOW, **more})


def _forgeries(rng: random.Random) -> list[tuple[bytes, str, bytes]]:
    """(data, reply, headers) of frames that no wire may believe.

    Well-formed ones come with a reply subject or headers, as the server sends what it was made to publish; plain ones
    are not what the protocol says. (Plain and well-formed ones the server refuses: the sender's rights.)
    """
    big = 1 << 40
    ack = Ack(big, big, rng.choice((1, 2, 5)), big, big, ((1, big),), True).pack()
    envelope = {"epoch": big, "seq": 1, "ts": 0, "topic": "", "payload": -1, "meta": {}}
    offer = pack_offer(big, 1, big, 0, True, [pack(envelope)])
    live = pack([envelope])
    believable = [(data, *how) for data in (ack, offer, live) for how in (("_INBOX.x", b""), ("", b"NATS/1.0\r\n\r\n"))]
    cut_off = [(data[: rng.randrange(len(data))], "", b"") for data in (ack, offer, live)]
    noise = [(rng.randbytes(rng.randint(0, 60)), "", b"") for _ in range(4)]
    wrong = [{}, {"epoch": -1}, [1], [[]], [{"seq": 1}], {"msgs": [1]}, None, "x", {"inc": "9", "n": 1, "epoch": 1}]
    return [*believable, *cut_off, *noise, *((pack(one), "", b"") for one in wrong)]


class Process:
    """One incarnation of a node's process."""

    def __init__(self, world: "World", name: str, inc: int) -> None:
        self.world, self.name, self.inc = world, name, inc
        self.node, _, k = name.partition("#")
        self.replica = int(k) if k else None
        self.is_alive = True
        self.is_live = False  # it was told to go
        self.connection: Any = None
        self.runner: Any = None
        self.ended = asyncio.Event()
        self.context = contextvars.copy_context()
        self.context.run(running.set, self)
        self._answers: dict[int, asyncio.Future] = {}
        self._n = 0
        self.told: dict = {}  # the wires it knows of
        self.is_open = True  # what the runner reads of its link
        self.keepers: list[sim_frames.KeepFrames] = []

    def call(self, function: Callable, *args: Any) -> Any:
        """Run something as this process."""
        return self.context.run(function, *args)

    def kill(self) -> None:
        """kill -9."""
        if self.is_alive:
            self.is_alive = False
            if self.connection is not None:
                self.connection.killed()
            self._end()

    def _end(self) -> None:
        self.is_alive = False
        self.vanish()
        for future in self._answers.values():
            if not future.done():
                future.set_exception(Died())
        self.ended.set()

    def vanish(self) -> None:
        """What it has of shared memory is the kernel's again."""
        if (tensors := getattr(self.runner, "tensors", None)) is not None and not self.ended.is_set():
            sim_frames.vanish(tensors)

    async def start(self) -> None:
        """Up to ready. Raises Died."""
        world = self.world
        if not self.is_alive:
            raise Died
        spec = world.spec(self)
        self.told = {key: spec[key] for key in ("wires_in", "wires_out", "streams")}

        async def begin() -> None:
            self.runner = Runner(spec, Page(memoryview(bytearray(SIZE))))
            self.runner.link = self
            self.runner._ended = asyncio.get_running_loop().create_future()
            await self.runner._build(world.graph.nodes[self.node])
            await self.runner.engine.warm_up()
            ready.set_result(None)
            await self.runner._ended
            world.loop.call_soon(self._leave, context=world.context)

        ready = self._answers[0] = world.loop.create_future()
        self.call(lambda: world.loop.create_task(begin()))
        await ready

    def _leave(self) -> None:
        if self.connection is not None:
            self.connection._leave()
        self._end()

    async def request(self, op: str, **fields: Any) -> dict:
        """A frame over the link, and its answer. Raises Died."""
        if not self.is_alive:
            raise Died
        self._n += 1
        frame = unpack(pack({"op": op, "re": self._n, **fields}), limit=1 << 26)
        future = self._answers[self._n] = self.world.loop.create_future()
        await asyncio.sleep(0.001)
        if not self.is_alive:
            raise Died
        self.call(lambda: self.world.loop.create_task(self.runner._handle(frame)))
        return await future

    async def rewire(self, ends: dict) -> None:
        """Tell it of its wires, unless it knows. Raises Died."""
        if ends != self.told:
            self.told = ends
            await self.request("rewire", **ends)

    # what the runner calls of its link

    def send(self, op: str, **fields: Any) -> bool:
        return True

    def answer(self, to: dict, op: str, **fields: Any) -> bool:
        if op == "failed":
            self.world.broken(f"{self.name}: {fields['error']}")
        future = self._answers.get(to["re"])
        if self.is_alive and future is not None and not future.done():
            future.set_result(fields)
        return True

    async def flush(self) -> None:
        """Nothing waits."""


class World:
    """Runs a graph; every method but `run` and `finish` only says what happens, at this instant."""

    def __init__(self, graph: Graph, seed: int = 0, total: int = 1 << 30) -> None:
        self.graph, self.rng, self._seed = graph, random.Random(seed), seed
        self.total = total
        self.sent = 0  # the highest number that a source was about to send
        self.wires = {one.id: one for one in graph.wires}
        self.replicas = {one.consumer: one.replicas for one in graph.wires if one.replicas > 1}
        self.first_seen: dict[str, dict[int, None]] = {}  # node -> numbers, in order of first handling
        self.handlings: dict[str, int] = {}
        self.latest: dict[str, Any] = {}
        self.owed_from: dict[str, int] = {}  # node behind a spare wire -> numbers above this must reach it
        self.records: dict[str, Record] = {}
        self.problems: list[str] = []
        self.rejected = 0  # messages that a cycle's closing wire had no room for
        self.widest = {one.id: one.window for one in graph.wires}  # the widest window that a wire has had
        self.current: dict[str, Process] = {}
        self.coming: dict[str, Process] = {}
        self.all: list[Process] = []
        self._oldest: dict[str, int] = {}  # process name -> first and newest incarnation that has handled
        self._newest: dict[str, int] = {}
        self._inc = 0
        self._busy: dict[str, asyncio.Task] = {}
        self._tasks: set[asyncio.Task] = set()
        self._settled: set[Process] = set()  # running, and neither being replaced nor restarted

    def __enter__(self) -> "World":
        self._patches = contextlib.ExitStack()
        self._patches.enter_context(simulated(Connection))
        if self._seed % 2:  # records as if they were large: of many parts, with changes after them
            for name, value in (("_SMALL", 0), ("_LEAST_CHANGES", 300), ("_PART", 200)):
                self._patches.enter_context(mock.patch.object(stored_record, name, value))
        self.loop = VirtualLoop()
        asyncio.set_event_loop(self.loop)
        self.context = contextvars.copy_context()
        self.server = Server(self)
        self._deploying = asyncio.Lock()
        for name in self._names():
            self._keep_up(name)
        self.loop.call_later(0.005, self._look)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.all:
            process.is_alive = False
        self.loop.is_over = True
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()

        async def unwind() -> None:
            await asyncio.wait(tasks, timeout=5)

        if tasks:
            self.loop.run_until_complete(unwind())
        self.loop.close()
        asyncio.set_event_loop(None)
        for process in self.all:
            process.vanish()
        self._patches.close()

    # -- time ---------------------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let simulated time pass."""
        self.loop.run_until_complete(asyncio.sleep(seconds))
        self._check()

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> float:
        """Run until something holds; returns how long it took."""
        begun_s = self.loop.time()

        async def wait() -> None:
            while not condition():  # noqa: ASYNC110 (simulated time)
                await asyncio.sleep(0.005)

        try:
            self.loop.run_until_complete(asyncio.wait_for(wait(), seconds))
        except TimeoutError:
            self._check()
            raise Broken(f"not within {seconds} s: {what}\n{self.picture()}") from None
        self._check()
        return self.loop.time() - begun_s

    def _check(self) -> None:
        self.problems += [
            f"{one.get('message')}: {one.get('exception')!r}"
            for one in self.loop.errors
            if "was destroyed" not in str(one.get("message"))
        ]
        if self.problems:
            raise Broken("\n".join(self.problems[:5]) + "\n" + self.picture())

    def broken(self, what: str) -> None:
        """Note a broken promise; `run` raises it."""
        self.problems.append(f"{self.loop.time() - 1000:.3f} s: {what}")

    # -- the host -----------------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        return [
            name
            for node in self.graph.nodes
            for name in ([f"{node}#{k}" for k in range(self.replicas[node])] if node in self.replicas else [node])
        ]

    def spec(self, process: Process) -> dict[str, Any]:
        """What the host gives a process."""
        node = self.graph.nodes[process.node]
        settings = {**NodeSettings().model_dump(), "drain_timeout_s": 1.0, "pool_mb": 1}
        settings |= self.graph.settings.get(process.node, {})
        return {
            "flow": FLOW,
            "node": process.node,
            "process": process.name,
            "replica": process.replica,
            "type": node.type,
            "config": {},
            "settings": settings,
            "inputs": list(node.inputs),
            "outputs": list(node.outputs),
            **self._ends(process.node, process.replica),
            "inc": process.inc,
            "bus": {"url": "sim", "trust": ""},
            "heartbeat_s": 5.0,
            "state_key": f"{FLOW}.{process.name.replace('#', '=')}",
        }

    def _ends(self, node: str, replica: int | None) -> dict[str, Any]:
        ins = [{**one.asdict(), "consumer_replica": replica} for one in self.wires.values() if one.consumer == node]
        outs = [one.asdict() for one in self.wires.values() if one.producer == node]
        return {"wires_in": ins, "wires_out": outs, "streams": {}}

    def _spawn(self, work: Any) -> asyncio.Task:
        task = self.context.run(self.loop.create_task, work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _keep_up(self, name: str) -> None:
        self._busy[name] = self._spawn(self._supervise(name))

    async def _start(self, name: str) -> Process:
        while True:
            self._inc += 1
            process = Process(self, name, self._inc)
            self.all.append(process)
            self.coming[name] = process
            await asyncio.sleep(self.rng.uniform(0.005, 0.03))
            try:
                await process.start()
                return process
            except Died:
                await asyncio.sleep(0.01)

    async def _supervise(self, name: str, handover: bytes | None = None) -> None:
        """Keep a process of this name running, whatever happens to it."""
        while True:
            process = await self._start(name)
            handover = await self._go(name, process, handover)
            await self._until_ended(process)
            await asyncio.sleep(self.rng.uniform(0.005, 0.04))

    async def _go(self, name: str, process: Process, handover: bytes | None) -> bytes | None:
        """Let a ready process go; returns the hand-over if it died before it took it."""
        self.coming.pop(name, None)
        self.current[name] = process
        process.is_live = True
        try:
            await process.rewire(self._ends(process.node, process.replica))
            await process.request("go", suspects=[], handover=handover)
        except Died:
            return handover
        return None

    async def _until_ended(self, process: Process) -> None:
        self._settled.add(process)
        await process.ended.wait()
        self._settled.discard(process)

    def kill(self, name: str) -> None:
        """kill -9 of whatever process of this name there is."""
        for process in (self.current.get(name), self.coming.get(name)):
            if process is not None and process.is_alive:
                process.kill()
                return

    def kill_pair(self, one: str, other: str, apart_s: float = 0.01) -> None:
        """The second dies a moment after the first."""
        self.kill(one)
        self.loop.call_later(apart_s, self.kill, other)

    def replace(self, name: str) -> None:
        """As a deploy does: start the new, drain the old to its end, let the new go."""
        old = self.current.get(name)
        if old is None or not old.is_alive or old not in self._settled:
            return
        self._settled.discard(old)
        self._busy[name].cancel()
        self._busy[name] = self._spawn(self._replace(name, old))

    async def _replace(self, name: str, old: Process) -> None:
        new = await self._start(name)
        handover = None
        try:
            async with asyncio.timeout(3.0):
                handover = (await old.request("stop", drain_s=1.0, acks_s=LAST_ACKS_S)).get("handover")
                await old.ended.wait()
        except Died:
            pass
        except TimeoutError:
            old.kill()
        if not new.is_alive:
            await self._supervise(name, handover)
            return
        handover = await self._go(name, new, handover)
        await self._until_ended(new)
        await self._supervise(name, handover)

    def add_wire(self, spec: WireSpec) -> None:
        """Deploy a wire; its consumer is told before its producer, or after."""
        self.wires[spec.id] = spec
        order = self.rng.choice(((spec.consumer, spec.producer), (spec.producer, spec.consumer)))
        self._rewire(spec, order, is_added=True)

    def remove_wire(self, wire_id: str) -> None:
        """Deploy without it."""
        spec = self.wires.pop(wire_id)
        self.owed_from.pop(spec.consumer, None)
        self._rewire(spec, (spec.producer, spec.consumer))

    def change_wire(self, wire_id: str, **changes: Any) -> None:
        """Deploy it with other settings."""
        spec = self.wires[wire_id] = replace(self.wires[wire_id], **changes)
        self.widest[wire_id] = max(self.widest.get(wire_id, 0), spec.window)
        self._rewire(spec, (spec.producer, spec.consumer))

    def scale(self, node: str, replicas: int) -> None:
        """Another number of replicas: new ones start, producers are told, those that left are stopped."""
        before = self.replicas[node]
        self.replicas[node] = replicas
        for wire_id, spec in list(self.wires.items()):
            if spec.consumer == node:
                self.wires[wire_id] = replace(spec, replicas=replicas)
            if spec.producer == node:
                self.wires[wire_id] = replace(spec, producer_replicas=replicas)
        for k in range(before, replicas):
            self._keep_up(f"{node}#{k}")
        self._spawn(self._scale(node, replicas, before))

    async def _scale(self, node: str, replicas: int, before: int) -> None:
        around = [spec.producer for spec in self.wires.values() if spec.consumer == node]
        around += [spec.consumer for spec in self.wires.values() if spec.producer == node]
        async with self._deploying:
            for one in [*around, *(f"{node}#{k}" for k in range(min(before, replicas)))]:
                await self._tell(one)
        for k in range(replicas, before):
            name = f"{node}#{k}"
            self._busy.pop(name).cancel()
            if (coming := self.coming.pop(name, None)) is not None:
                coming.kill()
            process = self.current.pop(name, None)
            if process is not None and process.is_alive:
                try:
                    async with asyncio.timeout(3.0):
                        await process.request("stop", drain_s=1.0, acks_s=1.0)
                        await process.ended.wait()
                except Died:
                    pass
                except TimeoutError:
                    process.kill()

    def _rewire(self, spec: WireSpec, nodes: Iterable[str], is_added: bool = False) -> None:
        async def tell() -> None:
            async with self._deploying:
                for node in nodes:
                    await self._tell(node)
            if is_added and spec.id in self.wires:
                seen = self.first_seen.get(spec.producer, {})
                self.owed_from.setdefault(spec.consumer, max(seen, default=0))

        self._spawn(tell())

    async def _tell(self, name: str) -> None:
        for process in (self.current.get(name), self.coming.get(name)):
            if process is not None and process.is_alive and process.runner is not None:
                try:
                    await process.rewire(self._ends(process.node, process.replica))
                except Died:
                    continue  # its successor's spec has it

    # -- outsiders ----------------------------------------------------------------------------------------------

    def send_forged(self, rng: random.Random) -> None:
        """Frames as outsiders can get them to a process: none of them may change a wire."""

        async def send() -> None:
            self._send_forged(rng)

        self.loop.run_until_complete(send())

    def _send_forged(self, rng: random.Random) -> None:
        for process in [one for one in self.current.values() if one.is_alive and hasattr(one.runner, "wiring")]:
            if not process.connection.is_up or not process.runner.wiring.is_live:
                continue
            before = self.wires_of(process)
            for pattern, callback in list(process.connection._wanted.items()):
                subject = pattern.replace("*", "x") if ".in." in pattern or "*" in pattern else pattern
                if ".in." in subject:
                    continue  # what outsiders put in is handled, no wire's business
                for wire_end in process.runner.wiring.outs.by_ack.values():
                    if pattern.endswith(".ack") and rng.random() < 0.5:
                        subject = wire_end.ends.ack
                for data, reply, headers in _forgeries(rng):
                    process.call(callback, subject, data, reply, headers)
            after = self.wires_of(process)
            if before != after:
                self.broken(f"{process.name}: an outside frame changed a wire: {before} -> {after}")

    def wires_of(self, process: Process) -> dict[str, tuple]:
        """The state of each wire of a process."""
        wiring = process.runner.wiring
        outs = {
            one.ends.id: (one.inc, one.n, one.last, [k.seq for k in one.owed]) for one in wiring.outs.by_ack.values()
        }
        ins = {
            f"in {name}": (one.epoch, one.next, one.floor, [item.seq for item in one.taken])
            for name, one in wiring.ins.wires.items()
        }
        return outs | ins

    # -- what the processes do -----------------------------------------------------------------------------------

    def on_handled(self, process: Process, node: str, value: Any) -> None:
        """A handler has a value now."""
        if not process.is_alive:
            return
        self.handlings[node] = self.handlings.get(node, 0) + 1
        if not process.is_live:
            self.broken(f"{process.name}: handles before it was told to go")
        if process.inc < self._newest.get(process.name, 0):
            self.broken(f"{process.name}: process {process.inc} handles after {self._newest[process.name]}")
        self._newest[process.name] = process.inc
        self._oldest.setdefault(process.name, process.inc)
        self.latest[node] = value
        seen = self.first_seen.setdefault(node, {})
        if value in seen:
            return
        if node in self.graph.ordered and value != next(reversed(seen), 0) + 1:
            self.broken(f"{node}: first handled {value} after {next(reversed(seen), 0)}")
        seen[value] = None

    def on_published(self, process: Process, subject: str, data: bytes) -> None:
        """A process says something."""
        if not process.is_live:
            self.broken(f"{process.name}: says something on {subject} before it was told to go")
        if subject.endswith(".ack"):
            self._check_ack(process, subject, Ack.unpack(data))

    def _check_ack(self, process: Process, subject: str, ack: Ack) -> None:
        if ack.floor >= ack.next:
            self.broken(f"{subject}: floor {ack.floor}, next {ack.next}")
        for work in process.runner.engine.queue:
            if work.wire.ends.ack == subject and work.epoch == ack.epoch and not work.is_done:
                is_above = any(low <= work.seq <= high for low, high in ack.above)
                if work.seq <= ack.floor or is_above:
                    self.broken(f"{subject}: {work.seq} is acked and not done")

    def on_stored(self, key: str, data: bytes) -> None:
        """A record reached the store."""
        below = key.rpartition(".")[0]
        node = below.split(".")[-1]
        slots = {name.rpartition(".")[2]: one[0] for name, one in self.server.entries.items() if name.startswith(below)}
        record = assemble(slots)
        if record is None:
            return
        self.records[node] = record
        if self.graph.nodes.get(node) in (sim_nodes.Total, sim_frames.CountFrames):
            ((_, following),) = record.applied.values()
            counted = record.values["count"]
            if self._newest.get("a", 0) == self._oldest.get("a") and counted != following - 1:
                self.broken(f"{node}: {counted} counted, {following - 1} contained")
        if self.graph.nodes.get(node) in _SOURCES and record.position:
            for sink in self.graph.sinks:
                is_stored = any(self.graph.nodes[one].stateful for one in self.graph.nodes)
                if not is_stored and sink not in self.owed_from:
                    missing = [n for n in range(1, record.position + 1) if n not in self.first_seen.get(sink, {})]
                    if missing:
                        self.broken(f"{node}: position {record.position} is saved, {sink} has not handled {missing[0]}")

    def on_given_up(self, data: bytes) -> None:
        """A message is given up: only a cycle at its bound may do that."""
        body = unpack(data)
        if body["error"] == "CycleFull":
            self.rejected += 1
        else:
            self.broken(f"{body['node']}: gave up a message: {body['error']}: {body['text']}")

    # -- what is looked at every few milliseconds ------------------------------------------------------------------

    def _look(self) -> None:
        for process in self.current.values():
            if process.is_alive and process.runner is not None and hasattr(process.runner, "wiring"):
                self._look_at(process)
                for keeper in process.keepers:
                    process.call(keeper.look)
        self.loop.call_later(0.005, self._look)

    def _look_at(self, process: Process) -> None:
        wiring, engine = process.runner.wiring, process.runner.engine
        for out in wiring.outs.wires.values():
            for one in out.wires.values() if isinstance(out, SharedWire) else [out]:
                most = max(one.window, self.widest.get(one.ends.id, 0))
                if len(one.owed) > most and not isinstance(out, SharedWire):
                    self.broken(f"{one.ends.id}: {len(one.owed)} kept, the window is {one.window}")
                if sum(kept.size for kept in one.owed) != one.owed_bytes:
                    self.broken(f"{one.ends.id}: counts {one.owed_bytes} bytes wrong")
        ends = [*wiring.ins.wires.values(), *wiring.ins.leaving]
        room = sum(max(one.window, WINDOW * 2) * 5 // 4 + 1 for one in ends)  # windows change
        if len(engine.queue) > room:
            self.broken(f"{process.name}: {len(engine.queue)} queued")

    def unacked(self) -> dict[str, int]:
        """Wire -> messages that reliable wires of living processes owe."""
        owed: dict[str, int] = {}
        for process in self.current.values():
            if process.is_alive and hasattr(process.runner, "wiring"):
                owed |= {
                    one.ends.id: len(one.owed)
                    for one in process.runner.wiring.outs.by_ack.values()
                    if isinstance(one, OutWire) and not isinstance(one, LatestWire) and one.owed
                }
        return owed

    # -- the end --------------------------------------------------------------------------------------------------

    def finish(self, more: int = 24, within_s: float = 30.0) -> float:
        """Faults stop; everything must arrive and be acked. Returns how long that took."""
        server = self.server
        server.drop = server.repeat = server.reorder = 0.0
        if not server.is_up:
            server.start()
        if self.total == 1 << 30:
            group = self.graph.group
            self.total = -(-(self.sent + more) // group) * group
        took_s = self.until(self._is_all_done, within_s, "all numbers everywhere, all acked")
        for process in self.current.values():
            for keeper in process.keepers:
                process.call(keeper.kept.clear)
        self.until(lambda: not self.slots_in_use(), 2.0, "all slots free")
        return took_s

    def slots_in_use(self) -> dict[str, list[dict]]:
        """Process -> its pools of which a slot is in use, there or by a reader; the newest message is in no handler."""
        return {
            process.name: used
            for process in self.current.values()
            if process.is_alive
            and (used := [one for one in process.runner.tensors.stats() if one["used"] or one["waiting"]])
        }

    def _is_all_done(self) -> bool:
        for sink in self.graph.sinks:
            first = self.owed_from.get(sink, 0)
            seen = self.first_seen.get(sink, {})
            if len(seen) < self.total - first or any(n not in seen for n in range(first + 1, self.total + 1)):
                return False
        if self.graph.spare is not None and self.graph.spare.id in self.wires:
            spare = self.graph.spare.consumer
            if spare not in self.owed_from:
                return False
            seen = self.first_seen.get(spare, {})
            if any(n not in seen for n in range(self.owed_from[spare] + 1, self.total + 1)):
                return False
        if any(self.latest.get(node) != self.total for node in self.graph.latest):
            return False
        sources = [name for name, kind in self.graph.nodes.items() if kind in _SOURCES]
        if any(name not in self.records or self.records[name].position != self.total for name in sources):
            return False
        return not self.unacked() and not self._tasks_pending()

    def _tasks_pending(self) -> bool:
        return any(process.is_alive for process in self.coming.values())

    def picture(self) -> str:
        """Where everything stands, for a failure."""
        lines = [
            f"slots in use: {self.slots_in_use()}",
            f"total {self.total}, bus {'up' if self.server.is_up else 'down'}, now {self.loop.time() - 1000:.3f} s",
        ]
        for name, process in self.current.items():
            lines.append(f"{name} (inc {process.inc}{'' if process.is_alive else ', dead'})")
            if not hasattr(process.runner, "wiring"):
                continue
            seen = self.first_seen.get(process.node, {})
            lines.append(
                f"  handled first {len(seen)}, newest {max(seen, default=0)}; queue {len(process.runner.engine.queue)}"
            )
            wiring = process.runner.wiring
            for one in wiring.outs.by_ack.values():
                kind = "feedback" if isinstance(one, FeedbackWire) else ""
                seqs = [kept.seq for kept in one.owed]
                lines.append(f"  > {one.ends.id} {kind} owed {seqs} first {one.first} last {one.last} inc {one.inc}")
            for one in wiring.ins.wires.values():
                taken = [f"{item.seq}{'!' if item.is_done else ''}" for item in one.taken]
                lines.append(f"  < {one.ends.id} epoch {one.epoch} next {one.next} floor {one.floor} taken {taken}")
        return "\n".join(lines)
