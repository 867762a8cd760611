"""Connectors whose peer is away: how fast each is, how soon it is back, and that nothing is lost where that can be.

    python -m tests.drills.peers --write       how fast, then all away for ten minutes; writes docs/connectors.json
    python -m tests.drills.peers --away-s 20   shown, and not written

Each connector is driven in this process against its real peer: some seconds of load, then the peer is killed, messages
go on being made, and after a while the peer is started again. `python docs/connectors.py` takes the figures into its
table. The suite runs a short form (`test_peers.py`).
"""

import argparse
import asyncio
import contextlib
import json
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from flowcore_nodes.core.http_request import HttpRequest
from flowcore_nodes.core.redis_stream_out import RedisStreamOut
from flowcore_nodes.core.sql_insert import SqlInsert
from flowcore_nodes.core.sql_query import SqlQuery
from flowcore_nodes.core.websocket_client import WebsocketClient
from flowcore_nodes.iot.ble_device import BleDevice
from flowcore_nodes.iot.modbus_read import ModbusRead
from flowcore_nodes.iot.modbus_write import ModbusWrite
from flowcore_nodes.iot.mqtt_in import MqttIn
from flowcore_nodes.iot.mqtt_out import MqttOut
from flowcore_nodes.iot.opcua_read import OpcuaRead
from flowcore_nodes.iot.opcua_subscribe import OpcuaSubscribe
from flowcore_nodes.iot.opcua_write import OpcuaWrite
from flowcore_nodes.iot.simulated.nano import NAME, NanoStation
from flowcore_nodes.iot.tcp_out import TcpOut

from flowcore.node import Node
from flowcore.node.testing import drive
from flowcore.simulate.devices import At
from tests.nodes.core import redis_server, test_sql
from tests.nodes.core.redis_server import RedisPeer
from tests.nodes.iot.conftest import NatsServer

PAGE = Path(__file__).parents[2] / "docs" / "connectors.json"
PROGRAMS = Path(__file__).parents[1] / "nodes" / "iot"
WHILE_AWAY = 30  # messages that come while the peer is away
LONGEST_S = 60.0


@dataclass
class Away:
    """How it was.

    Attributes:
        away_s: how long the peer was away.
        back_s: from its return until a message was through.
        lost: of those that came before, meanwhile and after; None where there is only a newest.
    """

    away_s: float
    back_s: float
    lost: int | None


class Peer:
    """The other side. `start` returns when it is there; after `stop` it is at once not.

    Attributes:
        config: of the node.
    """

    config: dict[str, Any]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = int(sock.getsockname()[1])

    async def start(self) -> None:
        """See the class."""

    async def stop(self) -> None:
        """See the class."""

    async def got(self) -> set[int]:
        """The numbers that are with it."""
        return set()

    async def feed(self, numbers: range) -> None:
        """Have it send these."""


class Process(Peer):
    """A program that listens at its port."""

    command: tuple[str, ...] = ()

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(sys.executable, *self.command)
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                return writer.close()
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self._process.kill()
        await self._process.wait()


class Modbus(Process):
    """pymodbus's server; what is written is read back."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.command = (str(PROGRAMS / "modbus_server.py"), "tcp", str(self.port))
        self.config = {
            "line": {"port": self.port, "timeout_s": 1},
            "values": [{"name": "n", "address": 100, "type": "int32"}],
        }

    async def got(self) -> set[int]:
        from pymodbus.client import AsyncModbusTcpClient

        client = AsyncModbusTcpClient("127.0.0.1", port=self.port)
        await client.connect()
        high, low = (await client.read_holding_registers(100, count=2)).registers
        client.close()
        return {high << 16 | low}


class Opcua(Process):
    """asyncua's server."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.command = (str(PROGRAMS / "opcua_server.py"), str(self.port))
        self._name = "speed"
        self.config = {"server": {"url": f"opc.tcp://127.0.0.1:{self.port}/plant", "timeout_s": 1}}
        self.config["values"] = [{"name": "n", "node": f"nsu=http://plant.example/line;s={self._name}"}]

    async def got(self) -> set[int]:
        from asyncua import Client

        async with Client(self.config["server"]["url"]) as client:
            index = await client.get_namespace_index("http://plant.example/line")
            return {int(await client.get_node(f"ns={index};s={self._name}").read_value())}


