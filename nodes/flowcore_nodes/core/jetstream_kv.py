from typing import Any, Literal

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field, formats
from flowcore_nodes.core.addressed import addressed
from flowcore_nodes.core.jetstream import JetStream, NatsServer
from flowcore_nodes.core.patience import Patience, Refused


class JetstreamKv(Node):
    """Read, write and delete keys of a JetStream key-value bucket on a NATS server elsewhere.

    While the server is away messages wait in order. What was read or written is in the payload that leaves,
    meta.kv has bucket, key and revision; a key that is not there is null with revision 0.
    """

    type = "core/jetstream-kv"
    title = "JetStream key-value"
    category = "storage"
    icon = "key-round"
    outside = True

    class Config(NodeConfig):
        server: NatsServer = field(NatsServer(), description='The server, or {"$use": "name"} of a core/nats-server')
        bucket: str = field(..., pattern=r"^[\w-]+$", description="The bucket")
        action: Literal["get", "put", "delete"] = field("get", description="What is done with the key")
        key: str = field("", dynamic=True, description="The key, such as press.4; empty: the message's topic")
        format: formats.Format = field("auto", description="Of the values")
        create: bool = field(True, description="put: make the bucket where there is none")
        history: int = field(1, ge=1, le=64, description="Of a bucket that is made: values kept of each key")

    in_ = In(description="put: the value")
    out = Out(description="the value")

    async def on_start(self) -> None:
        self._jetstream = JetStream(self.config.server, f"flowcore {self.flow}.{self.id}")
        self._patience = Patience(self, f"{self.config.server} {self.config.bucket}")

    async def on_stop(self) -> None:
        if hasattr(self, "_jetstream"):
            await self._jetstream.close()

    async def on_message(self, message: Message) -> Message:
        config = self.config
        try:
            key = addressed(self, "key", message)
            content = formats.write(message.payload, config.format) if config.action == "put" else b""
        except (LookupError, ValueError) as e:
            raise GiveUp(str(e)) from None
        try:
            value, revision = await self._patience.until_done(lambda: self._do(key, content))
            payload: Any = message.payload if config.action == "put" else None
            if value is not None:
                payload = formats.read(value, config.format)
        except ValueError as e:  # Refused, or not in the format
            raise GiveUp(f"{config.bucket} {key}: {e}") from None
        meta = message.meta | {"kv": {"bucket": config.bucket, "key": key, "revision": revision}}
        return message.derive(payload, meta=meta)

    async def _do(self, key: str, content: bytes) -> tuple[bytes | None, int]:
        from nats.js.errors import BucketNotFoundError, InvalidKeyError, KeyNotFoundError

        config = self.config
        async with self._jetstream.answers():
            context = await self._jetstream.context()
            try:
                bucket = await context.key_value(config.bucket)
            except BucketNotFoundError:
                if config.action != "put" or not config.create:
                    raise
                bucket = await context.create_key_value(bucket=config.bucket, history=config.history)
            try:
                if config.action == "put":
                    return None, await bucket.put(key, content)
                if config.action == "delete":
                    await bucket.delete(key)
                    return None, 0
                entry = await bucket.get(key)
                return entry.value, entry.revision or 0
            except KeyNotFoundError:
                return None, 0
            except InvalidKeyError:
                raise Refused("a key has letters, digits, and -/_=. between") from None
