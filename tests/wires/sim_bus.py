"""A simulated bus: delays, drops, repeats and reorders frames, cuts connections, goes down and comes back.

Frames of one connection arrive in order (unless `reorder`), as over TCP. What is under way when a connection is cut is
lost from some point on; what a killed process had written still arrives, up to some point.
"""

import asyncio
import functools
import json
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import nats.errors
from sim_time import running

if TYPE_CHECKING:
    from sim_world import World

_LATENCY_S = (0.0002, 0.004)
_APART_S = 1e-9  # timers of one instant have no order


class Server:
    """The nats-server of a world: fan-out, and a key-value store with compare-and-set."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.is_up = True
        self.drop = self.repeat = self.reorder = 0.0
        self.entries: dict[str, tuple[bytes, int]] = {}
        self.connections: list[Connection] = []
        self.latency_s = _LATENCY_S
        self.n_lost = 0
        self._revision = 0

    def delay_s(self) -> float:
        """Of one frame, one way."""
        return self.world.rng.uniform(*self.latency_s)

    def stop(self) -> None:
        """The server dies; what it stores is kept."""
        self.is_up = False
        for connection in list(self.connections):
            connection.cut()

    def start(self) -> None:
        """It is back."""
        self.is_up = True

    def arrive(self, sender: "Connection", subject: str, data: bytes) -> None:
        """A frame reached the server: pass it on to all that listen."""
        for connection in list(self.connections):
            for pattern, (matches, callback) in list(connection.subscribed.items()):
                if matches(subject):
                    self._pass_on(connection, pattern, callback, subject, data)

    def _pass_on(self, to: "Connection", pattern: str, callback: Callable, subject: str, data: bytes) -> None:
        rng = self.world.rng
        if self.drop and rng.random() < self.drop:
            self.n_lost += 1
            return
        times = 2 if self.repeat and rng.random() < self.repeat else 1
        for _ in range(times):
            late_s = rng.uniform(0, 0.02) if self.reorder and rng.random() < self.reorder else 0.0
            to.deliver(pattern, callback, subject, data, late_s)

    def ask(self, subject: str, data: bytes, headers: dict | None) -> Any:
        """Answer a request: an entry read or written, a message given up."""
        if subject.startswith("$JS.API.DIRECT.GET."):
            key = subject.split(".$KV.", 1)[1]
            if key not in self.entries:
                return SimpleNamespace(data=b"", headers={"Status": "404"})
            value, revision = self.entries[key]
            return SimpleNamespace(data=value, headers={"Nats-Sequence": str(revision)})
        if subject.startswith("$KV."):
            key = subject.removeprefix("$KV.")
            expected = (headers or {}).get("Nats-Expected-Last-Subject-Sequence")
            below = (headers or {}).get("Nats-Expected-Last-Subject-Sequence-Subject", "").removeprefix("$KV.")
            alike = [
                one for name, one in self.entries.items() if name == key or (below and name.startswith(below[:-1]))
            ]
            if expected is not None and int(expected) != max((revision for _, revision in alike), default=0):
                return SimpleNamespace(data=json.dumps({"error": {"err_code": 10071}}).encode(), headers=None)
            self._revision += 1
            self.entries[key] = (data, self._revision)
            self.world.on_stored(key, data)
            return SimpleNamespace(data=json.dumps({"seq": self._revision}).encode(), headers=None)
        if subject.startswith("flowcore.given_up."):
            self.world.on_given_up(data)
            return SimpleNamespace(data=b'{"seq": 1}', headers=None)
        return None


class Connection:
    """Has what the engine uses of `flowcore.bus.connection.Connection`."""

    max_payload = 8 << 20

    def __init__(self, url: str, *, on_up: Callable, on_down: Callable | None = None, **_: Any) -> None:
        self.process = running.get()
        self.world: World = self.process.world
        self.server = self.world.server
        self.process.connection = self
        self.is_up = False
        self.max_payload = 8 << 20
        self.generation = 0  # each connect begins a new one; frames of an older one are lost
        self.subscribed: dict[str, tuple[Callable[[str], bool], Callable]] = {}  # at the server
        self.client = self  # requests go through it
        self._wanted: dict[str, Callable] = {}
        self._on_up, self._on_down = on_up, on_down
        self._up_s = self._down_s = 0.0  # when the last frame arrives, each way
        self._is_closing = False
        self._is_broken = False  # cut, and this end has not noticed: what it sends is lost
        self._sent = self._arrived = 0
        self._lost_from: int | None = None  # of frames under way when the process was killed
        self._asked: set[asyncio.Future] = set()

    # -- what the engine calls ----------------------------------------------------------------------------------

    async def connect(self, timeout: float | None = None) -> None:
        """Connect, trying until it works."""
        while True:
            await asyncio.sleep(self.world.rng.uniform(0.001, 0.04))
            if self.server.is_up:
                break
        self.generation += 1
        self.is_up, self._is_broken = True, False
        self.server.connections.append(self)
        for subject, callback in self._wanted.items():
            self._listen(subject, callback)
        self._on_up()

    async def subscribe(self, subject: str, callback: Callable, queue: str = "") -> None:
        """Listen, now and after each reconnect."""
        self._wanted[subject] = callback
        if self.is_up:
            self._listen(subject, callback)

    def _listen(self, subject: str, callback: Callable) -> None:
        regex = re.escape(subject).replace(r"\*", "[^.]+").replace(r"\>", ">")
        if regex.endswith(">"):
            regex = regex[:-1] + ".+"
        matches = functools.cache(re.compile(regex).fullmatch)  # the same few subjects, a million times
        self._transmit(lambda: self.subscribed.__setitem__(subject, (matches, callback)))

    async def unsubscribe(self, subject: str) -> None:
        """Listen no longer."""
        self._wanted.pop(subject, None)
        self._transmit(lambda: self.subscribed.pop(subject, None))

    def publish(self, subject: str, data: bytes) -> bool:
        """Send; False when the bus is known to be away."""
        if not self.is_up or not self.process.is_alive:
            return False
        self.world.on_published(self.process, subject, data)
        self._transmit(lambda: self.server.arrive(self, subject, data))
        return True

    async def request(self, subject: str, data: bytes, timeout: float = 5.0, headers: dict | None = None) -> Any:
        """Ask the server (both nats-py's form and ours, which wants the data alone)."""
        if not self.is_up:
            raise nats.errors.ConnectionClosedError
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def asked() -> None:
            answer = self.server.ask(subject, data, headers)
            generation = self.generation
            when_s = self._down_s = max(self._down_s + _APART_S, loop.time() + self.server.delay_s() + 0.001)
            loop.call_at(when_s, answered, answer, generation)

        def answered(answer: Any, generation: int) -> None:
            if answer is not None and generation == self.generation and self.is_up and not future.done():
                future.set_result(answer.data if subject.startswith("flowcore") else answer)

        self._transmit(asked)
        async with asyncio.timeout(timeout):
            return await future

    async def flush(self, timeout: float = 2.0) -> None:
        """Wait until the server has seen everything published so far."""
        if not self.is_up:
            raise TimeoutError
        await asyncio.sleep(max(0.0, self._up_s - asyncio.get_running_loop().time()) + self.server.delay_s())

    async def close(self) -> None:
        """Send what is written and end."""
        self._is_closing = True
        if self.is_up:
            await self.flush()
        self._leave()

    # -- what the world does ------------------------------------------------------------------------------------

    def _transmit(self, act: Callable[[], Any]) -> None:
        """Do something at the server when the bytes get there."""
        if not self.is_up or self._is_broken:
            return
        loop = self.world.loop
        self._up_s = max(self._up_s + _APART_S, loop.time() + self.server.delay_s())
        self._sent += 1
        number, generation = self._sent, self.generation

        def arrived() -> None:
            self._arrived = number
            is_lost = self._lost_from is not None and number >= self._lost_from
            if generation == self.generation and self.server.is_up and not is_lost:
                act()

        loop.call_at(self._up_s, arrived, context=self.world.context)

    def deliver(self, pattern: str, callback: Callable, subject: str, data: bytes, late_s: float) -> None:
        """The server sends a frame to this client."""
        loop = self.world.loop
        when_s = max(self._down_s + _APART_S, loop.time() + self.server.delay_s())
        if late_s:
            when_s += late_s  # overtaken by what comes after it
        else:
            self._down_s = when_s
        generation = self.generation

        def delivered() -> None:
            if generation == self.generation and self.is_up and self.process.is_alive and pattern in self._wanted:
                self.process.call(callback, subject, data, "", b"")

        loop.call_at(when_s, delivered, context=self.world.context)

    def cut(self) -> None:
        """The connection breaks: what is under way is lost; the client notices a little later, and reconnects."""
        if self not in self.server.connections:
            return
        self.server.connections.remove(self)
        self.subscribed.clear()
        self.generation += 1
        self._is_broken = True
        loop, rng = self.world.loop, self.world.rng

        def noticed() -> None:
            if self.is_up and not self._is_closing and self.process.is_alive:
                self.is_up = False
                self.process.call(self._on_down or (lambda: None))
                self.process.call(lambda: asyncio.get_running_loop().create_task(self.connect()))

        loop.call_later(rng.choice((0.0, 0.01, 0.05)), noticed, context=self.world.context)

    def killed(self) -> None:
        """Its process is dead: what the kernel has of its frames still goes out, up to some point."""
        self._lost_from = self.world.rng.randint(self._arrived + 1, self._sent + 1)
        self.world.loop.call_at(max(self._up_s, self.world.loop.time()), self._leave, context=self.world.context)

    def _leave(self) -> None:
        self.is_up = False
        self.generation += 1
        self.subscribed.clear()
        if self in self.server.connections:
            self.server.connections.remove(self)
