import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

from aiohttp import ClientPayloadError, ClientResponse
from pydantic import field_validator
from yarl import URL

from flowcore.node import GiveUp, In, Message, Out, field
from flowcore.node.formats import BadPayload, Format, read, write
from flowcore.node.paths import MessagePath, PathError
from flowcore_nodes.core.http_client import Away, ClientConfig, HttpClient, refused

_CUT_AGAIN_S = 0.5
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class HttpRequest(HttpClient):
    """Ask an HTTP server for each message, and send its answer on.

    While the server is away, or asks for patience, it is tried again and messages wait; nothing is lost. An answer of
    400 or more is an error, unless `fail` is off. A large answer can come line by line or in chunks, one that is spread
    over pages page by page. One request is under way at a time, in order; with the setting `concurrency` as many as it
    says. A request whose answer was lost in a cut is made again.
    """

    type = "core/http-request"
    title = "HTTP request"
    icon = "arrow-right-left"

    class Config(ClientConfig):
        method: str = field("GET", dynamic=True, description="GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS")
        body: Literal["auto", "json", "msgpack", "text", "bytes", "form", "query", "none"] = field(
            "auto",
            description="What becomes of the payload; auto: nothing for GET, HEAD and DELETE, else text and bytes as "
            "they are and all else JSON; form, query: a map as form fields, or in the URL",
        )
        answer: Literal["whole", "lines", "chunks"] = field("whole", description="One message an answer, line or chunk")
        answer_format: Format = field("auto", description="What the bytes of an answer or line are; not of chunks")
        next: str = field(
            "",
            description="Where an answer names its next page: link (the header Link), or a path such as payload.next; "
            "empty: there are no pages",
        )
        max_pages: int = field(1000, ge=1, description="Most pages of one message")
        max_bytes: int = field(10 << 20, ge=1, le=1 << 30, description="Longest answer (whole) or line, in bytes")
        fail: bool = field(True, description="A status from 400 on is an error; off: the answer goes on")

        @field_validator("next")
        @classmethod
        def _is_path(cls, path: str) -> str:
            if path not in ("", "link"):
                MessagePath(path)
            return path

    in_ = In(description="what is sent; meta.url when `url` is empty")
    out = Out(description="the answer; meta.response has status, headers, url and page")

    async def on_message(self, message: Message) -> AsyncIterator[Message]:
        method = str(self.setting("method", message)).upper()
        if method not in _METHODS:
            raise GiveUp(f"method {method!r} is none of {', '.join(_METHODS)}")
        url, headers = self.url_of(message), self.headers_of(message)
        body = self._body(method, message, headers)
        for page in range(1, self.config.max_pages + 1):
            following = ""
            while True:
                is_begun = False
                try:
                    async with self.ask(method, url, headers, **body) as answer:
                        if answer.status >= 400 and self.config.fail:
                            raise await refused(answer)
                        about = _about(answer) | {"page": page}
                        async for payload in self._parts(answer):
                            is_begun = True
                            made = message.derive(payload, meta={**message.meta, "response": about})
                            following = self._next(made, answer)
                            yield made
                    break
                except (ClientPayloadError, TimeoutError) as e:  # cut in the middle of the answer
                    if is_begun or self.config.while_away == "fail":
                        raise Away(f"{method} {url}: the answer ended too early: {e}") from None
                    await asyncio.sleep(_CUT_AGAIN_S)
            if not following:
                return
            if URL(following).origin() != URL(url).origin():  # credentials are for the one server
                raise GiveUp(f"the next page is on another server: {following}")
            url = following
            body.pop("params", None)
        raise GiveUp(f"there are more than {self.config.max_pages} pages (max_pages)")

    def _body(self, method: str, message: Message, headers: dict[str, str]) -> dict[str, Any]:
        form = self.config.body
        if form == "none" or (form == "auto" and method in ("GET", "HEAD", "DELETE")):
            return {}
        payload = message.payload
        if form in ("form", "query"):
            if not isinstance(payload, dict) or not all(isinstance(v, (str, int, float)) for v in payload.values()):
                raise GiveUp(f"body = {form} takes a map of texts and numbers, got {type(payload).__name__}")
            return {"data" if form == "form" else "params": {str(k): str(v) for k, v in payload.items()}}
        try:
            data = write(payload, form)
        except BadPayload as e:
            raise GiveUp(str(e)) from None
        if not any(name.lower() == "content-type" for name in headers):
            is_json = form == "json" or (form == "auto" and not isinstance(payload, (str, bytes, bytearray)))
            kind = "application/json" if is_json else "text/plain; charset=utf-8" if isinstance(payload, str) else ""
            headers["Content-Type"] = kind or "application/octet-stream"
        return {"data": data}

    async def _parts(self, answer: ClientResponse) -> AsyncIterator[Any]:
        config = self.config
        if config.answer == "chunks":
            async for chunk in answer.content.iter_chunked(64 * 1024):
                yield chunk
            return
        rest = bytearray()
        async for chunk in answer.content.iter_chunked(64 * 1024):
            rest += chunk
            if config.answer == "lines":
                *lines, last = rest.split(b"\n")
                rest = bytearray(last)
                for line in lines:
                    if line.strip():
                        yield self._read(bytes(line), answer)
            if len(rest) > config.max_bytes:
                raise GiveUp(f"{answer.url}: more than {config.max_bytes} bytes (max_bytes)")
        if config.answer == "whole" or rest.strip():
            yield self._read(bytes(rest), answer)

    def _read(self, data: bytes, answer: ClientResponse) -> Any:
        try:
            return read(data, self.config.answer_format) if data else ""
        except BadPayload as e:
            raise GiveUp(f"the answer of {answer.url} is {e}") from None

    def _next(self, message: Message, answer: ClientResponse) -> str:
        if not self.config.next:
            return ""
        found: Any = ""
        if self.config.next == "link":
            link = answer.links.get("next")
            found = link.get("url") if link else ""
        else:
            try:
                found = MessagePath(self.config.next).get(message)
            except PathError:
                found = ""
        return str(answer.url.join(URL(str(found)))) if found else ""


def _about(answer: ClientResponse) -> dict[str, Any]:
    headers = {name.lower(): value for name, value in answer.headers.items() if name.lower() != "set-cookie"}
    return {"status": answer.status, "headers": headers, "url": str(answer.url)}
