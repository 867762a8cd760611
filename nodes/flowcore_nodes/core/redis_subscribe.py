import asyncio
import contextlib
from typing import Any

from flowcore.node import Message, Node, NodeConfig, Out, field, formats
from flowcore_nodes.core.again import Again
from flowcore_nodes.core.patience import Away, Refused
from flowcore_nodes.core.redis import INSTALL, RedisServer, answers, client_of, text_of

_PING_S = 2.0


class RedisSubscribe(Node):
    """Receive what is published on Redis channels.

    Redis keeps nothing for who is not there: what is published while the node or Redis is away is lost (a stream loses
    nothing). What comes faster than the flow takes it waits, up to `max_waiting`; then the oldest is dropped, counted.
    """

    type = "core/redis-subscribe"
    title = "Redis subscribe"
    category = "network"
    icon = "radio-receiver"
    needs = ("redis",)
    install = INSTALL
    outside = True

    class Config(NodeConfig):
        server: RedisServer = field(
            RedisServer(), description='The server, or {"$use": "name"} of a resource core/redis-server'
        )
        channels: list[str] = field(..., min_length=1, description="Channels; with * or ? patterns, such as sensors.*")
        format: formats.Format = field("auto", description="What the bytes are; auto: JSON, else text, else bytes")
        max_waiting: int = field(1000, ge=1, le=100_000, description="Most messages that wait for the flow")

    out = Out(description="the payload; the topic is the channel")

    async def on_start(self) -> None:
        config = self.config
        self._client = client_of(config.server, f"flowcore.{self.flow}.{self.id}")
        self._link = Again(self, str(config.server))
        self._waiting: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(config.max_waiting)
        self._dropped = 0

    async def run(self) -> None:
        listening = asyncio.ensure_future(self._link.run(self._session))
        try:
            while True:
                await self._pass_on(*await self._waiting.get())
        finally:
            listening.cancel()

    async def on_stop(self) -> None:
        if hasattr(self, "_client"):
            await self._client.aclose()

    async def _session(self) -> None:
        plain = [one for one in self.config.channels if not set("*?[") & set(one)]
        patterns = [one for one in self.config.channels if one not in plain]
        heard = self._client.pubsub()
        try:
            async with answers(self.config.server):
                if plain:
                    await heard.subscribe(*plain)
                if patterns:
                    await heard.psubscribe(*patterns)
            missing, silent = len(self.config.channels), False
            while True:
                async with answers(self.config.server, waits_s=_PING_S):
                    one: Any = await heard.get_message(timeout=_PING_S)
                if one is None:
                    if silent:
                        raise Away("it does not answer")
                    silent = True
                    async with answers(self.config.server):
                        await heard.ping()
                    continue
                silent = False
                if one["type"] in ("subscribe", "psubscribe"):
                    missing -= 1
                    if missing == 0:
                        self._link.up(f"listening: {self._link.where}")
                elif one["type"] in ("message", "pmessage"):
                    self._take(text_of(one["channel"]), one["data"])
        except Refused as e:  # no right to: that may be mended
            raise Away(str(e)) from None
        finally:
            with contextlib.suppress(Exception):
                await heard.aclose()

    def _take(self, channel: str, content: bytes) -> None:
        if self._waiting.full():
            self._waiting.get_nowait()
            self._dropped += 1
            if self._dropped & (self._dropped - 1) == 0:  # at 1, 2, 4, 8 ...: a flood of drops is no flood of statuses
                self.set_status(f"{self._dropped} dropped: the flow takes less than comes", "warn")
        self._waiting.put_nowait((channel, content))

    async def _pass_on(self, channel: str, content: bytes) -> None:
        try:
            await self.send(formats.read(content, self.config.format), topic=channel)
        except (ValueError, TypeError) as error:  # not in the format, or nothing that an envelope can hold
            self.report(ValueError(f"{channel}: {error}"), Message(content[:1024], channel))
