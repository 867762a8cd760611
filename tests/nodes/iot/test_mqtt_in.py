"""`iot/mqtt-in` against real brokers."""

import asyncio
import contextlib
import os
import signal

import pytest
from flowcore_nodes.iot import mqtt_in
from flowcore_nodes.iot.mqtt_in import MqttIn

from flowcore.node.testing import drive
from flowcore.wires.frames import Ack
from flowcore.wires.out_wire import OutWire, WireEnds

PEER = "nats-server's MQTT; mosquitto"


def is_up(node) -> bool:
    """The node has said that it is connected, and nothing else since."""
    return bool(node.statuses) and node.statuses[-1][1] == "ok"


@contextlib.asynccontextmanager
async def connected(broker, **config):
    """A node that has subscribed."""
    async with drive(MqttIn, **({"broker": broker.config, "topic": "sensors/+/env"} | config)) as node:
        await node.wait_for(lambda: is_up(node))
        yield node


def hang_wire(node, window: int = 1024) -> OutWire:
    """A reliable wire on the node's output, whose consumer acks nothing until the test does."""
    port = node.engine.emitter.ports["out"]
    wire = OutWire(WireEnds("test", "node", "out", "sink", "in"), port, lambda subject, data: True, window=window)
    port.wires.append(wire)
    return wire


def ack(wire: OutWire, n: int, seq: int) -> None:
    """The consumer is done up to `seq`."""
    wire.on_ack(Ack(inc=1, n=n, epoch=1, next=seq + 1, floor=seq), 0.0)


async def test_reads_json_with_topic_and_wildcards(broker):
    """What a device publishes comes out as a payload, with the topic it was published to."""
    async with connected(broker) as node:
        await broker.publish("sensors/press/env", '{"temp_c": 21.5}')
        await broker.publish("sensors/press/other", "not for us")
        await broker.publish("sensors/mill/env", "warm", b"\xff\xfe")
        messages = await node.sent_messages(3)
        assert [(m.topic, m.payload) for m in messages] == [
            ("sensors/press/env", {"temp_c": 21.5}),
            ("sensors/mill/env", "warm"),
            ("sensors/mill/env", b"\xff\xfe"),
        ]
        assert messages[0].meta == {"qos": 1, "retain": False}


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_every_qos_comes_in_order(broker, qos):
    """100 messages with each quality of service, in the order they were published, once each."""
    async with connected(broker, qos=qos) as node:
        async with broker.client() as device:
            for i in range(100):
                await device.publish("sensors/press/env", str(i), qos)
        assert await node.sent(100) == list(range(100))


async def test_several_filters(broker):
    """`topic` may be a list."""
    async with connected(broker, topic=["a/#", "b"]) as node:
        await broker.publish("a", "1")
        await broker.publish("a/x/y", "2")
        await broker.publish("b", "3")
        assert await node.sent(3) == [1, 2, 3]


@pytest.mark.survives("iot/mqtt-in", PEER, "malformed data")
async def test_a_bad_payload_is_reported_and_stops_nothing(broker):
    """Each bad payload is an error of its own, with its topic; the good ones flow between."""
    async with connected(broker, format="json") as node:
        await broker.publish("sensors/press/env", "1")
        await broker.publish("sensors/press/env", "{broken")
        await broker.publish("sensors/press/env", b"\xff")
        await broker.publish("sensors/press/env", '"' + "x" * 300_000 + '"')
        await broker.publish("sensors/press/env", str(2**80))
        await broker.publish("sensors/press/env", "2")
        assert await node.sent(3) == [1, "x" * 300_000, 2]  # a large one is no bad one
        assert [e["error"] for e in node.errors] == ["BadPayload", "BadPayload", "ValueError"]
        assert node.errors[0]["message"]["topic"] == "sensors/press/env"
        assert is_up(node)


async def test_confirms_only_what_the_wires_acked(nats_broker):
    """What is not acked when the node is gone comes again to its successor; what was acked does not."""
    async with connected(nats_broker, clean_session=False) as node:
        wire = hang_wire(node)
        async with nats_broker.client() as device:
            for i in range(6):
                await device.publish("sensors/press/env", str(i), 1)
        assert await node.sent(6) == list(range(6))
        ack(wire, 1, 2)
        link = node.node._link
        await node.wait_for(lambda: len(link._owed) == 4)
        await asyncio.sleep(0)
    async with connected(nats_broker, clean_session=False) as node:
        assert await node.sent(4) == [2, 3, 4, 5]


