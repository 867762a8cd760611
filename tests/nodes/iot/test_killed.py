"""`iot/mqtt-in` killed while messages come: with a session that the broker keeps, nothing is lost."""

import asyncio
import json
import os
import signal

import aiomqtt
import pytest


def flow(path, qos: int) -> str:
    """mqtt-in, as the issue wants it killed, to a file."""
    config = {"topic": "numbers", "qos": qos, "format": "json", "clean_session": False}
    nodes = [
        {"id": "mqtt", "type": "iot/mqtt-in", "config": config, "settings": {"restart": {"limit": 100}}},
        {"id": "file", "type": "core/file-out", "config": {"path": str(path)}},
    ]
    wires = [{"from": "mqtt.out", "to": "file.in"}]
    return json.dumps({"flowcore": 1, "id": "line", "nodes": nodes, "wires": wires})


@pytest.mark.drill
@pytest.mark.survives("iot/mqtt-in", "nats-server's MQTT; mosquitto", "killed in between")
@pytest.mark.parametrize("qos", [1, 2])
async def test_nothing_is_lost_when_it_is_killed(host, tmp_path, qos):
    """2,000 numbers, three kills in between: every number reaches the file, twice only around a kill."""
    numbers, kills, path = 2000, 3, tmp_path / "numbers.jsonl"
    subscribed = asyncio.Event()
    await host.bus.connection.subscribe(
        "flow.line.mqtt.status", lambda subject, data, *_: subscribed.set() if b"connected to" in data else None
    )
    await host.documents.deploy(flow(path, qos), "line.json")
    await asyncio.wait_for(subscribed.wait(), 20)
    client = aiomqtt.Client(
        "127.0.0.1",
        host.bus.server.mqtt_port,
        username=host.bus.user,
        password=host.bus.password,
        max_inflight_messages=20,
    )
    client.pending_calls_threshold = numbers
    async with client:
        publishing = asyncio.gather(*(client.publish("numbers", str(n), qos, timeout=90) for n in range(numbers)))
        for kill in range(1, kills + 1):
            await written(path, 400 * kill)
            (mqtt,) = [node for node in host.status("line")[0].nodes if node.node == "mqtt"]
            os.kill(mqtt.pid, signal.SIGKILL)
        await publishing
    assert await written(path, numbers) == set(range(numbers))
    (mqtt,) = [node for node in host.status("line")[0].nodes if node.node == "mqtt"]
    assert mqtt.restarts == kills


async def written(path, count: int) -> set[int]:
    """The numbers in the file, once there are so many different ones."""
    async with asyncio.timeout(60):
        while True:
            found = {int(line) for line in path.read_text().split()} if path.exists() else set()
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)
