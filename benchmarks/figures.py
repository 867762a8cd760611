"""The small figures that `docs/architecture.md` quotes and `flowcore bench` does not measure, on this machine.

    python benchmarks/figures.py

Real nats-server, real processes, half a minute. A busy machine shows in them: run it when nothing else does.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import bcrypt
import nats
import psutil
import uvloop

from flowcore.bus import storage, tls
from flowcore.bus.certificate import Certificate
from flowcore.bus.connection import Connection
from flowcore.bus.permissions import full_user, node_user
from flowcore.bus.server import EmbeddedServer
from flowcore.flow.validate import check
from flowcore.runtime.control import ControlServices
from flowcore.runtime.host import Host
from flowcore.runtime.options import HostOptions
from flowcore.runtime.typelist import read
from flowcore.runtime.zygote import ScriptZygote
from flowcore.script.client import ScriptWorker


async def main() -> None:
    """Measure all, one after the other."""
    with tempfile.TemporaryDirectory(prefix="flowcore-") as name:
        folder = Path(name)
        await _server(folder / "server")
        await _tls(folder)
        await _scripts(folder / "scripts")
        await _host(folder / "host")
    _check()
    _bcrypt()


def _say(what: str, value: float, unit: str) -> None:
    print(f"{what:<66} {value:>9,.{0 if value >= 100 else 1 if value >= 1 else 2}f} {unit}", flush=True)


async def _median_ms(times: int, run: Callable[[], Awaitable[Any]]) -> float:
    took = []
    for _ in range(times):
        began_s = time.perf_counter()
        await run()
        took.append((time.perf_counter() - began_s) * 1e3)
    return statistics.median(took)


async def _server(folder: Path) -> None:
    user = full_user("figures")
    starts = []
    for number in range(5):
        server = EmbeddedServer(folder / str(number), nats_port=0, mqtt_port=0)
        began_s = time.perf_counter()
        await server.start([user])
        starts.append((time.perf_counter() - began_s) * 1e3)
        if number < 4:
            await server.stop()
    _say("embedded server, started until it can be used", statistics.median(starts), "ms")
    for count in (2, 100):
        nodes = [node_user("f", f"n{k}") for k in range(count)]
        took = await _median_ms(20, lambda nodes=nodes: server.set_users([user, *nodes]))
        _say(f"a new list of {count} users in force, by request to $SYS", took, "ms")
    connection = Connection(server.url, user=user.name, password=user.password)
    await connection.connect()
    await _messages(server.url, user, connection)
    await storage.ensure(connection.jetstream())
    js = connection.jetstream()
    value = b"x" * 200
    _say(
        "a state record of 200 bytes stored (fsynced)",
        await _median_ms(50, lambda: js.publish("$KV.state.f.n", value)),
        "ms",
    )
    await connection.close()
    await server.stop()


async def _messages(url: str, user: Any, sender: Connection) -> None:
    """200 bytes to a callback of nats-py's client and to one of ours; sent in large pieces, for next to nothing."""
    chunk = b"PUB figures 200\r\n%b\r\n" % (b"x" * 200) * 200
    theirs = await nats.connect(url, user=user.name, password=user.password)
    heard = Heard(50_000)
    await theirs.subscribe("figures", cb=heard.take, pending_msgs_limit=-1, pending_bytes_limit=-1)
    await theirs.flush()
    _say("processor time of a message of 200 bytes, heard by nats-py", await heard.cost_us(sender, chunk), "us")
    await theirs.close()
    ours = Connection(url, user=user.name, password=user.password)
    await ours.connect()
    heard = Heard(50_000)
    await ours.subscribe("figures", heard.count_one)
    await ours.flush()
    _say("the same, heard by flowcore.bus.connection", await heard.cost_us(sender, chunk), "us")
    await ours.close()


