from typing import Any

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field, formats
from flowcore_nodes.core.addressed import addressed
from flowcore_nodes.core.patience import Away, Patience, Refused
from flowcore_nodes.core.redis import INSTALL, RedisServer, answers, client_of, judged, text_of


class RedisStreamOut(Node):
    """Add messages to a Redis stream.

    A message is done when Redis has it; what came together goes over in one turn. While Redis is away, full, or does
    not let us in messages wait in order. After a cut in the middle an entry may be there twice. How safe Redis keeps it
    is Redis's setting (`appendfsync always`: over a loss of power).
    """

    type = "core/redis-stream-out"
    title = "Redis stream out"
    category = "network"
    icon = "list-plus"
    needs = ("redis",)
    install = INSTALL
    outside = True

    class Config(NodeConfig):
        server: RedisServer = field(
            RedisServer(), description='The server, or {"$use": "name"} of a resource core/redis-server'
        )
        stream: str = field(
            "",
            dynamic=True,
            description="Key of the stream; empty: the message's topic. It is made where there is none",
        )
        payload_field: str = field(
            "payload", description="Field that holds the payload; empty: a map's keys are the fields"
        )
        topic: bool = field(True, description="Write the message's topic, where it has one, into the field topic")
        format: formats.Format = field("auto", description="auto: bytes and text as they are, all else as JSON")
        max_count: int = field(
            1_000_000,
            ge=0,
            description="About so many entries are kept, the oldest go; 0: all. Read or not: make it wide",
        )

    in_ = In(description="what is added")
    out = Out(description="the message, when Redis has it; meta.redis has stream and id")

    async def on_start(self) -> None:
        config = self.config
        self._client = client_of(config.server, f"flowcore.{self.flow}.{self.id}")
        self._patience = Patience(self, str(config.server))

    async def on_stop(self) -> None:
        if hasattr(self, "_client"):
            await self._client.aclose()

    async def on_batch(self, messages: list[Message]) -> list[Message]:
        entries: list[tuple[Message, str, dict]] = []
        for message in messages:
            try:
                entries.append((message, *self._entry(message)))
            except (LookupError, ValueError, TypeError) as e:
                self.report(GiveUp(str(e)), message)
        said: dict[int, str | Refused] = {}  # by place in entries

        async def add() -> None:
            left = [k for k in range(len(entries)) if k not in said]
            async with self._client.pipeline(transaction=False) as turn:
                for k in left:
                    turn.xadd(*entries[k][1:], maxlen=self.config.max_count or None, approximate=True)
                async with answers(self.config.server):
                    results = await turn.execute(raise_on_error=False)
            away = None
            for k, answer in zip(left, results, strict=True):
                one = judged(answer) if isinstance(answer, Exception) else text_of(answer)
                if isinstance(one, Away):
                    away = away or one
                else:
                    said[k] = one
            if away is not None:
                raise away

        await self._patience.until_done(add)
        done = []
        for k, (message, stream, _) in enumerate(entries):
            if isinstance(answer := said[k], Refused):
                self.report(GiveUp(f"{stream}: {answer}"), message)
            else:
                meta = message.meta | {"redis": {"stream": stream, "id": answer}}
                done.append(message.derive(message.payload, meta=meta))
        return done

    def _entry(self, message: Message) -> tuple[str, dict[str, Any]]:
        config, payload = self.config, message.payload
        stream = addressed(self, "stream", message)
        if config.payload_field:
            fields = {config.payload_field: formats.write(payload, config.format)}
        elif isinstance(payload, dict) and payload:
            fields = {str(key): formats.write(value, config.format) for key, value in payload.items()}
        else:
            raise ValueError("the payload must be a map with keys, or set `payload_field`")
        if config.topic and message.topic:
            fields.setdefault("topic", message.topic.encode())
        return stream, fields
