import asyncio
import contextlib
import itertools
from typing import Any, Literal

from flowcore.node import Message, Node, NodeConfig, Out, field, formats
from flowcore_nodes.core.again import Again
from flowcore_nodes.core.confirming import Confirmations
from flowcore_nodes.core.patience import Away, Refused
from flowcore_nodes.core.redis import INSTALL, RedisServer, answers, client_of, text_of

_BLOCK_S = 1.0
_AT_ONCE = 200


class RedisStreamIn(Node):
    """Take the entries of a Redis stream as a member of a consumer group; each is confirmed when the flow is done.

    Redis keeps what is not confirmed (XACK) for this consumer, over kills of this node and restarts of Redis, and
    nothing is lost; around a crash an entry may come twice. Of several consumers of a group one gets each entry; with
    `claim_after_s` they take over what a dead one had. meta.redis has stream, id and group.

    An entry without the `payload_field`, or not in the `format`, is an error, and is confirmed; others go on.
    """

    type = "core/redis-stream-in"
    title = "Redis stream in"
    category = "network"
    icon = "list-end"
    needs = ("redis",)
    install = INSTALL
    outside = True

    class Config(NodeConfig):
        server: RedisServer = field(
            RedisServer(), description='The server, or {"$use": "name"} of a resource core/redis-server'
        )
        stream: str = field(..., min_length=1, description="Key of the stream; it is made where there is none")
        group: str = field("", max_length=200, description="Consumer group, made where there is none; empty: FLOW.NODE")
        consumer: str = field(
            "", max_length=200, description="Name in the group, no other may have it; empty: FLOW.NODE"
        )
        begin: Literal["new", "oldest"] = field(
            "oldest", description="Where a group that is made here begins: what comes from now on, or all that is there"
        )
        payload_field: str = field("payload", description="Field of an entry that is the payload; empty: all, as a map")
        format: formats.Format = field("auto", description="What the bytes are; auto: JSON, else text, else bytes")
        in_flight: int = field(1000, ge=1, le=50_000, description="Most entries that are read and not confirmed yet")
        claim_after_s: float = field(
            0.0, ge=0, le=86_400,
            description="Take over what another consumer has not confirmed for so long, in seconds; 0: never",
        )  # fmt: skip

    out = Out(description="the payload; the topic is the entry's field topic, else the stream")

    async def on_start(self) -> None:
        config, name = self.config, f"{self.flow}.{self.id}"
        self._group, self._consumer = config.group or name, config.consumer or name
        self._client = client_of(config.server, f"flowcore.{name}")
        self._link = Again(self, f"{config.server} {config.stream}", (Away,))
        self._open: set[bytes] = set()  # taken, and not known to Redis as confirmed
        self._room = asyncio.Event()
        self._was_there = False
        self._done = Confirmations[bytes](self._confirm)
        self.spawn(self._done.run())

    async def run(self) -> None:
        await self._link.run(self._session)

    async def _session(self) -> None:
        try:
            await self._read_on()
        except Refused as e:  # no group any more, a key that is no stream: that may be mended
            raise Away(str(e)) from None

    async def on_stop(self) -> None:
        if hasattr(self, "_client"):
            with contextlib.suppress(Away, Refused):  # Redis keeps them for us
                await self._done.tell_all()
            await self._client.aclose()

    async def _read_on(self) -> None:
        """Once through what Redis keeps for us, then what is new; until the connection ends. Raises Away, Refused."""
        async with answers(self.config.server):
            await self._make_group()
        self._link.up()
        # What was under way in a cut is with Redis as ours, and never new again.
        await self._take_over_own()
        claim_s, now_s = self.config.claim_after_s, asyncio.get_running_loop().time
        claim_at_s = now_s()
        while True:
            if claim_s and now_s() >= claim_at_s:
                await self._claim()
                claim_at_s = now_s() + claim_s / 3
            room = await self._until_room()
            entries = await self._read(b">", room)
            for id_, fields in entries:
                await self._pass_on(id_, fields)

    async def _make_group(self) -> None:
        from redis.exceptions import ResponseError

        # One that is gone was there when we began: whatever the stream has by now nobody had.
        begin = "0" if self._was_there or self.config.begin == "oldest" else "$"
        try:
            await self._client.xgroup_create(self.config.stream, self._group, begin, mkstream=True)
        except ResponseError as e:
            if not str(e).startswith("BUSYGROUP"):
                raise
        self._was_there = True

    async def _take_over_own(self) -> None:
        after = b"0"
        while True:
            await self._until_room()
            entries = await self._read(after, _AT_ONCE)
            if not entries:
                return
            after = entries[-1][0]
            for id_, fields in entries:
                await self._pass_on(id_, fields)

    async def _read(self, after: bytes, count: int) -> list[tuple[bytes, Any]]:
        async with answers(self.config.server, waits_s=_BLOCK_S):
            found: Any = await self._client.xreadgroup(
                self._group, self._consumer, {self.config.stream: after}, count=min(count, _AT_ONCE),
                block=int(_BLOCK_S * 1000),
            )  # fmt: skip
        return found[0][1] if found else []

    async def _claim(self) -> None:
        """Say that ours are in work, and take what others have left."""
        config, after = self.config, b"0-0"
        if self._open:
            ours: Any = list(itertools.islice(self._open, 10_000))
            async with answers(config.server):
                await self._client.xclaim(config.stream, self._group, self._consumer, 0, ours, justid=True)
        while True:
            room = await self._until_room()
            async with answers(config.server):
                after, entries, *_ = await self._client.xautoclaim(
                    config.stream, self._group, self._consumer, int(config.claim_after_s * 1000), after,
                    count=min(room, _AT_ONCE),
                )  # fmt: skip
            for id_, fields in entries:
                await self._pass_on(id_, fields)
            if after == b"0-0":
                return

    async def _until_room(self) -> int:
        while (room := self.config.in_flight - len(self._open)) <= 0:
            self._room.clear()
            await self._room.wait()
        return room

    async def _pass_on(self, id_: bytes, fields: dict[bytes, bytes]) -> None:
        if id_ in self._open:
            return
        self._open.add(id_)
        if not fields:  # it was deleted from the stream meanwhile
            self._done.add(id_)
            return
        config, name = self.config, text_of(id_)
        topic = text_of(fields.get(b"topic") or config.stream)
        meta = {"redis": {"stream": config.stream, "id": name, "group": self._group}}
        try:
            receipt = await self.send(self._payload(fields), topic=topic, meta=meta)
        except (ValueError, TypeError, LookupError) as error:  # not in the format, or nothing that an envelope can hold
            shown = {text_of(key): text_of(value[:1024]) for key, value in fields.items()}
            self.report(ValueError(f"{config.stream} {name}: {error}"), Message(shown, topic, meta))
            self._done.add(id_)
        else:
            receipt.then(lambda: self._done.add(id_))

    def _payload(self, fields: dict[bytes, bytes]) -> Any:
        config = self.config
        if not config.payload_field:
            return {text_of(key): formats.read(value, config.format) for key, value in fields.items()}
        content = fields.get(config.payload_field.encode())
        if content is None:
            raise LookupError(
                f"the entry has no field {config.payload_field!r} (it has: {', '.join(map(text_of, fields))})"
            )
        return formats.read(content, config.format)

    async def _confirm(self, ids: list[bytes]) -> None:
        async with answers(self.config.server):
            await self._client.xack(self.config.stream, self._group, *ids)
        self._open.difference_update(ids)
        self._room.set()
