"""Buckets and the streams of durable wires."""

import asyncio

import pytest
from nats.js import api
from nats.js.errors import APIError

from flowcore.bus import storage
from flowcore.bus.config import nats_server_program
from flowcore.bus.connection import Connection
from flowcore.bus.ports import is_free


@pytest.fixture
async def js(server):
    connection = Connection(server.url, user=server.host.name, password=server.host.password)
    await connection.connect(timeout=5)
    yield connection.jetstream()
    await connection.close()


def wire(**durable):
    names = {"producer": "in-1:a", "port": "out", "consumer": "b", "in_port": "in", "window": 16}
    return names | {"delivery": "durable", "durable": durable}


async def test_everything_has_a_size(js):
    """Every bucket and stream has `max_bytes`, buckets are read directly, and a second call changes nothing."""
    await storage.ensure(js)
    await storage.ensure(js)
    await storage.ensure_wire(js, "f", wire())
    streams = {info.config.name: info.config for info in await js.streams_info()}
    assert set(streams) == {
        "KV_flows", "KV_desired", "KV_state", "KV_context", "KV_hosts", "KV_placed", "KV_handover", "given_up",
        storage.wire_stream("f", wire()).stream
    }  # fmt: skip
    assert all(config.max_bytes and config.max_bytes > 0 and config.allow_direct for config in streams.values())


async def test_a_revision_history_of_64(js):
    """Puts of one flow are kept as revisions; `get` is direct."""
    await storage.ensure(js)
    flows = await js.key_value(storage.FLOWS)
    for i in range(70):
        await flows.put("factory", b"%d" % i)
    kept = (await js.stream_info(f"KV_{storage.FLOWS}")).state.messages  # nats-py's own `history` is empty at times
    assert kept == 64 and (await flows.get("factory")).value == b"69"


async def test_a_durable_wire_keeps_what_it_has_when_its_settings_change(js):
    """A work queue in order, made again with another size: the messages stay; NEW is refused when full, at once."""
    where = await storage.ensure_wire(js, "f", wire(fsync=False))
    await js.publish(where.subject, b"1")
    assert await storage.ensure_wire(js, "f", wire(max_bytes=2000)) == where
    with pytest.raises(APIError, match="maximum bytes exceeded"):
        for _ in range(3):
            await js.publish(where.subject, b"x" * 900)
    info = await js.stream_info(where.stream)
    assert info.config.retention == api.RetentionPolicy.WORK_QUEUE and info.state.messages >= 2
    pull = await js.pull_subscribe_bind(where.consumer, where.stream)
    [message] = await pull.fetch(1, timeout=2)
    assert message.data == b"1"


async def test_streams_of_removed_wires_go(js):
    """Only those of the flow, and only those that no wire uses."""
    await storage.ensure(js)
    kept = await storage.ensure_wire(js, "f", wire())
    gone = await storage.ensure_wire(js, "f", wire() | {"consumer": "c"})
    other = await storage.ensure_wire(js, "g", wire())
    assert await storage.remove_wires(js, "f", keep=[kept.stream]) == [gone.stream]
    names = {info.config.name for info in await js.streams_info()}
    assert {kept.stream, other.stream, "KV_flows"} <= names and gone.stream not in names


async def test_what_a_dead_consumer_had_taken_comes_again_at_once(js):
    """`redeliver`: all that is not acked, in order, without waiting for `ack_wait`."""
    where = await storage.ensure_wire(js, "f", wire(), ack_wait_s=60)
    for n in range(6):
        await js.publish(where.subject, b"%d" % n)
    pull = await js.pull_subscribe_bind(where.consumer, where.stream)
    taken = await pull.fetch(4, timeout=2)
    for message in (taken[0], taken[2]):
        await message.ack_sync()
    await storage.redeliver(js, where)
    assert [message.data for message in await pull.fetch(4, timeout=2)] == [b"1", b"3", b"4", b"5"]


async def test_a_bus_without_jetstream_is_named(tmp_path):
    """With `--nats` the server may have no JetStream: the error says what to do, at once."""
    port = is_free(0, "127.0.0.1")
    server = await asyncio.create_subprocess_exec(
        nats_server_program(), "-a", "127.0.0.1", "-p", str(port), "-l", tmp_path / "log"
    )
    try:
        connection = Connection(f"nats://127.0.0.1:{port}")
        await connection.connect(10)
        with pytest.raises(storage.StorageError, match="has no JetStream"):
            await storage.ensure(connection.jetstream())
        await connection.close()
    finally:
        server.kill()
        await server.wait()


def test_names_that_read_alike_are_different_streams():
    """`a_b` + `c` and `a` + `b_c` do not share a stream."""
    one = {"producer": "a_b", "port": "c", "consumer": "d", "in_port": "e"}
    two = {"producer": "a", "port": "b_c", "consumer": "d", "in_port": "e"}
    assert storage.wire_stream("f", one).stream != storage.wire_stream("f", two).stream
