"""Peers that keep what they get: PostgreSQL, Redis, JetStream, S3, a mail server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from flowcore_nodes.core.s3_put import S3Put
from flowcore_nodes.core.sql_query import SqlQuery

from flowcore.node.testing import drive
from tests.drills.peers.peer import Gate, Peer
from tests.nodes.core import test_sql
from tests.nodes.core.nats_peer import PASSWORD, USER, NatsPeer
from tests.nodes.core.redis_server import RedisPeer


class Postgres(Peer):
    """PostgreSQL."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._server = test_sql.Server()
        self._server.kill()
        self.config = {
            "database": self._server.config | {"setup": "CREATE TABLE IF NOT EXISTS numbers (n INTEGER PRIMARY KEY)"},
            "table": "numbers", "columns": {"n": "payload"}, "conflict": "ignore",
        }  # fmt: skip

    async def start(self) -> None:
        await asyncio.to_thread(self._server.start)

    async def stop(self) -> None:
        await asyncio.to_thread(self._server.kill)

    async def remove(self) -> None:
        await asyncio.to_thread(self._server.remove)

    async def got(self) -> set[int]:
        async with drive(SqlQuery, database=self._server.config, statement="SELECT n FROM numbers") as node:
            await node.put({})
            return {row["n"] for row in (await node.sent(1))[0]}


class PostgresAsked(Postgres):
    """The same, asked for numbers; what was answered the node sends on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        statement = "SELECT :n::int AS n"
        self.config = {"database": self._server.config, "statement": statement, "params": {"n": "payload"}}

    async def got(self) -> set[int]:
        return {row["n"] for one in self.node.messages() for row in one.payload}


class Redis(Peer):
    """redis-server, which keeps what it has acked."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._server = RedisPeer(folder)
        self.config = {"server": self._server.config, "stream": "numbers"}

    async def start(self) -> None:
        await asyncio.to_thread(self._server.start)

    async def stop(self) -> None:
        await asyncio.to_thread(self._server.kill)

    async def got(self) -> set[int]:
        with self._server.client() as client:
            return {int(fields[b"payload"]) for _, fields in client.xrange("numbers")}

    async def feed(self, numbers: range) -> None:
        with self._server.client() as client, client.pipeline(transaction=False) as many:
            for number in numbers:
                many.xadd("numbers", {"payload": str(number)})
            many.execute()


class RedisChannel(Redis):
    """The same by a channel, of which it keeps nothing; who judges listens, too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"server": self._server.config, "channel": "numbers"}
        self._seen: set[int] = set()

    async def start(self) -> None:
        await super().start()
        self._client = self._server.client()
        self._heard = self._client.pubsub()
        self._heard.subscribe("numbers")

    async def stop(self) -> None:
        self._heard.close()
        self._client.close()
        await super().stop()

    async def got(self) -> set[int]:
        while (one := self._heard.get_message()) is not None:
            if one["type"] == "message":
                self._seen.add(int(one["data"]))
        return set(self._seen)


class RedisSays(Redis):
    """Publishes on a channel when somebody listens."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"server": self._server.config, "channels": ["numbers"]}

    async def feed(self, numbers: range) -> None:
        with self._server.client() as client:
            while not client.pubsub_numsub("numbers")[0][1]:  # noqa: ASYNC110 - Redis tells nobody
                await asyncio.sleep(0.01)
            with client.pipeline(transaction=False) as many:
                for number in numbers:
                    many.publish("numbers", str(number))
                many.execute()


class JetStream(Peer):
    """nats-server with a stream, on disk."""

    stream = "NUMBERS"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._server = NatsPeer(folder)
        self._seen: dict[int, int] = {}  # sequence -> number
        self._is_made = False
        self.config = {"server": self._server.config, "subject": "numbers"}

    async def start(self) -> None:
        import nats

        await asyncio.to_thread(self._server.start)
        while True:  # it listens a moment before JetStream is ready
            with contextlib.suppress(Exception):
                self._client = await nats.connect(
                    self._server.url,
                    user=USER,
                    password=PASSWORD,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0.05,
                    error_cb=_quiet,
                )
                jetstream = self._client.jetstream()
                await (jetstream.account_info() if self._is_made else self._make(jetstream))
                self._is_made = True
                return
            await asyncio.sleep(0.01)

    async def _make(self, jetstream: Any) -> None:
        await jetstream.add_stream(name=self.stream, subjects=["numbers"])

    async def stop(self) -> None:
        await self._client.close()
        await asyncio.to_thread(self._server.kill)

    async def got(self) -> set[int]:
        stream = self._client.jetstream()
        last = (await stream.stream_info(self.stream)).state.last_seq
        for sequence in range(len(self._seen) + 1, last + 1):
            self._seen[sequence] = int((await stream.get_msg(self.stream, sequence)).data or b"")
        return set(self._seen.values())

    async def feed(self, numbers: range) -> None:
        stream = self._client.jetstream()
        await asyncio.gather(*(stream.publish("numbers", str(number).encode()) for number in numbers))


