"""`flowcore simulate` as a process of its own, against the real embedded server."""

import asyncio
import contextlib
import json
import os
import signal
import sys

import aiomqtt
import pytest

from flowcore.bus.permissions import full_user
from flowcore.bus.server import EmbeddedServer


@pytest.fixture
async def runtime(tmp_path):
    """A data folder on which a bus runs, with the run file that a host would write."""
    restarted = asyncio.Event()
    server = EmbeddedServer(
        tmp_path, nats_port=0, mqtt_port=0, on_event=lambda kind, _: kind == "restarted" and restarted.set()
    )
    user = full_user("command")
    await server.start([user])
    run = {"pid": os.getpid(), "url": server.url, "mqtt_port": server.mqtt_port, "user": user.name}
    (tmp_path / "run.json").write_text(json.dumps(run | {"password": user.password}))
    server.data, server.command, server.restarted = tmp_path, user, restarted
    yield server
    await server.stop()


@contextlib.asynccontextmanager
async def listening(runtime, topic: str):
    """An ordinary client that has subscribed."""
    user = runtime.command
    async with aiomqtt.Client("127.0.0.1", runtime.mqtt_port, username=user.name, password=user.password) as client:
        await client.subscribe(topic, 1)
        yield client


async def hear(client: aiomqtt.Client, n: int) -> list[tuple[str, bytes]]:
    """The next n messages."""
    heard = []
    async with asyncio.timeout(20):
        async for message in client.messages:
            heard.append((message.topic.value, message.payload))
            if len(heard) == n:
                break
    return heard


async def start(*arguments: str) -> asyncio.subprocess.Process:
    """`flowcore simulate ...` with JSON output."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "flowcore.cli", "simulate", "--json", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def end(process: asyncio.subprocess.Process) -> tuple[int, list[dict]]:
    """Its exit status and what it printed."""
    async with asyncio.timeout(20):
        printed, _ = await process.communicate()
    return process.returncode, [json.loads(line) for line in printed.splitlines()]


async def test_the_same_seed_plays_the_same(runtime):
    """Two runs with one seed publish the same readings in the same order, a third with another seed does not."""
    runs = []
    for seed in ("7", "7", "8"):
        async with listening(runtime, "sensors/+/env") as client:
            options = ("--seed", seed, "--rate", "200", "--count", "303", "--data", str(runtime.data))
            process = await start(*options)
            runs.append(await hear(client, 300 if seed == "7" else 250))
            status, printed = await end(process)
            assert status == 0 and printed[-1]["published"] == 303
    assert runs[0] == runs[1]
    assert runs[0][:50] != runs[2][:50]
    first = json.loads(runs[0][0][1])
    assert set(first) == {"n", "machine", "t_s", "temp_c", "vibration_mm_s", "air_ug_m3"}


async def test_a_command_cools_the_machine_and_closes_the_loop(runtime):
    """A command on the actuator's topic is obeyed: the state is published, and the temperature falls."""
    async with listening(runtime, "machines/+/cooling") as states, listening(runtime, "sensors/+/env") as readings:
        process = await start("-n", "1", "--rate", "50", "--data", str(runtime.data))
        assert await hear(states, 1) == [("machines/press-1/cooling", b'{"on": false}')]
        await states.publish("actuators/press-1/cooling", '{"on": true}', 1)
        assert await hear(states, 1) == [("machines/press-1/cooling", b'{"on": true}')]
        temperatures = [
            json.loads(payload)["temp_c"] for _, payload in await hear(readings, 200) if payload[:1] == b"{"
        ]
        usual = [t for t in temperatures if t is not None and t < 200]
        assert usual[-1] < usual[0]
        process.send_signal(signal.SIGTERM)
        status, printed = await end(process)
        assert status == 0
        assert "cooling on" in printed[0]["event"]
        assert printed[-1]["commands"] == 1


async def test_comes_back_when_the_broker_was_killed(runtime):
    """The simulator goes on after the server's death, and no reading of QoS 1 is left out."""
    async with listening(runtime, "sensors/+/env") as client:
        process = await start("-n", "1", "--rate", "20", "--data", str(runtime.data))
        before = await hear(client, 5)
        os.kill(runtime.pid, signal.SIGKILL)
    await asyncio.wait_for(runtime.restarted.wait(), 20)
    while True:
        with contextlib.suppress(aiomqtt.MqttError):
            async with listening(runtime, "sensors/+/env") as client:
                after = await hear(client, 5)
                break
    numbers = [json.loads(payload)["n"] for _, payload in before + after if payload[:1] == b"{"]
    assert numbers == sorted(numbers)
    process.send_signal(signal.SIGINT)
    status, printed = await end(process)
    assert status == 0 and printed[-1]["reconnects"] >= 1


async def test_says_what_is_wrong(tmp_path):
    """No runtime, no broker, no such devices: one line each, and the exit status says whose fault it is."""
    cases = [
        (("--data", str(tmp_path)), 1, "no runtime"),
        (("--url", "mqtt://127.0.0.1:1"), 1, "no MQTT broker"),
        (("--url", "http://127.0.0.1"), 2, "not an MQTT address"),
        (("mashines",), 2, "did you mean 'machines'"),
    ]
    for arguments, expected, text in cases:
        status, printed = await end(await start(*arguments))
        assert status == expected
        assert text in printed[-1]["error"]["message"]


async def test_lists_what_plug_ins_bring():
    """`--list` names the machines that ship."""
    status, printed = await end(await start("--list"))
    assert status == 0 and "machines" in printed[0]["devices"]
