"""Programs and devices outside: MQTT with a persistent session; clients of other makers, and the rights they have."""

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomqtt

from tests.drills.drill import Findings, Skipped, drill
from tests.drills.flows import file_out, flow
from tests.drills.record import Record, judge
from tests.drills.runtime import PATIENCE_S, Ran, Runtime, kill, until
from tests.outsiders import settled


@drill(
    "iot/mqtt-in killed under QoS 1 messages, with a persistent session",
    short={"messages": 2_000, "kills": 3, "rate_hz": 500},
    long={"messages": 60_000, "kills": 20, "rate_hz": 2_000},
)
async def mqtt_killed(folder: Path, messages: int, kills: int, rate_hz: float) -> Findings:
    """Nothing is lost."""
    found, record = Findings(), Record(folder / "out.jsonl")
    config = {"topic": "plant/numbers", "qos": 1, "format": "json", "clean_session": False}
    document = flow(
        "mqtt",
        {"listen": {"type": "iot/mqtt-in", "config": config}, "pass": "core/change", "write": file_out(record.path)},
        ["listen.out > pass.in", "pass.out > write.in"],
    )
    async with Runtime(folder) as runtime:
        await runtime.deploy(document)
        device = await _access(runtime, "device", "--publish", "plant.numbers", "--mqtt")

        async def subscribed() -> bool:
            return (await runtime.nodes("mqtt"))["listen"]["badge_kind"] == "ok"

        await until(subscribed, "mqtt-in to have subscribed")
        publishing = asyncio.create_task(_publish(device, messages, rate_hz))
        for number in range(1, kills + 1):
            await record.until(messages * number // (kills + 1))
            pid = (await runtime.pids("mqtt"))["listen"]
            kill(pid)
            await runtime.until_running("mqtt", "listen", not_pid=[pid])
        rate = await publishing
        await record.until(messages)
    found.add(kills=kills, published_hz=rate)
    judge(record.numbers, range(1, messages + 1)).into(found, in_order=False)  # the broker redelivers after 3 s
    return found


async def _publish(device: dict[str, Any], messages: int, rate_hz: float) -> float:
    """Publish 1 .. messages with QoS 1, a tenth of a second's worth at a time; the rate that came of it."""
    at_once, loop = max(1, int(rate_hz / 10)), asyncio.get_running_loop()
    address = urlsplit(device["url"])
    async with aiomqtt.Client(
        str(address.hostname),
        address.port or 1883,
        username=device["user"],
        password=device["password"],
        identifier="drill-device",
        max_inflight_messages=1000,
    ) as client:
        client.pending_calls_threshold = 10_000
        began_s = loop.time()
        for first in range(1, messages + 1, at_once):
            numbers = range(first, min(first + at_once, messages + 1))
            await asyncio.gather(*(client.publish("plant/numbers", str(n), qos=1, timeout=60) for n in numbers))
            await asyncio.sleep(began_s + (first - 1 + at_once) / rate_hz - loop.time())
        return messages / (loop.time() - began_s)


async def _access(runtime: Runtime, name: str, *options: str) -> dict[str, Any]:
    """`flowcore access add`: url, user and password."""
    ran = await runtime.command("access", "add", name, *options, "--json")
    assert ran.status == 0, ran.err
    return json.loads(ran.out)


# Each client does the same: read what the flow sends, write into it, try to read and to write what it may not. It
# prints one JSON object: {"got": ..., "refused": [...]}.

_NATS_PY = """
import asyncio, json, sys, nats
async def main():
    access, refused, got = json.loads(sys.argv[1]), [], asyncio.get_running_loop().create_future()
    async def on_error(error): refused.append(str(error))
    client = await nats.connect(access["url"], user=access["user"], password=access["password"], error_cb=on_error,
        inbox_prefix="_INBOX." + access["user"])
    async def on_message(message):
        if not got.done(): got.set_result(len(message.data))
    await client.subscribe("flow.outside.entry.out.out", cb=on_message)
    await client.flush()
    await client.flush()  # the first PING may go out before the SUB
    await client.publish("flow.outside.entry.in.in", b'{"payload": "from nats-py"}')
    await asyncio.wait_for(got, 20)
    await client.subscribe("flow.private.>", cb=on_message)
    await client.publish("flow.private.entry.in.in", b'{"payload": "not allowed"}')
    await client.publish("flowcore.down", b"{}")
    await client.flush()
    await asyncio.sleep(0.3)
    print(json.dumps({"got": got.result(), "refused": refused}))
    await client.close()
asyncio.run(main())
"""

_NATS_JS = """
import { connect } from "nats";
const access = JSON.parse(process.argv[2]);
const refused = [];
const nc = await connect({ servers: access.url, user: access.user, pass: access.password,
  inboxPrefix: "_INBOX." + access.user });
(async () => {
  for await (const s of nc.status())
    if (s.type === "error") refused.push(String(s.permissionContext?.operation ?? s.data));
})();
const out = nc.subscribe("flow.outside.entry.out.out", { max: 1, timeout: 20000 });
await nc.flush();
nc.publish("flow.outside.entry.in.in", JSON.stringify({ payload: "from nats.js" }));
let got = 0;
for await (const m of out) got = m.data.length;
const closed = nc.subscribe("flow.private.>", { callback: (e) => { if (e) refused.push("subscription"); } });
nc.publish("flow.private.entry.in.in", JSON.stringify({ payload: "not allowed" }));
nc.publish("flowcore.down", "{}");
await nc.flush();
await new Promise((done) => setTimeout(done, 300));
console.log(JSON.stringify({ got, refused }));
await nc.close();
"""


@drill(
    "an outside client in an environment of its own: nats-py", short={"folder_name": "py"}, long={"folder_name": "py"}
)
async def outside_nats_py(folder: Path, folder_name: str) -> Findings:
    """It reads and writes with the rights it was given, and no others."""
    place = folder / folder_name
    await _installed([sys.executable, "-m", "venv", str(place)], folder)
    await _installed([str(place / "bin" / "pip"), "install", "--quiet", "nats-py"], folder)
    (folder / "client.py").write_text(_NATS_PY)
    return await _try_client(folder, [str(place / "bin" / "python"), str(folder / "client.py")], "from nats-py")


@drill(
    "an outside client in an environment of its own: nats.js", short={"folder_name": "js"}, long={"folder_name": "js"}
)
async def outside_nats_js(folder: Path, folder_name: str) -> Findings:
    """It reads and writes with the rights it was given, and no others."""
    if shutil.which("npm") is None:
        raise Skipped("npm is not installed")
    place = folder / folder_name
    place.mkdir()
    (place / "package.json").write_text('{"name": "drill", "private": true, "type": "module"}')
    await _installed(["npm", "install", "--silent", "--no-audit", "--no-fund", "nats@2"], place)
    (place / "client.mjs").write_text(_NATS_JS)
    return await _try_client(folder, ["node", str(place / "client.mjs")], "from nats.js")


async def _installed(command: list[str], folder: Path) -> None:
    """Run what brings a client.

    Raises:
        Skipped: it cannot be had here; with the end of what the command said.
    """
    said = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=said, stderr=said)
    try:
        async with asyncio.timeout(120):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        raise Skipped(f"{command[0]} did not end within 120 s") from None
    if process.returncode:
        raise Skipped(f"{' '.join(command[:2])} failed: {(err or out).decode()[-200:].strip()}")


