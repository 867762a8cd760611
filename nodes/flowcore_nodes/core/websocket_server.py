import asyncio
import hmac
import itertools
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web
from pydantic import field_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore.node.formats import BadPayload, Format, read, write
from flowcore_nodes.core.tls import server_tls

_AGAIN_S = 1.0


class WebsocketServer(Node):
    """Talk to browsers and programs that connect by WebSocket.

    What they say goes out, with meta.websocket (connection, path, remote); what comes in goes to the connection that
    its meta.websocket names, or to all. A flow that is slow makes the clients wait; a client that does not read what
    it is sent is cut off, the others don't wait for it. A web page may connect only from `origins`.
    """

    type = "core/websocket-server"
    title = "WebSocket server"
    category = "network"
    icon = "plug-zap"
    needs = ("aiohttp",)

    class Config(NodeConfig):
        port: int = field(..., ge=1, le=65535, description="TCP port of its own")
        address: str = field("127.0.0.1", description="Address to listen on; 0.0.0.0: all, then set a key")
        path: str = field("/", description="Path that clients ask for")
        key: str = field("", secret=True, description="Key that a client must send, in X-Api-Key or as bearer token")
        origins: list[str] = field(
            [], description="Web pages that may connect, such as http://plant.local; * is any. Programs send no origin"
        )
        format: Format = field("auto", description="What a message is; auto: JSON, else text, else bytes")
        max_bytes: int = field(1 << 20, ge=1, le=64 << 20, description="Largest message, in bytes")
        max_connections: int = field(1000, ge=1, le=10_000, description="Most clients; more get 503")
        ping_s: float = field(
            20.0, gt=0, le=3600, description="How often it is looked whether a client lives, in seconds"
        )
        slow_s: float = field(
            5.0, gt=0, le=300, description="A client that takes nothing for so long is cut off, seconds"
        )
        tls_cert: str = field("", description="File with certificate (PEM): wss")
        tls_key: str = field("", description="File with its key (PEM); empty: in the same file")

        @field_validator("path")
        @classmethod
        def _is_path(cls, path: str) -> str:
            if not path.startswith("/") or "{" in path:
                raise ValueError(f"a path begins with / and has no parameters, is {path!r}")
            return path

    in_ = In(description="sent to the connection in meta.websocket.connection, or to all")
    out = Out(description="what a client says")

    async def on_start(self) -> None:
        config = self.config
        self._tls = server_tls(config.tls_cert, config.tls_key)
        self._clients: dict[str, web.WebSocketResponse] = {}
        self._numbers = itertools.count(1)

    async def run(self) -> None:
        config = self.config
        app = web.Application()
        app.router.add_get(config.path, self._accept)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await runner.setup()
        try:
            while True:
                try:
                    await web.TCPSite(runner, config.address, config.port, ssl_context=self._tls).start()
                    break
                except OSError as e:
                    self.set_status(f"{config.address}:{config.port}: {e.strerror or e}; trying again", "error")
                    await asyncio.sleep(_AGAIN_S)
            self._show()
            await asyncio.Event().wait()
        finally:
            for client in list(self._clients.values()):
                await client.close(code=WSCloseCode.GOING_AWAY)
            await runner.cleanup()

    def _show(self) -> None:
        config, count = self.config, len(self._clients)
        where = f"{'wss' if self._tls else 'ws'}://{config.address}:{config.port}{config.path}"
        self.set_status(f"listening: {where}, {count} client{'s' if count != 1 else ''}")

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        config = self.config
        if config.key:
            given = request.headers.get("X-Api-Key") or request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), config.key.encode()):
                return web.Response(status=401, text="a key is needed, in X-Api-Key or as bearer token")
        origin = request.headers.get("Origin")
        if origin is not None and origin not in config.origins and "*" not in config.origins:
            return web.Response(status=403, text=f"pages of {origin} may not connect (origins)")
        if len(self._clients) >= config.max_connections:
            return web.Response(status=503, text="too many clients")
        client = web.WebSocketResponse(heartbeat=config.ping_s, max_msg_size=config.max_bytes)
        await client.prepare(request)
        name = f"{next(self._numbers)}@{request.remote}"
        self._clients[name] = client
        self._show()
        try:
            await self._listen(client, {"connection": name, "path": request.path, "remote": request.remote or ""})
        finally:
            self._clients.pop(name, None)
            self._show()
        return client

    async def _listen(self, client: web.WebSocketResponse, about: dict[str, Any]) -> None:
        async for message in client:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                continue
            data = message.data.encode() if message.type == WSMsgType.TEXT else message.data
            try:
                await self.send(read(data, self.config.format), topic=self.config.path, meta={"websocket": about})
            except (TypeError, ValueError) as e:
                self.report(ValueError(f"{about['connection']}: {e}"))
        if client.exception() is not None:
            self.report(ConnectionError(f"{about['connection']}: {client.exception()}"))

    async def on_message(self, message: Message) -> None:
        about = message.meta.get("websocket")
        name = about.get("connection") if isinstance(about, dict) else None
        if name is not None and name not in self._clients:
            raise GiveUp(f"client {name!r} is not there any more (meta.websocket.connection)")
        chosen = {name: self._clients[name]} if name is not None else dict(self._clients)
        content = said(message.payload)
        await asyncio.gather(*(self._tell(one, client, content) for one, client in chosen.items()))

    async def _tell(self, name: str, client: web.WebSocketResponse, content: str | bytes) -> None:
        try:
            async with asyncio.timeout(self.config.slow_s):
                await (client.send_bytes(content) if isinstance(content, bytes) else client.send_str(content))
        except (TimeoutError, ConnectionError, RuntimeError) as e:
            why = f"took nothing for {self.config.slow_s:g} s: cut off" if isinstance(e, TimeoutError) else str(e)
            self.report(ConnectionError(f"{name}: {why}"))
            self._clients.pop(name, None)
            await client.close()


def said(payload: Any) -> str | bytes:
    """What travels for a payload: bytes as they are, text and JSON as text. Raises GiveUp."""
    if isinstance(payload, (bytes, bytearray, memoryview)):
        return bytes(payload)
    try:
        return write(payload, "auto").decode()
    except BadPayload as e:
        raise GiveUp(str(e)) from None