class Heard:
    """Counts messages until there are enough."""

    def __init__(self, count: int) -> None:
        self._left, self._count, self._done = count, count, asyncio.Event()

    def count_one(self, *_: Any) -> None:
        """One has come."""
        self._left -= 1
        if self._left == 0:
            self._done.set()

    async def take(self, message: Any) -> None:
        """As nats-py wants a callback."""
        self.count_one()

    async def cost_us(self, sender: Connection, chunk: bytes) -> float:
        """Send them all; processor time of this process for each."""
        began_s = time.process_time()
        for _ in range(self._count // 200):
            sender.client._transport.write(chunk)  # type: ignore[union-attr]
            await asyncio.sleep(0.001)
        await self._done.wait()
        return (time.process_time() - began_s) / self._count * 1e6


async def _tls(folder: Path) -> None:
    """The same server with and without TLS, three times in turn: what a certificate costs our own processes."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.certificates import make_certificate

    pair = make_certificate(folder)
    found: dict[str, dict[str, list[float]]] = {"in the clear": {}, "with TLS": {}}
    for turn in range(3):
        for how, certificate in (("in the clear", None), ("with TLS", Certificate(*pair))):
            user = full_user("figures")
            server = EmbeddedServer(folder / f"{how} {turn}", nats_port=0, mqtt_port=0, certificate=certificate)
            await server.start([user])
            made = Connection(server.url, user=user.name, password=user.password, trust=tls.OWN)
            began_s = time.perf_counter()
            await made.connect(5)
            found[how].setdefault("connect", []).append((time.perf_counter() - began_s) * 1e3)
            for what, value in (await _there_and_back(made)).items():
                found[how].setdefault(what, []).append(value)
            await made.close()
            await server.stop()
    units = {
        "connect": "ms",
        "there and back, 300 bytes": "ms",
        "published and received again, 300 bytes": "messages/s",
    }
    for what, unit in units.items():
        for how, values in found.items():
            _say(f"bus {how}: {what}", statistics.median(values[what]), unit)


async def _there_and_back(bus: Connection) -> dict[str, float]:
    count, window = 100_000, 500
    body, arrived, seen = b"x" * 300, asyncio.Event(), 0

    def take(*_: Any) -> None:
        nonlocal seen
        seen += 1
        arrived.set()

    async def once() -> None:
        arrived.clear()
        bus.publish("figures.tls", body)
        await arrived.wait()

    await bus.subscribe("figures.tls", take)
    await bus.flush()
    ms = await _median_ms(2000, once)
    began_s, sent, first = time.perf_counter(), 0, seen
    while seen - first < count:
        while sent < count and sent - (seen - first) < window:
            bus.publish("figures.tls", body)
            sent += 1
        arrived.clear()
        await arrived.wait()
    rate = count / (time.perf_counter() - began_s)
    return {"there and back, 300 bytes": ms, "published and received again, 300 bytes": rate}


async def _scripts(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    zygote = ScriptZygote(folder)
    zygote.start()
    await zygote.listening.wait()
    for language, script, options in _LANGUAGES:
        await _script(zygote.path, language, script, options)
    await zygote.stop()


_LANGUAGES: list[tuple[str, str, dict[str, Any]]] = [
    ("python", "return msg.payload", {}),
    ("expression", "payload", {}),
    ("javascript", "return msg;", {}),
    ("template", "{{ payload.temp_c }}", {"syntax": "jinja2", "output": "text", "strict": False}),
    ("template", "{{payload.temp_c}}", {"syntax": "mustache", "output": "text", "strict": False}),
]


async def _script(path: str, language: str, script: str, options: dict[str, Any]) -> None:
    """One language: a worker's start, memory of its own, and what a message takes, of processor time in it too."""
    name = options.get("syntax", language)
    for attempt in range(2):  # the first one has the zygote import what the language needs
        worker = ScriptWorker(path, script, sandbox="weak", language=language, options=options)
        began_s = time.perf_counter()
        await worker.start()
        start_ms = (time.perf_counter() - began_s) * 1e3
        if attempt == 0:
            worker.close()
    _say(f"{name}: a script's worker forked, locked in, compiled", start_ms, "ms")
    await worker.begin()
    process = psutil.Process(worker.pid)
    item = ({"temp_c": 20.5}, "", {}, *(("id",) if language == "javascript" else ()))
    for at_once in (60, 1):
        messages, rounds = [item] * at_once, 6000 // at_once
        await worker.call(messages)
        began_s, began_cpu_s = time.perf_counter(), sum(process.cpu_times()[:2])
        for _ in range(rounds):
            await worker.call(messages)
        took_us = (time.perf_counter() - began_s) / rounds / at_once * 1e6
        _say(f"{name}: a message through a script and back, {at_once} in a frame", took_us, "us")
        cpu_us = (sum(process.cpu_times()[:2]) - began_cpu_s) / rounds / at_once * 1e6
        _say(f"{name}: processor time of that in the worker", cpu_us, "us")
    _say(f"{name}: memory that a worker has for itself", process.memory_full_info().uss / 2**20, "MB")
    worker.close()


async def _host(folder: Path) -> None:
    program = (sys.executable, "-c", "import flowcore.runtime.runner, uvloop")

    async def interpreter() -> None:
        await (await asyncio.create_subprocess_exec(*program)).wait()

    _say("an interpreter of its own with the runner imported", await _median_ms(3, interpreter), "ms")
    host = Host(HostOptions(folder=folder, nats_port=0, mqtt_port=0))
    began_s = time.perf_counter()
    await host.start()
    services = ControlServices(host)
    await services.start()
    _say("host started, types read, ready for a deploy", (time.perf_counter() - began_s) * 1e3, "ms")
    await services.stop()
    await host.stop()


def _check() -> None:
    rules = [{"op": ">", "value": value} for value in range(20)]
    kinds: list[tuple[str, dict[str, Any], str]] = [
        ("core/threshold", {"above": "${LIMIT}", "field": "t", "hold_s": 1}, "out"),
        ("core/switch", {"rules": rules}, "out1"),
        ("core/function", {"script": "pass\n" * 600}, "out"),
        ("core/debug", {}, ""),
    ]
    nodes, wires = [], []
    for index in range(2000):
        type_, config, port = kinds[index % 4]
        nodes.append({"id": f"n{index}", "type": type_, "config": config, "note": "y" * 600})
        if port:
            wires.append({"from": f"n{index}.{port}", "to": f"n{index + 1}.in"})
    text = json.dumps({"flowcore": 1, "id": "big", "env": {"LIMIT": 80}, "nodes": nodes, "wires": wires}, indent=1)
    types = read().types
    began_s = time.process_time()
    checked = check(text, "big.json", types, {}, set())
    took_ms = (time.process_time() - began_s) * 1e3
    if not checked.resolved:
        sys.exit("\n".join(map(str, checked.problems[:5])))
    _say(f"a flow of 2,000 nodes, {len(text) / 1e6:.1f} MB, checked and resolved", took_ms, "ms")


def _bcrypt() -> None:
    hashed = bcrypt.hashpw(b"x" * 32, bcrypt.gensalt(5))
    began_s = time.perf_counter()
    bcrypt.checkpw(b"x" * 32, hashed)
    _say("an outsider's password checked (bcrypt, cost 5)", (time.perf_counter() - began_s) * 1e3, "ms")


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
