import json
import re
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore.node.formats import BadPayload, write

_REPLY = re.compile(r"http://127\.0\.0\.1:\d+/\.reply/[\w-]+")
_TYPES: dict[type, str] = {str: "text/plain; charset=utf-8", bytes: "application/octet-stream"}


class HttpResponse(Node):
    """Answer the request that an http-in took, with the payload as body.

    The http-in has `answer` = response. The message may come from anywhere behind it, as long as meta.http is kept.
    Text and bytes are sent as they are, all else as JSON. A request whose client has gone or has been told that it
    took too long is an error. Both nodes run on the same host.
    """

    type = "core/http-response"
    title = "HTTP response"
    category = "network"
    icon = "corner-down-left"
    needs = ("aiohttp",)
    outside = True

    class Config(NodeConfig):
        status: int = field(200, ge=200, le=599, dynamic=True, description="Status code; or meta.status of the message")
        headers: dict[str, str] = field(
            {}, dynamic=True, description="Further headers; those in meta.headers go before"
        )
        content_type: str = field("", description="Such as text/html; empty: by the payload")

    in_ = In(description="the answer; meta.http as http-in made it")
    out = Out(description="the message, when its answer is with the client's http-in")

    async def on_start(self) -> None:
        self._session = ClientSession(timeout=ClientTimeout(total=10))

    async def on_stop(self) -> None:
        await self._session.close()

    async def on_message(self, message: Message) -> Message:
        about = message.meta.get("http")
        reply = about.get("reply") if isinstance(about, dict) else None
        if not isinstance(reply, str) or not _REPLY.fullmatch(reply):
            raise GiveUp(
                "no meta.http.reply: it is no request of an http-in with answer = response, or meta was replaced"
            )
        body, kind = _body(message.payload)
        status = message.meta.get("status") or self.setting("status", message)
        if type(status) is not int or not 200 <= status <= 599:
            raise GiveUp(f"a status is a number from 200 to 599, not {status!r}")
        headers = {**(self.setting("headers", message) or {}), **(message.meta.get("headers") or {})}
        headers = {str(name): str(value) for name, value in headers.items()}
        if any("\n" in text or "\r" in text for pair in headers.items() for text in pair):
            raise GiveUp("a header has a line break in it")
        if not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = self.config.content_type or kind
        answer = {"X-Flowcore-Answer": json.dumps({"status": status, "headers": headers})}
        try:
            async with self._session.post(reply, data=body, headers=answer) as told:
                if told.status != 204:
                    raise GiveUp("nobody waits for this answer any more: the client has gone, or it took too long")
        except ClientError as e:
            raise GiveUp(f"the http-in of this request has ended: {e}") from None
        return message


def _body(payload: Any) -> tuple[bytes, str]:
    try:
        return write(payload, "auto"), _TYPES.get(type(payload), "application/json")
    except BadPayload as e:
        raise GiveUp(str(e)) from None