@pytest.mark.survives("iot/mqtt-in", PEER, "killed in between")
@pytest.mark.parametrize("qos", [1, 2])
async def test_a_killed_node_gets_it_again(broker, qos):
    """A connection cut without a word, as `kill -9` cuts it: the next process gets all that was not confirmed."""
    async with connected(broker, clean_session=False, qos=qos) as node:
        hang_wire(node)
        await broker.publish("sensors/press/env", "1", "2", "3", qos=qos)
        assert sorted(await node.sent(3)) == [1, 2, 3]
        link = node.node._link
        link._task.cancel()
        link._client.abandon()
    async with connected(broker, clean_session=False, qos=qos) as node:
        await broker.publish("sensors/press/env", "4", qos=qos)
        assert set(await node.sent(4)) == {1, 2, 3, 4}


async def test_what_is_in_work_is_not_passed_on_twice(nats_broker):
    """nats-server sends again what is not confirmed after `ack_wait`: a flow that needs longer gets it once."""
    async with connected(nats_broker, qos=1) as node:
        wire = hang_wire(node)
        link, again = node.node._link, asyncio.Event()
        is_known = link._is_known
        link._is_known = lambda arrived: (again.set(), is_known(arrived))[1]
        await nats_broker.publish("sensors/press/env", "1")
        assert await node.sent(1) == [1]
        await asyncio.wait_for(again.wait(), 10)
        assert await node.sent() == [1]
        ack(wire, 1, 1)
        await node.wait_for(lambda: not link._owed)


async def test_what_is_in_work_is_confirmed_over_the_next_connection(mosquitto):
    """A cut while messages are in work: they are not passed on twice, and the new connection tells the broker."""
    await mosquitto.start()
    async with connected(mosquitto, clean_session=False, qos=2) as node:
        wire = hang_wire(node)
        await mosquitto.publish("sensors/press/env", "1", "2", "3", qos=2)
        assert await node.sent(3) == [1, 2, 3]
        node.statuses.clear()
        node.node._link._client._client._sock.shutdown(2)
        await node.wait_for(lambda: is_up(node))
        await mosquitto.publish("sensors/press/env", "4", qos=2)
        assert await node.sent(4) == [1, 2, 3, 4]
        ack(wire, 1, 4)
        await node.wait_for(lambda: not node.node._link._owed and not node.node._link._confirmed)
    async with connected(mosquitto, clean_session=False, qos=2) as node:
        await mosquitto.publish("sensors/press/env", "5", qos=2)
        assert await node.sent(1) == [5]


@pytest.mark.survives("iot/mqtt-in", PEER, "peer restart")
async def test_comes_back_when_the_broker_was_killed(broker):
    """The badge says that the broker is away, one error is reported, and reading goes on when it is back."""
    async with connected(broker, clean_session=False) as node:
        broker.kill()
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        await node.wait_for(lambda: len([s for s in node.statuses if "Connection refused" in s[0]]) >= 3)
        assert len(node.errors) <= 2
        await broker.start()
        await node.wait_for(lambda: is_up(node))
        await broker.publish("sensors/press/env", "7")
        assert await node.sent(1) == [7]


@pytest.mark.survives("iot/mqtt-in", PEER, "slow peer")
async def test_a_broker_that_stands_still_is_noticed_and_loses_nothing(broker):
    """After 1.5 times `keepalive_s` without a word the line counts as dead; what the broker had kept comes then."""
    config = {"broker": broker.config | {"keepalive_s": 1}, "clean_session": False, "client_id": "slow"}
    async with drive(MqttIn, topic="sensors/+/env", **config) as node:
        await node.wait_for(lambda: is_up(node))
        await broker.publish("sensors/press/env", "1")
        os.kill(broker.process.pid, signal.SIGSTOP)
        publishing = asyncio.create_task(broker.publish("sensors/press/env", "2", "3"))
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        os.kill(broker.process.pid, signal.SIGCONT)
        await publishing
        await node.wait_for(lambda: is_up(node))
        await broker.publish("sensors/press/env", "4")
        await node.wait_for(lambda: 4 in [one.payload for one in node.messages()])
        assert sorted({one.payload for one in node.messages()}) == [1, 2, 3, 4]


async def test_a_full_queue_waits_at_the_broker(broker):
    """With QoS 1 no more than `queue` messages wait in the node, the rest at the broker, and none is lost."""
    async with connected(broker, queue=10, clean_session=False) as node:
        wire = hang_wire(node, window=5)
        publishing = asyncio.create_task(broker.publish("sensors/press/env", *map(str, range(200))))
        link = node.node._link
        await node.wait_for(lambda: link._client is not None and link._client.is_paused)
        await publishing
        assert len(link._subscription.waiting) <= 11
        for n in range(1, 1000):
            ack(wire, n, len(node.messages()))
            if len(node.messages()) == 200:
                break
            await node.sent(len(node.messages()) + 1)
        assert await node.sent(200) == list(range(200))
        assert link.dropped == 0


