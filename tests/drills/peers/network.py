"""Peers that speak HTTP, WebSocket, ZeroMQ, TCP and UDP: servers, and clients of nodes that are one."""

import asyncio
import contextlib
import itertools
import socket
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.drills.peers.peer import Peer
from tests.ports import free_port


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
        self._seen.add(await self._number(request))
        return web.json_response(True)

    async def _number(self, request: web.Request) -> int:
        return int(await request.json())

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


class Chat(Web):
    """It takes what Slack documents for its webhooks, and nothing else."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"service": "slack", "webhook": f"http://127.0.0.1:{self.port}/"}

    async def _number(self, request: web.Request) -> int:
        import jsonschema

        from tests.nodes.core.test_chat_out import SCHEMAS

        body = await request.json()
        jsonschema.validate(body, SCHEMAS["slack"])
        return int(body["text"])


class Asking(Peer):
    """An aiohttp client of a node that listens: posts numbers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"port": self.port, "path": "/numbers"}

    async def start(self) -> None:
        self._session = aiohttp.ClientSession()

    async def stop(self) -> None:
        await self._session.close()

    async def _ask(self, number: int) -> None:
        async with self._session.post(f"http://127.0.0.1:{self.port}/numbers", json=number) as answer:
            assert answer.status == 200

    async def feed(self, numbers: range) -> None:
        await asyncio.gather(*map(self._ask, numbers))


class Talking(Asking):
    """The same by WebSocket."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"port": self.port}
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def feed(self, numbers: range) -> None:
        if self._socket is None:
            self._socket = await self._session.ws_connect(f"http://127.0.0.1:{self.port}/")
        for number in numbers:
            await self._socket.send_str(str(number))


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


class Answers(Lines):
    """The same; its confirmation is the answer to a question."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"host": "127.0.0.1", "port": self.port, "timeout_s": 1}


class Says(Lines):
    """A TCP server that says numbers to who connects."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"mode": "client", "host": "127.0.0.1", "port": self.port}

    async def feed(self, numbers: range) -> None:
        while not self._writers:  # noqa: ASYNC110 - it is back when it has connected
            await asyncio.sleep(0.01)
        self._writers[-1].write(b"".join(b"%d\n" % number for number in numbers))
        await self._writers[-1].drain()


class Datagrams(Peer, asyncio.DatagramProtocol):
    """A UDP socket that notes numbers, and answers each."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port(socket.SOCK_DGRAM)
        self._seen: set[int] = set()
        self.config = {"port": self.port}

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", self.port))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """See asyncio."""
        self._seen.add(int(data))
        self._transport.sendto(data, addr)

    async def stop(self) -> None:
        self._transport.close()

    async def got(self) -> set[int]:
        return set(self._seen)


class Sender(Peer):
    """A UDP socket that sends to a node that listens."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port(socket.SOCK_DGRAM)
        self.config = {"port": self.port}
        self._socket = socket.socket(type=socket.SOCK_DGRAM)

    async def stop(self) -> None:
        self._socket.close()

    async def feed(self, numbers: range) -> None:
        for number in numbers:
            self._socket.sendto(str(number).encode(), ("127.0.0.1", self.port))


class Rep(Peer):
    """A ZeroMQ socket that answers each message with OK."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"address": f"tcp://127.0.0.1:{self.port}", "pattern": "req"}
        self._seen: set[int] = set()

    async def start(self) -> None:
        import zmq.asyncio

        self._context = zmq.asyncio.Context()
        self._socket = self._opened()
        self._task = asyncio.create_task(self._talk())

    def _opened(self) -> Any:
        import zmq

        made = self._context.socket(zmq.REP)
        made.bind(self.config["address"])
        return made

    async def _talk(self) -> None:
        while True:
            *_, payload = await self._socket.recv_multipart()
            self._seen.add(int(payload))
            await self._socket.send(b"OK")

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._context.destroy(linger=0)

    async def got(self) -> set[int]:
        return set(self._seen)


class Req(Rep):
    """A ZeroMQ socket that sends numbers, each until it is answered."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"address": self.config["address"], "pattern": "rep"}
        self._names = itertools.count()
        self._owed: set[bytes] = set()

    def _opened(self) -> Any:
        import zmq

        made = self._context.socket(zmq.DEALER)
        made.bind(self.config["address"])
        return made

    async def _talk(self) -> None:
        while True:
            name, _, said = await self._socket.recv_multipart()
            assert said == b"OK"
            self._owed.discard(name)

    async def feed(self, numbers: range) -> None:
        for number in numbers:
            self._owed.add(name := b"%d" % next(self._names))
            await self._socket.send_multipart([name, b"", str(number).encode()])
        while self._owed:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
