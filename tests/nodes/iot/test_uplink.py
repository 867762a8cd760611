"""The line to a broker elsewhere is cut under load: what `core/buffer` kept gets there, alarms first."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from flowcore.bus.envelope import pack, unpack

FLOW = Path(__file__).parents[3] / "flows" / "uplink.json"


@pytest.mark.survives(
    "core/buffer", "an MQTT broker behind it (nats-server)", "peer restart", "killed in between", "slow peer"
)
async def test_nothing_is_lost_while_the_line_is_cut(host, nats_broker, tmp_path):
    """The broker stands still, and goes on; then some two hundred readings and three alarms while it is down, and the
    buffer is killed meanwhile."""
    document = json.loads(FLOW.read_text())
    document["env"] |= {"EVERY_S": 0.01, "AWAY_AFTER_S": 0.5, "EVENTS": str(tmp_path / "events.jsonl")}
    config = {"url": nats_broker.url, "user": nats_broker.user, "longest_wait_s": 0.3}
    host.secrets.set("elsewhere", nats_broker.password)
    document["resources"]["elsewhere"]["config"] = config | {"password": {"$secret": "elsewhere"}}
    given: list[int] = []
    events: list[str] = []
    await host.bus.connection.subscribe(
        "flow.uplink.readings.out.out", lambda _, data, *__: given.extend(one["payload"] for one in unpack(data))
    )
    told = asyncio.Event()
    await host.bus.connection.subscribe(
        "flow.uplink.buffer.out.events",
        lambda _, data, *__: (events.extend(one["payload"]["event"] for one in unpack(data)), told.set()),
    )

    async def until_told(event: str) -> None:
        async with asyncio.timeout(20):
            while event not in events:
                told.clear()
                await told.wait()

    async with nats_broker.client(identifier="scada", clean_session=False) as scada:
        await scada.subscribe("plant/#", 1)
    await host.documents.deploy(json.dumps(document), "uplink.json")
    async with asyncio.timeout(20):
        while len(given) < 50:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    os.kill(nats_broker.process.pid, signal.SIGSTOP)
    await until_told("away")
    os.kill(nats_broker.process.pid, signal.SIGCONT)
    await until_told("back")
    events.clear()
    nats_broker.kill()
    await until_told("away")
    (buffer,) = [node for node in host.status("uplink")[0].nodes if node.node == "buffer"]
    os.kill(buffer.pid, signal.SIGKILL)
    for n in range(3):
        at = len(given)
        host.bus.connection.publish(
            "flow.uplink.alarms.in.button", pack([{"payload": {"alarm": n}, "topic": "plant/alarm"}])
        )
        async with asyncio.timeout(20):
            while len(given) < at + 60:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    before_the_return = given[-1]
    await nats_broker.start()
    loop = asyncio.get_running_loop()
    back_s = loop.time()
    got: list[tuple[str, object]] = []
    async with nats_broker.client(identifier="scada", clean_session=False) as scada, asyncio.timeout(30):
        async for message in scada.messages:
            got.append((message.topic.value, json.loads(message.payload)))
            if got[-1] == ("plant/reading", before_the_return):
                break
            if ("plant/alarm", {"alarm": 0}) in got and loop.time() - back_s < 10:
                back_s = 0.0
    readings = list(dict.fromkeys(value for topic, value in got if topic == "plant/reading"))
    given = list(dict.fromkeys(given))  # a few have the same millisecond
    assert readings == given[: len(readings)] and readings[-1] >= before_the_return, "one is missing, or out of order"
    assert back_s == 0.0, "the first alarm came later than 10 s after the broker"
    alarms = [at for at, (topic, _) in enumerate(got) if topic == "plant/alarm"]
    assert [got[at][1] for at in alarms][:3] == [{"alarm": n} for n in range(3)]
    behind = [value for _, value in got[alarms[0] :] if isinstance(value, int)]
    assert len(set(behind)) > 130, "alarms were not ahead of what had waited longer"