def _outside_flow(folder: Path) -> list[dict[str, Any]]:
    """A flow that outsiders may use, and one that they may not."""
    inside = {"entry": "drill/pass", "write": file_out(folder / "outside.jsonl")}
    private = {"entry": "drill/pass", "write": file_out(folder / "private.jsonl")}
    wires = ["entry.out > write.in"]
    return [flow("outside", inside, wires), flow("private", private, wires)]


async def _try_client(folder: Path, command: list[str], payload: str) -> Findings:
    found, record = Findings(), Record(folder / "outside.jsonl", lambda value: 1)
    async with Runtime(folder) as runtime:
        await runtime.deploy(*_outside_flow(folder))
        rights = ("--subscribe", "flow.outside.>", "--publish", "flow.outside.*.in.>")
        access = await _access(runtime, "scada", *rights)
        process = await asyncio.create_subprocess_exec(
            *command, json.dumps(access), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate()
        assert process.returncode == 0, err.decode()[-2000:]
        said = json.loads(out)
        await until(lambda: record.read() >= 1, "its message in the flow")
        await runtime.client.call("flows")  # the runtime is still there: it could not end it
    found.add(read_bytes=said["got"], wrote=record.values, refused=len(said["refused"]))
    found.expect(said["got"] > 0, "it read nothing")
    found.expect(record.values == [payload], f"the flow got {record.values}")
    found.expect(len(said["refused"]) >= 3, f"refused was only {said['refused']}")
    found.expect(not (folder / "private.jsonl").exists(), "it wrote into a flow that it has no right to")
    return found


@drill("outside devices: mosquitto_pub and mosquitto_sub", short={"wait_s": 3}, long={"wait_s": 5})
async def outside_mosquitto(folder: Path, wait_s: int) -> Findings:
    """They read and write the topics they were given, and no others."""
    if shutil.which("mosquitto_sub") is None or shutil.which("mosquitto_pub") is None:
        raise Skipped("mosquitto_sub is not installed: sudo apt-get install mosquitto-clients")
    found = Findings()
    document = flow(
        "mqtt",
        {
            "listen": {"type": "iot/mqtt-in", "config": {"topic": "plant/in", "qos": 1, "format": "text"}},
            "say": {"type": "iot/mqtt-out", "config": {"topic": "plant/out", "qos": 1, "retain": True}},
        },
        ["listen.out > say.in"],
    )
    async with Runtime(folder) as runtime:
        await runtime.deploy(document)
        access = await _access(runtime, "plc", "--mqtt", "--subscribe", "plant.out", "--publish", "plant.in")
        address = urlsplit(access["url"])
        who = ["-h", str(address.hostname), "-p", str(address.port), "-u", access["user"], "-P", access["password"]]
        bus = await runtime.bus()
        heard: list[str] = []

        async def on_message(message: Any) -> None:
            heard.append(message.subject)

        await bus.subscribe("plant.>", cb=on_message)
        await settled(bus)

        async def connected() -> bool:
            return all(node["badge_kind"] == "ok" for node in (await runtime.nodes("mqtt")).values())

        await until(connected, "the MQTT nodes to be connected")
        allowed = asyncio.create_task(_mosquitto("sub", *who, "-t", "plant/out", "-q", "1", "-C", "1", "-W", "20"))
        await _mosquitto("pub", *who, "-t", "plant/in", "-q", "1", "-m", "pressure 4 bar")
        read = await allowed
        secret = asyncio.create_task(_mosquitto("sub", *who, "-t", "plant/secret", "-C", "1", "-W", str(wait_s)))
        await _mosquitto("pub", *who, "-t", "plant/command", "-q", "1", "-m", "open the gate", "-W", str(wait_s))
        await bus.publish("plant.secret", b"not for you")
        not_read = await secret
        await settled(bus)
        await bus.close()
        stranger = await _mosquitto("pub", *who[:-1], "wrong password", "-t", "plant/in", "-m", "x")
    found.add(read=read.out.strip(), not_read=repr(not_read.out.strip()), stranger_status=stranger.status)
    found.expect(read.out.strip() == "pressure 4 bar", f"it read {read.out!r} {read.err!r}")
    found.expect(not not_read.out, f"it read {not_read.out!r} without the right")
    found.expect("plant.command" not in heard, "it wrote without the right")
    found.expect("plant.in" in heard and stranger.status != 0, "a wrong password was taken")
    return found


async def _mosquitto(which: str, *arguments: str) -> Ran:
    """Run mosquitto_pub or mosquitto_sub."""
    process = await asyncio.create_subprocess_exec(
        f"mosquitto_{which}", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(40):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
    return Ran(process.returncode or 0, out.decode(), err.decode())
