"""JetStream nodes against a nats-server elsewhere, which is killed, stopped, and has another password on the way."""

import asyncio
import os
import signal
import time

import nats
import pytest
from flowcore_nodes.core.jetstream_in import JetstreamIn
from flowcore_nodes.core.jetstream_kv import JetstreamKv
from flowcore_nodes.core.jetstream_object import JetstreamObject
from flowcore_nodes.core.jetstream_out import JetstreamOut
from flowcore_nodes.core.jetstream_watch import JetstreamWatch

from flowcore.node.testing import MemoryStore, drive
from tests.certificates import make_certificate
from tests.nodes.core.nats_peer import PASSWORD, USER, NatsPeer

BOTH, PEER = "core/jetstream-in, core/jetstream-out", "nats-server 2.15"


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    made = NatsPeer(tmp_path_factory.mktemp("nats"))
    made.start()
    yield made
    made.kill()


@pytest.fixture
async def jetstream(peer):
    """Of another program; nothing is there."""
    client = await nats.connect(peer.url, user=USER, password=PASSWORD, allow_reconnect=False)
    made = client.jetstream()
    for stream in await made.streams_info():
        await made.delete_stream(stream.config.name)
    yield made
    await client.close()


async def unconfirmed(jetstream, stream: str, consumer: str = "test-node") -> int:
    info = await jetstream.consumer_info(stream, consumer)
    return info.num_ack_pending + info.num_pending


