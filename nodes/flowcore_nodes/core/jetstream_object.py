from typing import Any, Literal

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field, formats
from flowcore_nodes.core.addressed import addressed
from flowcore_nodes.core.jetstream import JetStream, NatsServer
from flowcore_nodes.core.patience import Patience, Refused


class JetstreamObject(Node):
    """Store, fetch and delete objects (files, pictures) of a JetStream object store on a NATS server elsewhere.

    While the server is away messages wait in order. An object that is not there is an error. meta.object has bucket,
    name, size (bytes) and digest; what is fetched is checked against it.
    """

    type = "core/jetstream-object"
    title = "JetStream object"
    category = "storage"
    icon = "package"
    outside = True

    class Config(NodeConfig):
        server: NatsServer = field(NatsServer(), description='The server, or {"$use": "name"} of a core/nats-server')
        bucket: str = field(..., pattern=r"^[\w-]+$", description="The object store")
        action: Literal["get", "put", "delete"] = field("get", description="What is done with the object")
        name: str = field("", dynamic=True, description="Name of the object; empty: the message's topic")
        format: formats.Format = field("bytes", description="put: how payloads are written; get: what the bytes are")
        create: bool = field(True, description="put: make the object store where there is none")
        max_bytes: int = field(16 << 20, ge=1, le=1 << 30, description="Largest object, in bytes")

    in_ = In(description="put: what is stored")
    out = Out(description="get: the object; else the message, when it is done")

    async def on_start(self) -> None:
        self._jetstream = JetStream(self.config.server, f"flowcore {self.flow}.{self.id}")
        self._patience = Patience(self, f"{self.config.server} {self.config.bucket}")

    async def on_stop(self) -> None:
        if hasattr(self, "_jetstream"):
            await self._jetstream.close()

    async def on_message(self, message: Message) -> Message:
        config = self.config
        try:
            name = addressed(self, "name", message)
            content = formats.write(message.payload, config.format) if config.action == "put" else b""
            if len(content) > config.max_bytes:
                raise ValueError(f"{name} has {len(content)} bytes, max_bytes is {config.max_bytes}")
            got, about = await self._patience.until_done(lambda: self._do(name, content))
            payload = message.payload if got is None else formats.read(got, config.format)
        except (LookupError, ValueError) as e:  # Refused among them
            raise GiveUp(f"{config.bucket}: {e}") from None
        return message.derive(payload, meta=message.meta | {"object": {"bucket": config.bucket, "name": name, **about}})

    async def _do(self, name: str, content: bytes) -> tuple[bytes | None, dict[str, Any]]:
        from nats.js.errors import NotFoundError, ObjectDeletedError, ObjectNotFoundError

        config = self.config
        async with self._jetstream.answers(waits_s=30):
            context = await self._jetstream.context()
            try:
                store = await context.object_store(config.bucket)
            except NotFoundError:
                if config.action != "put" or not config.create:
                    raise
                store = await context.create_object_store(config.bucket)
            try:
                if config.action == "put":
                    info = await store.put(name, content)
                    return None, {"size": info.size, "digest": info.digest}
                info = await store.get_info(name)
                if config.action == "delete":
                    await store.delete(name)
                    return None, {"size": info.size, "digest": info.digest}
                if (info.size or 0) > config.max_bytes:
                    raise Refused(f"{name} has {info.size} bytes, max_bytes is {config.max_bytes}")
                got = await store.get(name)
                return got.data or b"", {"size": info.size, "digest": info.digest}
            except (ObjectNotFoundError, ObjectDeletedError):
                raise Refused(f"there is no object {name!r}") from None