class OpcuaCounts(Opcua):
    """Its counter counts by itself, and begins anew with the server."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config["values"][0]["node"] = "nsu=http://plant.example/line;s=counter"
        self.config |= {"publish_ms": 50}


class Mqtt(Peer):
    """nats-server's MQTT listener, which keeps sessions on disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._broker = NatsServer(folder)
        self._broker.port = self.port
        self._seen: set[int] = set()
        self.config = {"broker": self._broker.config | {"longest_wait_s": 1.5}, "topic": "numbers"}

    async def start(self) -> None:
        await self._broker.start()
        self._hears = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())
        await self._hears.wait()

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(Exception):
                async with self._broker.client(identifier="judge", clean_session=False) as client:
                    await client.subscribe("numbers", 1)
                    self._hears.set()
                    async for message in client.messages:
                        self._seen.add(int(message.payload))
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        self._listening.cancel()
        self._broker.kill()

    async def got(self) -> set[int]:
        return set(self._seen)

    async def feed(self, numbers: range) -> None:
        await self._broker.publish("numbers", *map(str, numbers))


class MqttKept(Mqtt):
    """The same, and the node's session is kept."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config |= {"clean_session": False, "format": "json"}


class Web(Peer):
    """An aiohttp server: takes posted numbers, and sends numbers over WebSockets."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._seen: set[int] = set()
        self._sockets: list[web.WebSocketResponse] = []
        self.config = {"url": f"http://127.0.0.1:{self.port}/", "method": "POST"}

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/", self._take)
        app.router.add_get("/ws", self._talk)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def _take(self, request: web.Request) -> web.Response:
        self._seen.add(await request.json())
        return web.json_response(True)

    async def _talk(self, request: web.Request) -> web.WebSocketResponse:
        socket_ = web.WebSocketResponse()
        await socket_.prepare(request)
        self._sockets.append(socket_)
        async for _ in socket_:
            pass
        return socket_

    async def stop(self) -> None:
        self._sockets.clear()
        await self._runner.cleanup()

    async def got(self) -> set[int]:
        return set(self._seen)

    async def feed(self, numbers: range) -> None:
        while not self._sockets:  # noqa: ASYNC110 - it is back when it has connected
            await asyncio.sleep(0.01)
        for number in numbers:
            await self._sockets[-1].send_str(str(number))


class Sockets(Web):
    """By WebSocket."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"url": f"ws://127.0.0.1:{self.port}/ws"}


class Lines(Peer):
    """A TCP server that confirms each line."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._seen: set[int] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.config = {"host": "127.0.0.1", "port": self.port, "confirm": "OK\\n"}

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", self.port)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                self._seen.add(int(line))
                writer.write(b"OK\n")
        writer.close()

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def got(self) -> set[int]:
        return set(self._seen)


class Postgres(Peer):
    """PostgreSQL."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._server = test_sql.Server()
        self._server.kill()
        self.config = {
            "database": self._server.config | {"setup": "CREATE TABLE IF NOT EXISTS numbers (n INTEGER PRIMARY KEY)"},
            "table": "numbers", "columns": {"n": "payload"}, "conflict": "ignore",
        }  # fmt: skip

    async def start(self) -> None:
        await asyncio.to_thread(self._server.start)

    async def stop(self) -> None:
        await asyncio.to_thread(self._server.kill)

    async def got(self) -> set[int]:
        async with drive(SqlQuery, database=self._server.config, statement="SELECT n FROM numbers") as node:
            await node.put({})
            return {row["n"] for row in (await node.sent(1))[0]}


class Redis(Peer):
    """redis-server, which keeps what it has acked."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._server = RedisPeer(folder)
        self.config = {"server": self._server.config, "stream": "numbers"}

    async def start(self) -> None:
        await asyncio.to_thread(self._server.start)

    async def stop(self) -> None:
        await asyncio.to_thread(self._server.kill)

    async def got(self) -> set[int]:
        with self._server.client() as client:
            return {int(fields[b"payload"]) for _, fields in client.xrange("numbers")}


