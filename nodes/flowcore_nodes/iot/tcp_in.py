import asyncio
import contextlib
import itertools
from typing import Literal

from flowcore.node import GiveUp, In, Message, Node, Out, field
from flowcore.node.formats import BadPayload, read, write
from flowcore_nodes.core.again import Again
from flowcore_nodes.iot.framing import FrameTooLong, delimiter_of, framed, frames
from flowcore_nodes.iot.tcp import PeerConfig, connect, context_of


class TcpIn(Node):
    """Receive messages by TCP: as a server that devices connect to, or as a client of one that sends.

    Each message has meta.tcp (connection, peer). A flow that is slow makes the senders wait. With `confirm` each
    message is answered when the flow is done with it, so that a device can send again what was not; without, what a
    killed node had read and not passed on is lost. What comes in at `reply` is written to the connection in its
    meta.tcp. A message that is too long ends its connection, one that can't be read is an error; others go on.
    """

    type = "iot/tcp-in"
    title = "TCP in"
    category = "network"
    icon = "ethernet-port"

    class Config(PeerConfig):
        mode: Literal["server", "client"] = field("server", description="Listen on host and port, or connect to them")
        confirm: str = field(
            "", description="Written back when the flow is done with a message, such as OK\\n; empty: none"
        )
        max_connections: int = field(1000, ge=1, le=10_000, description="server: most connections; more are refused")

    reply = In(description="written to the connection that its meta.tcp.connection names")
    out = Out(description="a message; the topic is the peer's address")

    async def on_start(self) -> None:
        self._tls = context_of(self.config, server=self.config.mode == "server")
        self._confirm = delimiter_of(self.config.confirm) if self.config.confirm else b""
        self._connections: dict[str, asyncio.StreamWriter] = {}
        self._tasks: set[asyncio.Task] = set()
        self._numbers = itertools.count(1)

    async def run(self) -> None:
        link = self._link = Again(self, self.config.where)
        try:
            await link.run(self._serve if self.config.mode == "server" else self._connect)
        finally:
            for task in self._tasks:
                task.cancel()

    async def _connect(self) -> None:
        reader, writer = await connect(self.config, self._tls)
        self._link.up()
        await self._talk(reader, writer)

    async def _serve(self) -> None:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._connections) >= self.config.max_connections:
                writer.close()
                return
            task = asyncio.get_running_loop().create_task(self._talk(reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        server = await asyncio.start_server(accept, self.config.host, self.config.port, ssl=self._tls)
        try:
            self._show()
            await asyncio.Event().wait()
        finally:
            server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = "{}:{}".format(*writer.get_extra_info("peername")[:2])
        name = f"{next(self._numbers)}@{peer}"
        self._connections[name] = writer
        self._show()
        try:
            async for frame in frames(reader.read, self.config):
                try:
                    payload = read(frame, self.config.format)
                    receipt = await self.send(payload, topic=peer, meta={"tcp": {"connection": name, "peer": peer}})
                except (BadPayload, TypeError, ValueError) as e:
                    self.report(ValueError(f"{peer}: {e}"))
                    continue
                if self._confirm:
                    await receipt
                    writer.write(self._confirm)
                    await writer.drain()
        except FrameTooLong as e:
            self.report(FrameTooLong(f"{peer}: {e}"))
        except OSError:
            pass  # it is gone; a device comes back by itself, and the badge counts who is there
        finally:
            del self._connections[name]
            writer.close()
            self._show()

    def _show(self) -> None:
        if self.config.mode == "server":
            count = len(self._connections)
            self._link.up(f"listening: {self.config.where}, {count} connection{'s' if count != 1 else ''}")

    async def on_message(self, message: Message) -> None:
        about = message.meta.get("tcp")
        name = about.get("connection") if isinstance(about, dict) else None
        writer = self._connections.get(name) if isinstance(name, str) else None
        if writer is None:
            raise GiveUp(f"connection {name!r} is not there any more (meta.tcp.connection)")
        try:
            writer.write(framed(write(message.payload, "auto"), self.config))
        except ValueError as e:
            raise GiveUp(str(e)) from None
        with contextlib.suppress(OSError):
            await writer.drain()