@pytest.mark.survives(BOTH, PEER, "malformed data")
async def test_messages_go_in_and_come_out(peer, jetstream):
    """Each confirmed; a subject that is none and what is not in the format are told, the others go on."""
    async with (
        drive(JetstreamOut, server=peer.config, format="text") as out,
        drive(JetstreamIn, server=peer.config, stream="PLANT", subject="plant.>", format="json", in_flight=20) as node,
    ):
        putting = asyncio.create_task(out.put(*range(200), topic="plant.press"))
        await out.wait_for(lambda: "no stream takes this" in str(out.statuses))
        await jetstream.add_stream(name="PLANT", subjects=["plant.>", "hall.>"])
        await putting
        await out.put("{", "200", topic="plant.saw")
        await out.put("no subject", topic="plant.>")
        await out.put("elsewhere", topic="hall.lamp")
        got = await node.sent_messages(201)
        assert [one.payload for one in got] == list(range(201)) and got[-1].topic == "plant.saw"
        assert got[-1].meta["jetstream"] == {"stream": "PLANT", "sequence": 202, "delivered": 1} | {
            "headers": got[-1].meta["jetstream"]["headers"]
        }
        assert "not JSON" in node.errors[-1]["text"] and "'plant.>' is no subject" in out.errors[-1]["text"]
        assert [one.meta["jetstream"]["sequence"] for one in await out.sent_messages(203)] == list(range(1, 204))
        async with asyncio.timeout(10):
            while await unconfirmed(jetstream, "PLANT"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@pytest.mark.survives(BOTH, PEER, "peer restart", "slow peer")
async def test_nothing_is_lost_while_the_server_is_away(peer, jetstream):
    """Killed under load, back: both go on within 2 s, and nothing is there twice; stopped for a while: they go on."""
    await jetstream.add_stream(name="AWAY", subjects=["away"])
    async with (
        drive(JetstreamOut, server=peer.config, subject="away") as out,
        drive(JetstreamIn, server=peer.config, stream="AWAY", ack_wait_s=1) as node,
    ):
        await out.put(*range(100))
        await node.sent(100)
        peer.kill()
        putting = asyncio.create_task(out.put(*range(100, 300)))
        await out.wait_for(lambda: out.statuses[-1][1] == "error")
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        assert not putting.done()
        await asyncio.to_thread(peer.start)
        back_s = time.monotonic()
        await putting
        await node.wait_for(lambda: len({one.payload for one in node.messages()}) == 300)
        assert time.monotonic() - back_s < 2.0 and {out.statuses[-1][1], node.statuses[-1][1]} == {"ok"}
        peer.signal(signal.SIGSTOP)
        putting = asyncio.create_task(out.put(*range(300, 400)))
        await out.wait_for(lambda: out.statuses[-1][1] == "error")
        peer.signal(signal.SIGCONT)
        await putting
        await node.wait_for(lambda: {one.payload for one in node.messages()} == set(range(400)))
    client = await nats.connect(peer.url, user=USER, password=PASSWORD, allow_reconnect=False)
    assert (await client.jetstream().stream_info("AWAY")).state.messages == 400
    await client.close()


KV = "core/jetstream-kv, core/jetstream-watch"
OBJECT = "core/jetstream-object"


@pytest.mark.survives(BOTH, PEER, "wrong password")
@pytest.mark.survives(KV, PEER, "wrong password")
@pytest.mark.survives(OBJECT, PEER, "wrong password")
async def test_a_wrong_password_is_tried_again(peer, jetstream):
    """Told once; the right one, set at the server, is enough."""
    await jetstream.add_stream(name="LOCKED", subjects=["locked"])
    await jetstream.create_key_value(bucket="locked")
    wrong = peer.config | {"password": "another"}
    async with (
        drive(JetstreamOut, server=wrong, subject="locked") as out,
        drive(JetstreamIn, server=wrong, stream="LOCKED") as node,
        drive(JetstreamKv, server=wrong, bucket="locked", action="put", key="a") as kv,
        drive(JetstreamWatch, server=wrong, bucket="locked") as watch,
        drive(JetstreamObject, server=wrong, bucket="locked", action="put", name="a", format="text") as objects,
    ):
        putting = asyncio.gather(out.put(1), kv.put(1), objects.put(1))
        for one in (out, node, kv, watch, objects):
            await one.wait_for(lambda one=one: "uthorization" in str(one.statuses))
        peer.configure("another")
        peer.signal(signal.SIGHUP)
        try:
            await putting
            for one in (out, node, kv, watch, objects):
                assert await one.sent(1) == [1] and len(one.errors) == 1
        finally:
            peer.configure(PASSWORD)
            peer.signal(signal.SIGHUP)


@pytest.mark.survives(KV, PEER, "slow peer")
@pytest.mark.survives(OBJECT, PEER, "slow peer")
async def test_buckets_are_waited_for_while_the_server_says_nothing(peer, jetstream):
    """Stopped for a while: what is asked again is done when it goes on, and a watch hears of it."""
    config = {"server": peer.config, "bucket": "slow"}
    async with (
        drive(JetstreamKv, **config, action="put", key="a") as kv,
        drive(JetstreamWatch, **config) as watch,
        drive(JetstreamObject, **config, action="put", name="a", format="text") as put,
        drive(JetstreamObject, **config, action="get", name="a", format="text") as get,
    ):
        await kv.put(1)
        await put.put("1")
        assert await watch.sent(1) == [1]
        peer.signal(signal.SIGSTOP)
        try:
            putting = asyncio.gather(kv.put(2), put.put("2"))
            for one in (kv, put):
                await one.wait_for(lambda one=one: one.statuses[-1][1] == "error")
        finally:
            peer.signal(signal.SIGCONT)
        await putting
        await watch.wait_for(lambda: watch.messages()[-1].payload == 2)
        await get.put(None)
        assert await get.sent(1) == ["2"] and {one.statuses[-1][1] for one in (kv, put, watch)} == {"ok"}


async def test_tls_checks_the_server(tmp_path):
    """The right certificate goes through, another one is told, a file that is none is named."""
    made = NatsPeer(tmp_path, tls=make_certificate(tmp_path))
    made.start()
    config = {"bucket": "b", "key": "a"}
    try:
        server = made.config | {"tls_ca": str(tmp_path / "bus.pem")}
        async with drive(JetstreamKv, server=server, action="put", **config) as put:
            await put.put(1)
            assert await put.sent() == [1]
        async with drive(JetstreamWatch, server=made.config, bucket="b") as watch:
            await watch.wait_for(lambda: "certificate verify failed" in str(watch.statuses))
    finally:
        made.kill()
    with pytest.raises(ValueError, match=r"tls_ca.*missing\.pem"):
        async with drive(JetstreamKv, server=made.config | {"tls_ca": str(tmp_path / "missing.pem")}, **config):
            pass


@pytest.mark.survives(KV, PEER, "peer restart", "malformed data")
async def test_keys_are_written_read_and_watched(peer, jetstream):
    """A key that is not there is null, one that is none an error; what changes is heard, once, over a restart, too."""
    config = {"server": peer.config, "bucket": "limits"}
    async with (
        drive(JetstreamWatch, **config, keys="press.*", format="json") as watch,
        drive(JetstreamKv, **config, action="put") as put,
        drive(JetstreamKv, **config, action="get") as get,
        drive(JetstreamKv, **config, action="delete") as delete,
    ):
        await put.put({"max": 80}, topic="press.4")
        await put.put(5, topic="a key that is none")
        await put.put(6)
        assert "letters, digits" in put.errors[-2]["text"] and "no key" in put.errors[-1]["text"]
        await get.put(None, topic="press.4")
        await get.put(None, topic="press.5")
        got = await get.sent_messages(2)
        assert [(one.payload, one.meta["kv"]["revision"]) for one in got] == [({"max": 80}, 1), (None, 0)]
        await watch.wait_for(lambda: watch.messages())
        await put.put(b"{", topic="press.4")
        await put.put(1, topic="saw.1")
        await delete.put(None, topic="press.4")
        assert await watch.sent(2) == [{"max": 80}, None] and "not JSON" in watch.errors[-1]["text"]
        peer.kill()
        await watch.wait_for(lambda: watch.statuses[-1][1] == "error")
        putting = asyncio.create_task(put.put(7, topic="press.6"))
        await put.wait_for(lambda: put.statuses[-1][1] == "error")
        await asyncio.to_thread(peer.start)
        back_s = time.monotonic()
        await putting
        assert await watch.sent(3) == [{"max": 80}, None, 7] and time.monotonic() - back_s < 2.0


async def test_a_watch_goes_on_where_it_was(peer, jetstream):
    """Over a restart of the node: what changed meanwhile, and not what the flow had."""
    bucket, store = await jetstream.create_key_value(bucket="places"), MemoryStore()
    config = {"server": peer.config, "bucket": "places", "store": store}
    await bucket.put("a", b"1")
    async with drive(JetstreamWatch, **config) as watch:
        assert await watch.sent(1) == [1]
    await bucket.put("b", b"2")
    async with drive(JetstreamWatch, **config) as watch:
        assert await watch.sent(1) == [2]


@pytest.mark.survives(OBJECT, PEER, "peer restart", "malformed data")
async def test_objects_are_stored_fetched_and_deleted(peer, jetstream):
    config = {"server": peer.config, "bucket": "pictures"}
    picture = os.urandom(300_000)
    async with (
        drive(JetstreamObject, **config, action="put", max_bytes=300_000) as put,
        drive(JetstreamObject, **config, action="get") as get,
        drive(JetstreamObject, **config, action="get", max_bytes=1000) as small,
        drive(JetstreamObject, **config, action="delete") as delete,
    ):
        await put.put(picture, topic="a/1.jpg")
        assert (await put.sent_messages(1))[0].meta["object"]["size"] == 300_000
        await put.put(picture + b"x", topic="large")
        await put.put({"no": "bytes"}, topic="b")
        peer.kill()
        getting = asyncio.create_task(get.put(None, topic="a/1.jpg"))
        await get.wait_for(lambda: get.statuses and get.statuses[-1][1] == "error")
        await asyncio.to_thread(peer.start)
        await getting
        assert await get.sent(1) == [picture]
        await small.put(None, topic="a/1.jpg")
        await delete.put(None, topic="a/1.jpg")
        await get.put(None, topic="a/1.jpg")
        assert "max_bytes is 1000" in small.errors[-1]["text"] and "no object 'a/1.jpg'" in get.errors[-1]["text"]
        assert "max_bytes is 300000" in put.errors[0]["text"] and "needs bytes" in put.errors[1]["text"]
