from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field, formats
from flowcore_nodes.core.addressed import addressed
from flowcore_nodes.core.patience import Patience, Refused
from flowcore_nodes.core.redis import INSTALL, RedisServer, answers, client_of


class RedisPublish(Node):
    """Publish messages on a Redis channel.

    A message is done when Redis has passed it to who is subscribed; nobody keeps it for others (a stream does). While
    Redis is away messages wait in order.
    """

    type = "core/redis-publish"
    title = "Redis publish"
    category = "network"
    icon = "radio-tower"
    needs = ("redis",)
    install = INSTALL
    outside = True

    class Config(NodeConfig):
        server: RedisServer = field(
            RedisServer(), description='The server, or {"$use": "name"} of a resource core/redis-server'
        )
        channel: str = field("", dynamic=True, description="Channel; empty: the message's topic")
        format: formats.Format = field("auto", description="auto: bytes and text as they are, all else as JSON")

    in_ = In(description="what is published")
    out = Out(description="the message, when it is; meta.receivers: how many got it")

    async def on_start(self) -> None:
        config = self.config
        self._client = client_of(config.server, f"flowcore.{self.flow}.{self.id}")
        self._patience = Patience(self, str(config.server))

    async def on_stop(self) -> None:
        if hasattr(self, "_client"):
            await self._client.aclose()

    async def on_message(self, message: Message) -> Message:
        try:
            channel = addressed(self, "channel", message)
            content = formats.write(message.payload, self.config.format)
        except (LookupError, ValueError) as e:
            raise GiveUp(str(e)) from None

        async def publish() -> int:
            async with answers(self.config.server):
                return await self._client.publish(channel, content)

        try:
            receivers = await self._patience.until_done(publish)
        except Refused as e:
            raise GiveUp(f"{channel}: {e}") from None
        return message.derive(message.payload, meta=message.meta | {"receivers": receivers})
