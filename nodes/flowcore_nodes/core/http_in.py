import asyncio
import hmac
import json
import secrets
from typing import Any, Literal
from urllib.parse import parse_qsl

from aiohttp import web
from pydantic import field_validator

from flowcore.node import Node, NodeConfig, Out, field
from flowcore.node.formats import read
from flowcore_nodes.core.http_front import REPLY, Front, RouteTaken, pattern
from flowcore_nodes.core.tls import server_tls

_AGAIN_S = 1.0


class HttpIn(Node):
    """Take HTTP requests on a path, and answer when the flow is done or an http-response says what.

    All http-in nodes with the same port share it, also those of other flows. The payload is the body: JSON as its
    value, a form as a map, an upload as a map whose files are maps of name, type and content, text as text, all else
    as bytes; without a body the query. meta.http has method, path, params, query, headers and remote. A body that
    can't be read gets 400, a wrong key 401, one that is too large 413, a flow that is too slow 504, and more requests
    at a time than `max_waiting` 503. A source that cannot replay: a request in work when the node is killed is cut
    off, and its client knows.
    """

    type = "core/http-in"
    title = "HTTP in"
    category = "network"
    icon = "globe"
    needs = ("aiohttp",)

    class Config(NodeConfig):
        path: str = field(..., description="Such as /orders or /orders/{id}; {rest...} takes all that follows")
        method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "*"] = field("POST", description="*: any")
        port: int = field(1890, ge=1, le=65535, description="Port, which http-in nodes share; not the editor's")
        address: str = field("127.0.0.1", description="Address to listen on; 0.0.0.0: all, then set a key")
        answer: Literal["response", "done", "accepted"] = field(
            "done",
            description="response: what an http-response node says; done: 200 when the flow is done with the message; "
            "accepted: 202 at once",
        )
        format: Literal["by_type", "auto", "json", "msgpack", "text", "bytes"] = field(
            "by_type", description="What a body is; by_type: what its Content-Type says"
        )
        key: str = field("", secret=True, description="Key that a client must send, in X-Api-Key or as bearer token")
        max_bytes: int = field(10 << 20, ge=1, le=1 << 30, description="Largest body, in bytes")
        timeout_s: float = field(
            30.0, gt=0, le=3600, description="Longest that a client waits for its answer, in seconds"
        )
        max_waiting: int = field(1000, ge=1, le=100_000, description="Most requests in work at a time")
        tls_cert: str = field("", description="File with certificate (PEM): https; the same for all nodes of a port")
        tls_key: str = field("", description="File with its key (PEM); empty: in the same file")

        @field_validator("path")
        @classmethod
        def _is_path(cls, path: str) -> str:
            pattern(path)
            return path

    out = Out(description="the body; meta.http about the request")

    async def on_start(self) -> None:
        config = self.config
        self._tls = server_tls(config.tls_cert, config.tls_key)
        self._waiting: dict[str, asyncio.Future[web.Response]] = {}
        self._in_work = 0

    async def run(self) -> None:
        config = self.config
        front = Front(
            f"{self.flow}.{self.id}", config.address, config.port, config.method, config.path,
            self._handle, self._reply, self._on_trouble, self._tls,
        )  # fmt: skip
        self._front = front
        while True:
            try:
                await front.open()
                break
            except RouteTaken as e:
                self.set_status(str(e), "error")
                await asyncio.sleep(_AGAIN_S)
        try:
            await asyncio.Event().wait()
        finally:
            await front.close()

    def _on_trouble(self, text: str) -> None:
        scheme = "https" if self._tls else "http"
        here = f"listening: {self.config.method} {scheme}://{self.config.address}:{self.config.port}{self.config.path}"
        self.set_status(text or here, "error" if text else "ok")

    async def _handle(self, request: web.Request, params: dict[str, str]) -> web.StreamResponse:
        config = self.config
        if config.key and not self._has_key(request):
            return _refusal(401, "a key is needed, in X-Api-Key or as bearer token")
        if self._in_work >= config.max_waiting:
            return _refusal(503, "too many requests are in work")
        self._in_work += 1
        try:
            async with asyncio.timeout(config.timeout_s):
                return await self._in_flow(request, params)
        except TimeoutError:
            return _refusal(504, f"the flow did not answer within {config.timeout_s:g} s")
        finally:
            self._in_work -= 1

    async def _in_flow(self, request: web.Request, params: dict[str, str]) -> web.StreamResponse:
        config = self.config
        try:
            payload = await self._payload(request)
        except _TooLarge:
            return _refusal(413, f"a body may have {config.max_bytes} bytes")
        except (ValueError, LookupError) as e:  # BadPayload is one
            return _refusal(400, str(e))
        about = {
            "method": request.method, "path": request.path, "params": params, "query": _query(request),
            "headers": {name.lower(): value for name, value in request.headers.items() if name.lower() not in _SECRET},
            "remote": request.remote or "",
        }  # fmt: skip
        number = secrets.token_urlsafe(12)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        if config.answer == "response":
            about["reply"] = f"http://127.0.0.1:{self._front.back_port}{REPLY}{number}"
        try:
            try:
                receipt = await self.send(payload, topic=request.path, meta={"http": about})
            except (TypeError, ValueError) as e:
                return _refusal(400, f"the flow can't take this: {e}")
            if config.answer == "accepted":
                return web.json_response({"accepted": True}, status=202)
            if config.answer == "done":
                await receipt
                return web.json_response({"done": True})
            return await answer
        finally:
            del self._waiting[number]

    def _has_key(self, request: web.Request) -> bool:
        given = request.headers.get("X-Api-Key") or request.headers.get("Authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), self.config.key.encode())

    async def _payload(self, request: web.Request) -> Any:
        form: str = self.config.format
        if not request.can_read_body:
            return _query(request)
        kind = request.content_type
        if form == "by_type" and kind == "multipart/form-data":
            return await self._upload(request)
        body = await self._body(request)
        if form == "by_type":
            if kind == "application/x-www-form-urlencoded":
                return _map(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
            form = "json" if kind == "application/json" or kind.endswith("+json") else "bytes"
            if kind.startswith("text/"):
                return body.decode(request.charset or "utf-8")
            if kind in ("application/msgpack", "application/x-msgpack"):
                form = "msgpack"
        return read(body, form)  # type: ignore[arg-type]

    async def _body(self, request: web.Request) -> bytes:
        if (request.content_length or 0) > self.config.max_bytes:
            raise _TooLarge
        parts, size = [], 0
        async for chunk in request.content.iter_chunked(64 * 1024):
            size += len(chunk)
            if size > self.config.max_bytes:
                raise _TooLarge
            parts.append(chunk)
        return b"".join(parts)

    async def _upload(self, request: web.Request) -> dict[str, Any]:
        if (request.content_length or 0) > self.config.max_bytes:
            raise _TooLarge
        found, size = [], 0
        reader: Any = await request.multipart()
        async for part in reader:
            content = bytearray()
            while chunk := await part.read_chunk(64 * 1024):
                size += len(chunk)
                if size > self.config.max_bytes:
                    raise _TooLarge
                content += chunk
            if part.filename is None:
                value: Any = content.decode("utf-8", "replace")
            else:
                kind = part.headers.get("Content-Type", "")
                value = {"filename": part.filename, "type": kind, "content": bytes(content)}
            found.append((part.name or "", value))
        return _map(found)

    def _reply(self, number: str, about: dict[str, Any], body: bytes) -> bool:
        """An http-response node has answered."""
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():
            return False
        waiting.set_result(web.Response(status=about["status"], headers=about["headers"], body=body))
        return True


_SECRET = {"authorization", "x-api-key", "cookie", "x-flowcore-front"}  # not for the flow, its log and its debug panel


class _TooLarge(Exception):
    pass


def _refusal(status: int, why: str) -> web.Response:
    headers = {"Retry-After": "1"} if status == 503 else {}
    return web.Response(
        status=status, text=json.dumps({"error": why}), content_type="application/json", headers=headers
    )


def _query(request: web.Request) -> dict[str, Any]:
    return _map(list(request.query.items()))


def _map(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """What is there several times is a list."""
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name not in made:
            made[name] = value
        elif isinstance(made[name], list):
            made[name].append(value)
        else:
            made[name] = [made[name], value]
    return made