async def test_qos_0_drops_the_oldest_and_says_so(nats_broker):
    """With QoS 0 nobody waits: the newest readings are kept, and the badge counts the others."""
    async with connected(nats_broker, queue=10, qos=0) as node:
        wire = hang_wire(node, window=5)
        await nats_broker.publish("sensors/press/env", *map(str, range(50)), qos=0)
        link = node.node._link
        await node.wait_for(lambda: link.dropped == 34)
        ack(wire, 1, 5)
        await node.sent(6)
        assert "34 dropped" in node.statuses[-1][0]
        for n in range(2, 5):
            ack(wire, n, len(node.messages()))
            await node.sent(min(16, len(node.messages()) + 1))
        assert (await node.sent(16))[6:] == list(range(40, 50))


async def test_retained_messages_can_be_left_out(broker):
    """What the broker had kept comes marked, or not at all."""
    await broker.publish("sensors/press/env", "1", retain=True)
    async with connected(broker) as node:
        assert [(m.payload, m.meta["retain"]) for m in await node.sent_messages(1)] == [(1, True)]
    async with connected(broker, retained=False) as node:
        await broker.publish("sensors/press/env", "2")
        assert await node.sent(1) == [2]


@pytest.mark.survives("iot/mqtt-in", PEER, "wrong password")
async def test_a_wrong_password_is_said_and_tried_again(broker):
    """No crash, no flood: one error, and a badge that says why."""
    config = broker.config | {"password": "wrong"}
    async with drive(MqttIn, broker=config, topic="a") as node:
        await node.wait_for(lambda: len([s for s in node.statuses if s[1] == "error"]) >= 2)
        assert "refused" in node.statuses[-1][0] and "no broker" not in node.statuses[-1][0]
        assert len(node.errors) == 1


async def test_a_refused_subscription_is_said(nats_broker):
    """A broker that does not let us listen: the badge names the filter; what is allowed comes."""
    nats_broker.user = nats_broker.password = "little"
    async with drive(MqttIn, broker=nats_broker.config, topic=["sensors/+/env", "secret/#"]) as node:
        await node.wait_for(lambda: any("secret/#" in text for text, _ in node.statuses))
        assert "permissions" in node.errors[0]["text"]
        nats_broker.user, nats_broker.password = type(nats_broker).user, type(nats_broker).password
        await nats_broker.publish("sensors/press/env", "1")
        assert await node.sent(1) == [1]


async def test_birth_close_and_will(broker):
    """The others hear that the node is there, that it went in good order, and that it was cut off."""
    notice = {"topic": "plant/node"}
    config = {name: notice | {"payload": name} for name in ("birth", "close", "will")}
    async with broker.client() as listener:
        await listener.subscribe("plant/node", 1)
        heard = []

        async def hear(n: int) -> list[str]:
            async with asyncio.timeout(10):
                async for message in listener.messages:
                    heard.append(message.payload.decode())
                    if len(heard) == n:
                        return heard

        async with connected(broker, **config):
            assert await hear(1) == ["birth"]
        assert await hear(2) == ["birth", "close"]
        async with connected(broker, **config) as node:
            assert await hear(3) == ["birth", "close", "birth"]
            node.node._link._task.cancel()
            node.node._link._client.abandon()
            assert await hear(4) == ["birth", "close", "birth", "will"]


async def test_wrong_settings_stop_the_start():
    """What can never work is said at once."""
    for config in ({"topic": "a/#/b"}, {"topic": "a", "broker": {"url": "http://x"}}):
        with pytest.raises(ValueError):
            async with drive(MqttIn, **({"broker": {"url": "mqtt://127.0.0.1:1"}} | config)):
                pass


async def test_the_embedded_broker_is_the_hosts(nats_broker):
    """Without a URL the node uses what the host gives it."""
    extras = {
        "embedded_mqtt": {
            "tls": False,
            "host": "127.0.0.1",
            "port": nats_broker.port,
            "user": nats_broker.user,
            "password": nats_broker.password,
        }
    }
    async with drive(MqttIn, topic="a", extras=extras) as node:
        await node.wait_for(lambda: is_up(node))
    with pytest.raises(ValueError, match="no embedded broker"):
        async with drive(MqttIn, topic="a"):
            pass


def test_the_private_parts_we_lean_on_are_there():
    """aiomqtt and paho still have what `held_client` overrides: else QoS 1 and 2 would be confirmed too early."""
    import aiomqtt
    from paho.mqtt.client import Client

    for name in ("_send_puback", "_send_pubrec", "_send_pubcomp", "_sock_close", "loop_read", "loop_write"):
        assert hasattr(Client, name), name
    for name in ("_on_message", "_on_connect", "_misc_loop", "_on_socket_register_write"):
        assert hasattr(aiomqtt.Client, name), name
    assert mqtt_in.MqttIn.needs == ("aiomqtt",)
