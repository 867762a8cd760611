import asyncio
import hashlib
from typing import Any

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field, formats
from flowcore_nodes.core.addressed import addressed
from flowcore_nodes.core.jetstream import JetStream, NatsServer, judged
from flowcore_nodes.core.patience import Away, Patience, Refused


class JetstreamOut(Node):
    """Publish messages into a JetStream stream on a NATS server elsewhere.

    A message is done when the stream has it. While the server, or a stream for the subject, is not there messages wait
    in order. A message has the same Nats-Msg-Id when it is sent again, so the stream takes it once, within its
    duplicate window (two minutes, unless it was set otherwise).
    """

    type = "core/jetstream-out"
    title = "JetStream out"
    category = "network"
    icon = "database-zap"
    outside = True

    class Config(NodeConfig):
        server: NatsServer = field(NatsServer(), description='The server, or {"$use": "name"} of a core/nats-server')
        subject: str = field("", dynamic=True, description="Subject; empty: the message's topic")
        stream: str = field("", description="Name of the stream that must take it; empty: whichever does")
        format: formats.Format = field("auto", description="auto: bytes and text as they are, all else as JSON")

    in_ = In(description="what is published")
    out = Out(description="the message, when the stream has it; meta.jetstream has stream and sequence")

    async def on_start(self) -> None:
        self._jetstream = JetStream(self.config.server, f"flowcore {self.flow}.{self.id}")
        self._patience = Patience(self, str(self.config.server))

    async def on_stop(self) -> None:
        if hasattr(self, "_jetstream"):
            await self._jetstream.close()

    async def on_batch(self, messages: list[Message]) -> list[Message]:
        parts: list[tuple[Message, str, bytes]] = []
        for message in messages:
            try:
                subject = addressed(self, "subject", message)
                if set(subject) & set(" *>\r\n\t"):
                    raise ValueError(f"{subject!r} is no subject")
                parts.append((message, subject, formats.write(message.payload, self.config.format)))
            except (LookupError, ValueError) as e:
                self.report(GiveUp(str(e)), message)
        said: dict[int, Any] = {}  # by place in parts: where it is, or why not

        async def publish() -> None:
            async with self._jetstream.answers():
                context = await self._jetstream.context()
                left = [k for k in range(len(parts)) if k not in said]
                results = await asyncio.gather(*(self._publish(context, *parts[k]) for k in left))
            for k, result in zip(left, results, strict=True):
                if not isinstance(result, Away):
                    said[k] = result
            if away := next((one for one in results if isinstance(one, Away)), None):
                raise away

        await self._patience.until_done(publish)
        done = []
        for k, (message, subject, _) in enumerate(parts):
            if isinstance(said[k], Refused):
                self.report(GiveUp(f"{subject}: {said[k]}"), message)
            else:
                meta = message.meta | {"jetstream": {"stream": said[k].stream, "sequence": said[k].seq}}
                done.append(message.derive(message.payload, meta=meta))
        return done

    async def _publish(self, context: Any, message: Message, subject: str, content: bytes) -> Any:
        from nats.errors import Error

        identity = f"{self.flow}.{self.id} {message.id} {message.trace} {message.ts_ns}"
        headers = {"Nats-Msg-Id": hashlib.sha256(identity.encode()).hexdigest()[:32]}
        try:
            return await context.publish(subject, content, stream=self.config.stream or None, headers=headers)
        except (Error, OSError, EOFError, TimeoutError) as e:
            return judged(e)
