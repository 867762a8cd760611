"""The client against a real server: what outside programs rely on."""

import asyncio

import pytest

from flowcore.bus.connection import Connection
from flowcore.bus.envelope import join, pack
from flowcore.bus.permissions import BusUser, full_user, outsider_inbox
from flowcore.bus.server import EmbeddedServer
from flowcore.client import NoAnswer, NotRunning, connect


@pytest.fixture
async def server(tmp_path):
    """A started server with a full user `host` and an outsider `scada` that may only read one flow."""
    server = EmbeddedServer(tmp_path, nats_port=0, mqtt_port=0)
    server.host = full_user("host")
    hears = ("flow.factory.>", f"{outsider_inbox('scada')}.>")
    server.scada = BusUser("scada", "letmein", ("flow.factory.hot.in.>",), hears)
    await server.start([server.host, server.scada])
    yield server
    await server.stop()


@pytest.fixture
async def bus(server):
    """A connection that publishes what nodes would."""
    connection = Connection(server.url, user="host", password=server.host.password)
    await connection.connect(timeout=5)
    yield connection
    await connection.close()


async def test_a_frame_of_several_envelopes_is_several_messages(server, bus):
    """What piled up in one turn of a node arrives as messages, in order, with id, topic and times."""
    async with connect(server.url, "scada", "letmein") as fc, fc.subscribe("flow.factory.*.out.>") as messages:
        envelopes = [
            {"epoch": 7, "seq": n, "ts": 5, "origin": 4, "trace": "t", "topic": "a/b", "payload": n, "meta": {"m": 1}}
            for n in range(3)
        ]
        bus.publish("flow.factory.hot.out.value", join([pack(each) for each in envelopes]))
        got = [await messages.next(5) for _ in range(3)]
    assert [message.payload for message in got] == [0, 1, 2]
    first = got[0]
    assert (first.flow, first.node, first.port, first.kind, first.id) == ("factory", "hot", "value", "out", "7:0")
    assert (first.topic, first.meta, first.ts_ns, first.origin_ns, first.trace) == ("a/b", {"m": 1}, 5, 4, "t")


async def test_a_slow_reader_loses_the_oldest_and_is_told(server, bus):
    """A subscription never holds more than its queue; what was dropped is counted."""
    async with (
        connect(server.url, "scada", "letmein") as fc,
        fc.subscribe("flow.factory.hot.out.value", queue=10) as sub,
    ):
        for n in range(100):
            bus.publish("flow.factory.hot.out.value", join([pack({"payload": n})]))
        await bus.flush()
        await fc._bus.flush()  # the same connection: what was sent to it before has been delivered
        assert [(await sub.next(1)).payload for _ in range(10)] == list(range(90, 100))
        assert sub.dropped == 90


async def test_what_does_not_decode_is_counted_and_dropped(server, bus):
    """A malformed frame never reaches the reader, and the next good one does."""
    async with connect(server.url, "scada", "letmein") as fc, fc.subscribe("flow.factory.>") as messages:
        for data in (b"\xc1", b"\x93\x01\x02\x03", b"{nonsense", pack({"no": "payload"})):
            bus.publish("flow.factory.hot.out.value", data)
        bus.publish("flow.factory.hot.out.value", b'{"payload": 5}')
        assert (await messages.next(5)).payload == 5
        assert messages.malformed == 4


async def test_publish_puts_a_message_into_a_node(server, bus):
    """On a node's `in` the value travels as an envelope; what the user may not do is said, not swallowed."""
    seen = asyncio.Queue()
    await bus.subscribe("flow.factory.hot.in.value", lambda subject, data, reply, headers: seen.put_nowait(data))
    await bus.flush()
    async with connect(server.url, "scada", "letmein") as fc:
        await fc.publish("flow.factory.hot.in.value", {"temp": 91.5}, topic="line/1")
        assert await asyncio.wait_for(seen.get(), 5) == join([pack({"payload": {"temp": 91.5}, "topic": "line/1"})])
        with pytest.raises(PermissionError, match=r"flow\.other"):
            await fc.publish("flow.other.hot.in.value", 1)
        with pytest.raises(ValueError, match="wildcards"):
            await fc.publish("flow.factory.*.in.value", 1)
        with pytest.raises(ValueError, match=r"not a subject"):
            await fc.publish("flow..hot", 1)


async def test_two_subscriptions_to_one_subject_both_get_everything(server, bus):
    """Closing one leaves the other."""
    async with connect(server.url, "scada", "letmein") as fc, fc.subscribe("flow.factory.>") as one:
        async with fc.subscribe("flow.factory.>") as other:
            bus.publish("flow.factory.a.out.x", b'{"payload": 1}')
            assert (await one.next(5)).payload == (await other.next(5)).payload == 1
        bus.publish("flow.factory.a.out.x", b'{"payload": 2}')
        assert (await one.next(5)).payload == 2


async def test_a_refused_subscription_is_an_error(server):
    """What the user may not hear is said at once."""
    async with connect(server.url, "scada", "letmein") as fc:
        with pytest.raises(PermissionError, match="secret"):
            await fc.subscribe("secret.>").open()


async def test_no_runtime_is_said_at_once(server, tmp_path):
    """Nothing listening, a wrong password, nobody who answers, a folder without a runtime: four clear errors."""
    with pytest.raises(NotRunning, match="refused"):
        async with connect("nats://127.0.0.1:9", timeout=1):
            pass
    with pytest.raises(NotRunning, match="did not let user 'scada' in"):
        async with connect(server.url, "scada", "wrong", timeout=1):
            pass
    with pytest.raises(NotRunning, match="no runtime runs on"):
        connect(tmp_path / "nothing")
    async with connect(server.url, "host", server.host.password) as fc:
        with pytest.raises(NoAnswer, match="no runtime"):
            await fc.call("status")
