import asyncio
from typing import Any

from flowcore.node import Message, Node, NodeConfig, Out, field, formats
from flowcore_nodes.core.again import Again
from flowcore_nodes.core.jetstream import JetStream, NatsServer
from flowcore_nodes.core.patience import Away, Refused

_LOOK_S = 1.0


class JetstreamWatch(Node):
    """Send on what changes in a JetStream key-value bucket on a NATS server elsewhere.

    First the value of each key, then every change; a key that was deleted is null. Where the flow was done is kept over
    restarts: of what changed meanwhile the newest value of each key comes. meta.kv has bucket, key and revision.
    """

    type = "core/jetstream-watch"
    title = "JetStream watch"
    category = "storage"
    icon = "eye"
    outside = True

    class Config(NodeConfig):
        server: NatsServer = field(NatsServer(), description='The server, or {"$use": "name"} of a core/nats-server')
        bucket: str = field(..., pattern=r"^[\w-]+$", description="The bucket; while it is not there it is waited for")
        keys: str = field(">", min_length=1, description="Which keys: press.*, or > for all")
        format: formats.Format = field("auto", description="Of the values")

    out = Out(description="the value; the topic is the key")

    async def on_start(self) -> None:
        config = self.config
        self._jetstream = JetStream(config.server, f"flowcore {self.flow}.{self.id}")
        self._link = Again(self, f"{config.server} {config.bucket}")
        self._seen: list = []  # when the bucket was made, the newest revision that was sent

    async def run(self) -> None:
        self._seen = list(self.position or ["", 0])
        await self._link.run(self._session)

    async def on_stop(self) -> None:
        if hasattr(self, "_jetstream"):
            await self._jetstream.close()

    async def _session(self) -> None:
        from nats.errors import ConnectionClosedError

        jetstream = self._jetstream
        try:
            async with jetstream.answers():
                client = await jetstream.client()
                bucket = await (await jetstream.context()).key_value(self.config.bucket)
                made = str((await bucket.status()).stream_info.created)
                changes: Any = await bucket.watch(self.config.keys)
            if made != self._seen[0]:  # another bucket of this name: it counts anew
                self._seen = [made, 0]
            self._link.up()
            while True:
                self._link.go_on()
                try:
                    async with asyncio.timeout(_LOOK_S):
                        entry = await changes.updates(timeout=None)
                except TimeoutError:
                    async with jetstream.answers():  # a watcher is not told that its connection has gone
                        if client.is_closed:
                            raise ConnectionClosedError from None
                    continue
                if entry is not None and entry.revision > self._seen[1]:
                    await self._pass_on(entry)
        except Refused as e:
            raise Away(str(e)) from None

    async def _pass_on(self, entry: Any) -> None:
        meta = {"kv": {"bucket": self.config.bucket, "key": entry.key, "revision": entry.revision}}
        self._seen = [self._seen[0], entry.revision]
        try:
            is_gone = entry.operation in ("DEL", "PURGE")
            value = None if is_gone else formats.read(entry.value or b"", self.config.format)
            await self.send(value, topic=entry.key, meta=meta, position=self._seen)
        except (ValueError, TypeError) as error:  # not in the format, or nothing that an envelope can hold
            self.report(ValueError(f"{entry.key}: {error}"), Message((entry.value or b"")[:1024], entry.key, meta))