class Board(Peer):
    """A simulated Arduino, through bleak's backend seam."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"device": NAME, "adapter": f"played://127.0.0.1:{self.port}", "board": "nano33-motion"}
        self.config["timeout_s"] = 2.0

    async def start(self) -> None:
        there = asyncio.Event()
        at = At(self.port, self.folder, lambda _: there.set(), lambda _: None)
        self._task = asyncio.create_task(NanoStation(seed=1).serve(at))
        await there.wait()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@dataclass(frozen=True)
class Case:
    """One connector. `way`: "out" puts numbers in; "last" the same, where the peer has the newest only; "in" has the
    peer send numbers; "reads" sends by itself."""

    node: type[Node]
    peer: type[Peer]
    said: str
    way: str
    needs: Callable[[], Any] = lambda: True
    is_kept: bool = True  # what the peer would have sent meanwhile, it sends later

    @property
    def name(self) -> str:
        """The node type."""
        return self.node.type


CASES = [
    Case(HttpRequest, Web, "an aiohttp server", "out"),
    Case(WebsocketClient, Sockets, "an aiohttp server", "in", is_kept=False),
    Case(SqlInsert, Postgres, "PostgreSQL 15 (Debian)", "out", test_sql.programs),
    Case(RedisStreamOut, Redis, "redis-server 7 (Debian)", "out", redis_server.program),
    Case(TcpOut, Lines, "asyncio sockets", "out"),
    Case(MqttOut, Mqtt, "nats-server's MQTT", "out"),
    Case(MqttIn, MqttKept, "nats-server's MQTT", "in"),
    Case(ModbusRead, Modbus, "pymodbus's server, TCP", "reads"),
    Case(ModbusWrite, Modbus, "pymodbus's server, TCP", "last"),
    Case(OpcuaRead, Opcua, "asyncua's server", "reads"),
    Case(OpcuaWrite, Opcua, "asyncua's server", "last"),
    Case(OpcuaSubscribe, OpcuaCounts, "asyncua's server", "reads"),
    Case(BleDevice, Board, "bleak's backend seam, played", "reads"),
]


@contextlib.asynccontextmanager
async def running(case: Case, folder: Path, every_s: float) -> AsyncIterator[tuple[Peer, Any]]:
    """A peer and its connector, which has found it; what reads by itself does so each `every_s`."""
    folder.mkdir(parents=True)
    peer = case.peer(folder)
    await peer.start()
    config = dict(peer.config)
    if case.node in (ModbusRead, OpcuaRead):
        config["every_s"] = every_s
    try:
        async with drive(case.node, extras={"data_folder": folder / "data"}, **config) as node:
            if case.way in ("in", "reads"):
                await node.wait_for(lambda: any(kind == "ok" for _, kind in node.statuses), LONGEST_S)
            else:
                await node.put(0)
            yield peer, node
    finally:
        with contextlib.suppress(Exception):
            await peer.stop()


async def rate(case: Case, folder: Path, load_s: float) -> float:
    """Messages a second through one connector, for some seconds; nothing else runs."""
    async with running(case, folder, 0.0001) as (peer, node):
        count, before, began_s = 0, len(node.messages()), time.monotonic()
        while time.monotonic() - began_s < load_s:
            if case.way in ("out", "last"):
                await node.put(*range(count, count + 100))
            elif case.way == "in":
                await peer.feed(range(count, count + 100))
                await node.wait_for(lambda wanted=before + count + 100: len(node.messages()) >= wanted, LONGEST_S)
            else:
                await asyncio.sleep(0.05)
                continue
            count += 100
        return (count or len(node.messages()) - before) / (time.monotonic() - began_s)


async def away(case: Case, folder: Path, away_s: float) -> Away:
    """The peer goes, and comes back after so long; messages come meanwhile.

    Raises:
        TimeoutError: not all came through within a minute of its return.
    """
    async with running(case, folder, 0.1) as (peer, node):
        if case.way in ("out", "last"):
            await node.put(*range(1, 10))
            while case.way == "out" and not await peer.got() >= set(range(10)):  # noqa: ASYNC110 - the judge hears it
                await asyncio.sleep(0.01)
        elif case.way == "in":
            await peer.feed(range(10))
            await node.sent(10)
        else:
            await node.sent(1, port="out")
        await peer.stop()
        return await _come_back(case, peer, node, 10, away_s)


async def _come_back(case: Case, peer: Peer, node: Any, count: int, away_s: float) -> Away:
    meanwhile = range(count, count + WHILE_AWAY)
    wanted = {meanwhile[-1]} if case.way == "last" else set(range(meanwhile.stop))
    tasks = [asyncio.create_task(_put(node, meanwhile))] if case.way in ("out", "last") else []
    await asyncio.sleep(away_s)
    had = len(node.messages("out"))
    await peer.start()
    began_s = time.monotonic()
    if case.way == "in":
        tasks.append(asyncio.create_task(peer.feed(meanwhile)))
    back_s: float | None = None
    got: set[int] = set()
    async with asyncio.timeout(LONGEST_S):
        while back_s is None or (case.way != "reads" and not wanted <= got):
            if case.way in ("in", "reads"):
                is_through = len(node.messages("out")) > had
                got = {int(one.payload) for one in node.messages("out")} if case.way == "in" else set()
            else:
                got = await peer.got()
                is_through = not got.isdisjoint(meanwhile)
            if is_through and back_s is None:
                back_s = time.monotonic() - began_s
            await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)
    return Away(
        away_s, round(back_s, 2), None if case.way in ("reads", "last") or not case.is_kept else len(wanted - got)
    )


async def _put(node: Any, numbers: range) -> None:
    for number in numbers:
        with contextlib.suppress(TimeoutError):  # it waits, and is handled later
            await node.put(number)


@contextlib.asynccontextmanager
async def folder_of_its_own() -> AsyncIterator[Path]:
    """A temporary folder."""
    with tempfile.TemporaryDirectory(prefix="flowcore-peers-") as name:
        yield Path(name)


async def rates(cases: list[Case], load_s: float) -> dict[str, float]:
    """One after the other."""
    found = {}
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="flowcore-peers-") as folder:
            found[case.name] = float(f"{await rate(case, Path(folder) / 'it', load_s):.2g}")
        print(f"{case.name}: {found[case.name]:,.0f}/s", flush=True)
    return found


async def all_away(cases: list[Case], away_s: float) -> dict[str, Away | BaseException]:
    """All at the same time."""
    with tempfile.TemporaryDirectory(prefix="flowcore-peers-") as folder:
        found = await asyncio.gather(
            *(away(case, Path(folder) / str(number), away_s) for number, case in enumerate(cases)),
            return_exceptions=True,
        )
    return dict(zip((case.name for case in cases), found, strict=True))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--away-s", type=float, default=600.0, help="0: only how fast they are")
    parser.add_argument("--load-s", type=float, default=3.0, help="0: only how they come back")
    parser.add_argument("-k", default="", help="only those with this in their name")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/connectors.json")
    options = parser.parse_args()
    cases = [case for case in CASES if options.k in case.name and case.needs()]
    there = json.loads(PAGE.read_text()) if PAGE.exists() else {}
    for case in cases:
        there.setdefault(case.name, {})["peer"] = case.said
    if options.load_s:
        for name, rate_hz in asyncio.run(rates(cases, options.load_s)).items():
            there[name]["rate_hz"] = rate_hz
    if options.away_s:
        for name, one in asyncio.run(all_away(cases, options.away_s)).items():
            print(f"{name}: {one if isinstance(one, Away) else f'FAILED: {one!r}'}", flush=True)
            there[name]["away"] = asdict(one) if isinstance(one, Away) else None
    if options.write:
        PAGE.write_text(json.dumps(there, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
