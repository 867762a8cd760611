import hashlib
import hmac
from typing import Literal

from flowcore.node import GiveUp, In, Message, Out, field
from flowcore.node.formats import BadPayload, write
from flowcore_nodes.core.http_client import ClientConfig, HttpClient, refused


class WebhookOut(HttpClient):
    """Tell another service of each message by HTTP, signed so that it knows who said it.

    The body is the payload as JSON, text and bytes as they are. Its HMAC with the `key` goes into the header
    `signature_header`, as GitHub and others do it; with `timestamp` the seconds since 1970, which are in a header of
    their own, a dot and the body are signed, so that nobody can send it again later. A message is done when the
    service has answered 2xx; while it is away messages wait in order; what it refuses (4xx) is an error. After a cut a
    message may come twice: the header X-Webhook-Id is the same then.
    """

    type = "core/webhook-out"
    title = "Webhook out"
    icon = "webhook"

    class Config(ClientConfig):
        method: Literal["POST", "PUT"] = field("POST", description="How it is told")
        key: str = field("", secret=True, description="Key of the signature; empty: none is made")
        algorithm: Literal["sha256", "sha512"] = field("sha256", description="Of the signature")
        signature_header: str = field("X-Hub-Signature-256", description="Header with algorithm=signature, in hex")
        timestamp: bool = field(False, description="Sign the time too, which is sent in X-Webhook-Timestamp")

    in_ = In(description="what is told")
    out = Out(description="the message, when the service has it; meta.response.status")

    async def on_message(self, message: Message) -> Message:
        config = self.config
        url, headers = self.url_of(message), self.headers_of(message)
        try:
            body = write(message.payload, "auto")
        except BadPayload as e:
            raise GiveUp(str(e)) from None
        if not any(name.lower() == "content-type" for name in headers):
            is_text = isinstance(message.payload, str)
            kind = "application/octet-stream" if isinstance(message.payload, bytes) else "application/json"
            headers["Content-Type"] = "text/plain; charset=utf-8" if is_text else kind
        identity = f"{self.flow}.{self.id} {message.id} {message.trace} {message.ts_ns}"
        headers["X-Webhook-Id"] = hashlib.sha256(identity.encode()).hexdigest()[:32]
        signed = body
        if config.timestamp:
            headers["X-Webhook-Timestamp"] = at = str(int(self.now_s()))
            signed = at.encode() + b"." + body
        if config.key:
            headers[config.signature_header] = signature(config.key, signed, config.algorithm)
        async with self.ask(config.method, url, headers, data=body, allow_redirects=False) as answer:
            if not 200 <= answer.status < 300:
                raise await refused(answer)
            return message.derive(message.payload, meta={**message.meta, "response": {"status": answer.status}})


def signature(key: str, signed: bytes, algorithm: str = "sha256") -> str:
    """What the signature header says."""
    return f"{algorithm}={hmac.new(key.encode(), signed, algorithm).hexdigest()}"
