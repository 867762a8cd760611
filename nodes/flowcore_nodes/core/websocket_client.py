import asyncio
import contextlib
import os
import socket
import ssl

from aiohttp import ClientError, ClientSession, ClientTimeout, ClientWebSocketResponse, ClientWSTimeout, WSMsgType
from pydantic import field_validator

from flowcore.node import In, Message, Node, NodeConfig, Out, field
from flowcore.node.formats import Format, read
from flowcore_nodes.core.again import Again
from flowcore_nodes.core.tls import trusting
from flowcore_nodes.core.websocket_server import said


class WebsocketClient(Node):
    """Talk to a WebSocket server: what it says goes out, what comes in is said to it.

    It comes back by itself when the server does; messages wait meanwhile, in order. A flow that is slow makes the
    server wait. WebSocket confirms nothing: a message is done when the network has taken it, and what was under way in
    a cut is lost, as is what the server says while there is no connection.
    """

    type = "core/websocket-client"
    title = "WebSocket client"
    category = "network"
    icon = "plug"
    needs = ("aiohttp",)

    class Config(NodeConfig):
        url: str = field(..., description="ws:// or wss:// and so on")
        headers: dict[str, str] = field({}, description="Further headers")
        token: str = field("", secret=True, description="Bearer token; empty: none")
        hello: str = field("", description="Said at each connect, such as a subscription; empty: nothing")
        format: Format = field("auto", description="What a message is; auto: JSON, else text, else bytes")
        max_bytes: int = field(4 << 20, ge=1, le=64 << 20, description="Largest message, in bytes")
        ping_s: float = field(
            20.0, gt=0, le=3600, description="How often it is looked whether the server lives, seconds"
        )
        tls_ca: str = field("", description="File with the certificates to trust (PEM); empty: those of the system")

        @field_validator("url")
        @classmethod
        def _is_url(cls, url: str) -> str:
            if not url.startswith(("ws://", "wss://")):
                raise ValueError(f"a URL begins with ws:// or wss://, is {url!r}")
            return url

    in_ = In(description="said to the server: bytes and text as they are, all else as JSON")
    out = Out(description="what the server says")

    async def on_start(self) -> None:
        self._tls: ssl.SSLContext | bool = True
        if self.config.tls_ca:
            self._tls = trusting(self.config.tls_ca)
        self._link = Again(self, self.config.url, (ClientError,))
        self._server: ClientWebSocketResponse | None = None

    async def run(self) -> None:
        async with ClientSession(timeout=ClientTimeout(sock_connect=5)) as session:

            async def talk() -> None:
                await self._talk(session)

            await self._link.run(talk)

    async def _talk(self, session: ClientSession) -> None:
        config = self.config
        headers = dict(config.headers)
        if config.token:
            headers["Authorization"] = f"Bearer {config.token}"
        with contextlib.ExitStack() as afterwards:
            async with session.ws_connect(
                config.url, headers=headers, heartbeat=config.ping_s, max_msg_size=config.max_bytes, ssl=self._tls,
                timeout=ClientWSTimeout(ws_close=1.0),
            ) as server:  # fmt: skip
                afterwards.callback(_cut, os.dup(server.get_extra_info("socket").fileno()))
                if config.hello:
                    await server.send_str(config.hello)
                self._server = server
                self._link.up()
                try:
                    async for message in server:
                        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                            await self._pass_on(message.data)
                    if (error := server.exception()) is not None:
                        raise ConnectionError(str(error))
                finally:
                    self._server = None

    async def _pass_on(self, data: str | bytes) -> None:
        try:
            content = data.encode() if isinstance(data, str) else data
            await self.send(read(content, self.config.format), topic=self.config.url)
        except (TypeError, ValueError) as e:
            self.report(ValueError(f"{self.config.url}: {e}"))

    async def on_message(self, message: Message) -> None:
        content = said(message.payload)
        while True:
            await self._link.until_up()
            server = self._server
            if server is None:
                await asyncio.sleep(0.01)
                continue
            try:
                await (server.send_bytes(content) if isinstance(content, bytes) else server.send_str(content))
            except (ConnectionError, ClientError, RuntimeError):
                if server is self._server:
                    self._link.down()
            else:
                if not server.closed:  # else it waited for room that the end of the connection has made
                    return


def _cut(descriptor: int) -> None:
    """End a connection for good: closed alone it lives as long as its peer does not read what was said to it."""
    with socket.socket(fileno=descriptor) as line, contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
