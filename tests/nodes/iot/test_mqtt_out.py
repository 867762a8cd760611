"""`iot/mqtt-out` against real brokers."""

import asyncio
import contextlib
import os
import signal

import pytest
from flowcore_nodes.iot.mqtt_out import MqttOut

from flowcore.node.testing import drive

PEER = "nats-server's MQTT; mosquitto"


@contextlib.asynccontextmanager
async def listening(broker, topic: str = "actuators/#", qos: int = 2):
    """Collects what an ordinary client hears: `await heard(n)`."""
    async with broker.client() as client:
        await client.subscribe(topic, qos)
        messages = []

        async def heard(n: int):
            async with asyncio.timeout(10):
                async for message in client.messages if len(messages) < n else ():
                    messages.append(message)
                    if len(messages) >= n:
                        break
            return [(str(m.topic), m.payload) for m in messages]

        yield heard


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_publishes_in_order(broker, qos):
    """200 messages put in together arrive in their order, and each is done only when the broker has it."""
    async with listening(broker) as heard, drive(MqttOut, broker=broker.config, topic="actuators/fan", qos=qos) as node:
        await node.put(*range(200))
        assert [payload for _, payload in await heard(200)] == [str(i).encode() for i in range(200)]
        assert not node.errors


async def test_the_topic_comes_from_the_message(broker):
    """The message's topic, or what a reference in the config says."""
    async with listening(broker) as heard:
        async with drive(MqttOut, broker=broker.config) as node:
            await node.put({"on": True}, topic="actuators/press/cooling")
        async with drive(MqttOut, broker=broker.config, topic={"$message": "meta.to"}, format="text") as node:
            await node.put("off", meta={"to": "actuators/mill/cooling"})
        assert await heard(2) == [("actuators/press/cooling", b'{"on":true}'), ("actuators/mill/cooling", b"off")]


@pytest.mark.survives("iot/mqtt-out", PEER, "malformed data")
async def test_what_cannot_be_published_is_reported(broker):
    """No topic, a filter for a topic, a topic that is not allowed, a payload without a form: the good ones go out."""
    async with (
        listening(broker) as heard,
        drive(MqttOut, broker=broker.config, allow=["actuators/+"], format="json") as node,
    ):
        await node.put(1, topic="actuators/a")
        await node.put(2)
        await node.put(3, topic="actuators/#")
        await node.put(4, topic="elsewhere")
        await node.put(float("nan"), topic="actuators/a")
        await node.put(6, topic="actuators/b")
        assert await heard(2) == [("actuators/a", b"1"), ("actuators/b", b"6")]
        assert [e["error"] for e in node.errors] == ["BadTopic", "BadTopic", "BadTopic", "BadPayload"]


@contextlib.asynccontextmanager
async def kept_session(broker):
    """A listener whose session the broker keeps over its own death: `await numbers(n)` gives what it kept."""
    options = {"identifier": "listener", "clean_session": False}
    async with broker.client(**options) as client:
        await client.subscribe("actuators/fan", 1)

    async def numbers(n: int) -> list[int]:
        heard: list[int] = []
        async with broker.client(**options) as client:
            await client.subscribe("actuators/fan", 1)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10):
                    async for message in client.messages:
                        heard.append(int(message.payload))
                        if len(set(heard)) == n:
                            break
        return heard

    yield numbers


@pytest.mark.survives("iot/mqtt-out", PEER, "peer restart")
async def test_waits_while_the_broker_is_away(broker):
    """What is put in while the broker is away is published when it is back, all of it, in order."""
    async with kept_session(broker) as numbers, drive(MqttOut, broker=broker.config, topic="actuators/fan") as node:
        await node.wait_for(lambda: node.statuses[-1][1] == "ok")
        broker.kill()
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        putting = asyncio.create_task(node.put(*range(100)))
        await node.wait_for(lambda: node.engine.turns.busy)
        await broker.start()
        await putting
        assert await numbers(100) == list(range(100))
        assert {e["error"] for e in node.errors} == {"Refused"}


async def test_nothing_is_lost_when_the_broker_dies_in_between(broker):
    """Every number arrives over a kill in the middle of publishing; twice at most around it."""
    async with kept_session(broker) as numbers, drive(MqttOut, broker=broker.config, topic="actuators/fan") as node:
        async with listening(broker, "actuators/fan", qos=0) as heard:
            putting = asyncio.create_task(node.put(*range(500)))
            await heard(50)
            broker.kill()
        await broker.start()
        await putting
        assert set(await numbers(500)) == set(range(500))


@pytest.mark.survives("iot/mqtt-out", PEER, "slow peer")
async def test_a_broker_that_stands_still_is_waited_for(broker):
    """A message is done when the broker has said so, however long that takes."""
    async with kept_session(broker) as numbers, drive(MqttOut, broker=broker.config, topic="actuators/fan") as node:
        await node.put(0)
        os.kill(broker.process.pid, signal.SIGSTOP)
        putting = asyncio.create_task(node.put(*range(1, 20)))
        await asyncio.sleep(0.3)
        assert not putting.done()
        os.kill(broker.process.pid, signal.SIGCONT)
        await putting
        assert await numbers(20) == list(range(20)) and not node.errors


@pytest.mark.survives("iot/mqtt-out", PEER, "wrong password")
async def test_a_wrong_password_is_said_and_messages_wait(broker):
    async with drive(MqttOut, broker=broker.config | {"password": "wrong"}, topic="a") as node:
        putting = asyncio.create_task(node.put(1))
        await node.wait_for(lambda: len([s for s in node.statuses if s[1] == "error"]) >= 2)
        assert "refused" in node.statuses[-1][0] and "no broker" not in node.statuses[-1][0]
        assert not putting.done() and len(node.errors) == 1
        putting.cancel()


async def test_the_embedded_broker_needs_to_know_the_topics(nats_broker):
    """A message that may choose any topic would need rights for all of them: `allow` says which."""
    extras = {
        "embedded_mqtt": {
            "tls": False,
            "host": "127.0.0.1",
            "port": nats_broker.port,
            "user": nats_broker.user,
            "password": nats_broker.password,
        }
    }
    with pytest.raises(ValueError, match="allow"):
        async with drive(MqttOut, extras=extras):
            pass
    async with (
        listening(nats_broker) as heard,
        drive(MqttOut, allow=["actuators/#"], extras=extras) as node,
    ):
        await node.put(1, topic="actuators/a b")  # nats-server would cut us off for the blank
        await node.put(2, topic="actuators/a")
        assert await heard(1) == [("actuators/a", b"2")]
        assert [e["error"] for e in node.errors] == ["BadTopic"]


async def test_retain(broker):
    """A retained message is there for who subscribes later."""
    async with drive(MqttOut, broker=broker.config, topic="actuators/fan", retain=True) as node:
        await node.put("on")
    async with listening(broker) as heard:
        assert await heard(1) == [("actuators/fan", b"on")]


async def test_retain_from_the_message_is_no_where_the_message_says_nothing(broker):
    """As `msg.retain` in Node-RED: the message goes out all the same."""
    async with (
        drive(MqttOut, broker=broker.config, topic="actuators/fan", retain={"$message": "meta.retain"}) as node,
        listening(broker) as heard,
    ):
        await node.put("on")
        assert await heard(1) == [("actuators/fan", b"on")]
        assert node.errors == []
