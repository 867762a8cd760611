"""Redis nodes against a real redis-server, which is killed, stopped, and has another password on the way."""

import asyncio
import time

import pytest
from flowcore_nodes.core.redis_publish import RedisPublish
from flowcore_nodes.core.redis_stream_in import RedisStreamIn
from flowcore_nodes.core.redis_stream_out import RedisStreamOut
from flowcore_nodes.core.redis_subscribe import RedisSubscribe

from flowcore.node.testing import drive
from tests.certificates import make_certificate
from tests.nodes.core.redis_server import RedisPeer

PEER = "redis-server 7 (Debian)"


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    pytest.importorskip("redis")
    made = RedisPeer(tmp_path_factory.mktemp("redis"))
    made.start()
    yield made
    made.kill()


@pytest.fixture
def redis(peer):
    """A connection of another program, to a server without data."""
    with peer.client() as client:
        client.flushall()
        yield client


def pending(redis, stream: str) -> int:
    return sum(group["pending"] for group in redis.xinfo_groups(stream))


async def until(condition, timeout_s: float = 10.0) -> None:
    """Redis tells nobody what it was told."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.survives("core/redis-stream-in, core/redis-stream-out", PEER, "malformed data")
async def test_entries_go_in_and_come_out(peer, redis):
    """Each confirmed; what has no payload, is not in the format or names no stream is told, the others go on."""
    redis.set("plain", "no stream")
    async with drive(RedisStreamOut, server=peer.config) as out:
        await out.put(*range(300), topic="press")
        await out.put({"t": 21.5}, "text", b"\xff\x00", topic="press")
        sent = await out.sent_messages(303)
        assert [one.payload for one in sent[:300]] == list(range(300)) and sent[0].meta["redis"]["stream"] == "press"
        await out.put(1, topic="plain")
        await out.put(2)
        assert "WRONGTYPE" in out.errors[0]["text"] and "there is no stream" in out.errors[1]["text"]
    redis.xadd("press", {"other": "1"})
    redis.xadd("press", {"payload": "last", "topic": "a topic"})
    async with drive(RedisStreamIn, server=peer.config, stream="press") as node:
        got = await node.sent_messages(304)
        assert [one.payload for one in got] == [*range(300), {"t": 21.5}, "text", b"\xff\x00", "last"]
        assert got[0].meta["redis"]["group"] == "test.node" and (got[0].topic, got[-1].topic) == ("press", "a topic")
        assert node.errors[0]["text"].endswith("no field 'payload' (it has: other)")
        await until(lambda: pending(redis, "press") == 0)
    async with drive(RedisStreamOut, server=peer.config, stream="maps", payload_field="", max_count=10) as out:
        await out.put({"t": 21.5, "on": True})
        await out.put(5)
        assert "must be a map" in out.errors[0]["text"]
    config = {"server": peer.config, "stream": "maps", "payload_field": "", "format": "json", "in_flight": 2}
    async with drive(RedisStreamIn, **config) as node:
        assert await node.sent(1) == [{"t": 21.5, "on": True}]
        for n in range(5):
            redis.xadd("maps", {"n": str(n), "x": "{" if n == 1 else "0"})
        assert await node.sent(5) == [{"t": 21.5, "on": True}, *({"n": n, "x": 0} for n in (0, 2, 3, 4))]
        assert "not JSON" in node.errors[0]["text"]


@pytest.mark.survives("core/redis-stream-in, core/redis-stream-out", PEER, "peer restart", "slow peer")
async def test_nothing_is_lost_while_redis_is_away(peer, redis):
    """Killed under load, back: both go on within 2 s; stopped for a while: they go on; the group gone: made again."""
    async with (
        drive(RedisStreamOut, server=peer.config, stream="away") as out,
        drive(RedisStreamIn, server=peer.config, stream="away") as node,
    ):
        await out.put(*range(100))
        await node.sent(100)
        peer.kill()
        putting = asyncio.create_task(out.put(*range(100, 300)))
        await out.wait_for(lambda: out.statuses and out.statuses[-1][1] == "error")
        await node.wait_for(lambda: node.statuses and node.statuses[-1][1] == "error")
        assert not putting.done() and len(out.errors) == 1
        await asyncio.to_thread(peer.start)
        back_s = time.monotonic()
        await putting
        await node.wait_for(lambda: len({*(one.payload for one in node.messages())}) == 300)
        assert time.monotonic() - back_s < 2.0 and {out.statuses[-1][1], node.statuses[-1][1]} == {"ok"}
        peer.pause(True)
        putting = asyncio.create_task(out.put(*range(300, 400)))
        await out.wait_for(lambda: out.statuses and out.statuses[-1][1] == "error")
        peer.pause(False)
        await putting
        await node.wait_for(lambda: len({*(one.payload for one in node.messages())}) == 400)
        with peer.client() as client:
            await until(lambda: pending(client, "away") == 0)
            client.delete("away")
            await out.put(400)
        await node.wait_for(lambda: node.messages()[-1].payload == 400)
        assert list(dict.fromkeys(one.payload for one in node.messages())) == list(range(401))


@pytest.mark.survives("core/redis-stream-in, core/redis-stream-out", PEER, "wrong password")
async def test_a_wrong_password_is_tried_again(peer, redis):
    """Told once; the right one, set at the server, is enough."""
    wrong = peer.config | {"password": "another"}
    async with (
        drive(RedisStreamOut, server=wrong, stream="s") as out,
        drive(RedisStreamIn, server=wrong, stream="s") as node,
    ):
        putting = asyncio.create_task(out.put(1))
        for one in (out, node):
            await one.wait_for(lambda one=one: any("password" in text for text, _ in one.statuses))
        redis.config_set("requirepass", "another")
        try:
            await putting
            assert await node.sent(1) == [1] and len(out.errors) == len(node.errors) == 1
        finally:
            redis.config_set("requirepass", peer.config["password"])


async def test_what_a_dead_consumer_had_is_taken_over(peer, redis):
    """By another one of its group, after a while; what is in work here is nobody else's to take."""
    redis.xgroup_create("shared", "workers", "0", mkstream=True)
    for n in range(5):
        redis.xadd("shared", {"payload": str(n)})
    redis.xreadgroup("workers", "dead", {"shared": ">"}, count=3)
    ((_, ((gone, _),)),) = redis.xreadgroup("workers", "a", {"shared": ">"}, count=1)
    redis.xdel("shared", gone)
    redis.xadd("shared", {"payload": "3"})
    config = {"server": peer.config, "stream": "shared", "group": "workers"}
    async with drive(RedisStreamIn, **config, consumer="a", claim_after_s=0.5) as node:
        assert sorted(await node.sent(5)) == list(range(5))
        await until(lambda: pending(redis, "shared") == 0)