class JetStreamFrom(JetStream):
    """The same, for who takes from it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"server": self._server.config, "stream": "NUMBERS"}


class JetStreamKeys(JetStream):
    """The same with a key-value bucket; each number is a key of its own."""

    stream = "KV_numbers"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"server": self._server.config, "bucket": "numbers", "action": "put"}
        self.config["key"] = {"$message": "meta.number"}

    async def _make(self, jetstream: Any) -> None:
        await jetstream.create_key_value(bucket="numbers")

    async def feed(self, numbers: range) -> None:
        bucket = await self._client.jetstream().key_value("numbers")
        await asyncio.gather(*(bucket.put(str(number), str(number).encode()) for number in numbers))


class JetStreamWatched(JetStreamKeys):
    """The same, for who watches them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"server": self._server.config, "bucket": "numbers"}


class JetStreamObjects(JetStream):
    """The same with an object store; each number is the name of an object."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"server": self._server.config, "bucket": "numbers", "action": "put", "format": "json"}
        self.config["name"] = {"$message": "meta.number"}

    async def _make(self, jetstream: Any) -> None:
        await jetstream.create_object_store("numbers")

    async def got(self) -> set[int]:
        from nats.js.errors import NotFoundError

        store = await self._client.jetstream().object_store("numbers")
        try:
            return {int(one.name) for one in await store.list()}
        except NotFoundError:  # none yet
            return set()


class S3(Peer):
    """moto's server, which forgets with its process: what it had before is noted."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from tests.nodes.core.test_s3 import MotoPeer

        self._server = MotoPeer()
        self._server.kill()
        self._seen: set[int] = set()
        self.config = {"server": self._server.config, "bucket": "numbers", "create": True}
        self.config["key"] = {"$message": "meta.number"}

    async def start(self) -> None:
        await asyncio.to_thread(self._server.start)

    async def stop(self) -> None:
        with contextlib.suppress(Exception):
            await self.got()
        self._server.kill()

    async def got(self) -> set[int]:
        self._seen |= await asyncio.to_thread(self._stored)
        return set(self._seen)

    def _stored(self) -> set[int]:
        from minio import Minio
        from minio.error import S3Error

        settings = self._server.config
        client = Minio(settings["url"].partition("//")[2], settings["access_key"], settings["secret_key"], secure=False)
        try:
            return {int(one.object_name or "") for one in client.list_objects("numbers") if one.object_name != "load"}
        except S3Error:  # no bucket yet
            return set()


class S3Asked(S3):
    """The same, asked for objects, which are there again before it is seen; what it answered the node sends on."""

    most = 100

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._gate = Gate(self.port, self._server.port)
        server = self._server.config | {"url": f"http://127.0.0.1:{self.port}"}
        self.config = {"server": server, "bucket": "numbers", "key": {"$message": "meta.number"}}

    async def start(self) -> None:
        await super().start()
        names = [*map(str, range(self.most)), "load"]
        async with drive(S3Put, server=self._server.config, bucket="numbers", create=True) as node:
            for name in names:
                await node.put(name, topic=name)
        await self._gate.open()

    async def stop(self) -> None:
        await self._gate.close()
        self._server.kill()

    async def got(self) -> set[int]:
        return {int(one.payload) for one in self.node.messages() if one.payload != "load"}


class Mail(Peer):
    """aiosmtpd, with TLS and a password."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from tests.nodes.core.test_email import Server

        self._server = Server(folder)
        self._server.stop()
        self.config = self._server.config()

    async def start(self) -> None:
        await asyncio.to_thread(self._server.start)

    async def stop(self) -> None:
        await asyncio.to_thread(self._server.stop)

    async def got(self) -> set[int]:
        return {int(letter.get_content()) for _, letter in self._server.got}


class Digests(Mail):
    """The same, for who collects: a message waits for a tenth of a second, and is tried again after that."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config |= {"every_s": 0.1, "retry_s": 0.1}

    @contextlib.asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        async def tick() -> None:
            while True:
                await asyncio.sleep(0.1)
                await self.node.advance(0.1)

        ticking = asyncio.create_task(tick())
        try:
            yield
        finally:
            ticking.cancel()

    async def caught_up(self) -> None:
        while any(key.isdigit() for key in self.node.node.state):  # noqa: ASYNC110 - it waits for the mail server
            await asyncio.sleep(0.01)

    async def got(self) -> set[int]:
        lines = (line for _, made in self._server.got for line in made.get_content().splitlines())
        return {int(line.split()[-1]) for line in lines}


async def _quiet(_: Any) -> None:
    """What is wrong the next call says."""