@pytest.mark.survives(
    "core/redis-publish, core/redis-subscribe", PEER, "peer restart", "wrong password", "slow peer", "malformed data"
)
async def test_what_is_published_is_heard(peer, redis):
    """By names and patterns; after a restart of Redis, and after it was silent for a while, too."""
    config = {"server": peer.config, "channels": ["one", "press.*"], "format": "json"}
    async with drive(RedisSubscribe, **config) as node, drive(RedisPublish, server=peer.config) as out:
        await node.wait_for(lambda: node.statuses and node.statuses[-1][0].startswith("listening"))
        redis.publish("one", "{")
        await out.put({"t": 1}, topic="press.4")
        await out.put(2, topic="one")
        await out.put(3, topic="nobody")
        await out.put(4)
        got = await node.sent_messages(2)
        assert [(one.topic, one.payload) for one in got] == [("press.4", {"t": 1}), ("one", 2)]
        assert "not JSON" in node.errors[0]["text"] and "no channel" in out.errors[0]["text"]
        assert [one.meta["receivers"] for one in await out.sent_messages()] == [1, 1, 0]
        peer.kill()
        await node.wait_for(lambda: node.statuses and node.statuses[-1][1] == "error")
        putting = asyncio.create_task(out.put(5, topic="nobody"))
        await out.wait_for(lambda: out.statuses and out.statuses[-1][1] == "error")
        await asyncio.to_thread(peer.start)
        back_s = time.monotonic()
        await putting
        await node.wait_for(lambda: node.statuses and node.statuses[-1][1] == "ok")
        assert time.monotonic() - back_s < 2.0
        await out.put(6, topic="one")
        assert (await node.sent(3))[-1] == 6
        peer.pause(True)
        putting = asyncio.create_task(out.put(7, topic="one"))
        await out.wait_for(lambda: "no answer in 1 s" in out.statuses[-1][0])
        peer.pause(False)
        await putting
        await node.wait_for(lambda: node.messages()[-1].payload == 7)
        assert out.statuses[-1][1] == "ok"
    wrong = peer.config | {"password": "another"}
    async with drive(RedisSubscribe, **config | {"server": wrong}) as node:
        await node.wait_for(lambda: any("password" in text for text, _ in node.statuses))


async def test_tls_checks_the_server(tmp_path):
    """The right certificate goes through, another one is told, a file that is none is named."""
    pytest.importorskip("redis")
    made = RedisPeer(tmp_path, tls=make_certificate(tmp_path))
    made.start()
    trusted = made.config | {"tls_ca": str(tmp_path / "bus.pem")}
    try:
        async with drive(RedisStreamOut, server=trusted, stream="s") as out:
            await out.put(1)
            assert await out.sent() == [1] and not out.errors
        async with drive(RedisStreamIn, server=made.config, stream="s") as node:
            await node.wait_for(lambda: "certificate verify failed" in str(node.statuses))
    finally:
        made.kill()
    with pytest.raises(ValueError, match=r"tls_ca.*missing\.pem"):
        async with drive(RedisPublish, server=made.config | {"tls_ca": str(tmp_path / "missing.pem")}):
            pass
