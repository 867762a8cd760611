"""`flowcore up --tls-cert`: the listeners speak TLS, with outsiders and with our own processes."""

import asyncio
import json
import shutil
import ssl
import subprocess
from urllib.parse import urlsplit

import nats
import pytest

from flowcore.client import Untrusted, connect
from tests.certificates import make_certificate
from tests.cli.conftest import said
from tests.outsiders import settled

SENSORS = {
    "flowcore": 1,
    "id": "line",
    "nodes": [{"id": "sensors", "type": "iot/mqtt-in", "config": {"topic": "sensors/+/env"}}],
    "wires": [],
}


@pytest.fixture
async def secured(flowcore):
    """A runtime with TLS that takes readings from its own broker; the file of its certificate."""
    certificate, key = make_certificate(flowcore.folder)
    flowcore.write(SENSORS)
    up = await flowcore.start(
        *("up", "demo.json", "--tls-cert", certificate, "--tls-key", key, "--nats-port", 0, "--mqtt-port", 0)
    )
    await said(up, "line: revision")
    return certificate


async def test_outsiders_come_in_by_tls_and_only_by_tls(flowcore, secured):
    """nats-py and our client with what `access add` prints; the commands and the nodes are in already."""
    added = (await flowcore("access", "add", "scada", "--subscribe", "flow.line.>", "--json")).json
    assert added["url"].startswith("tls://127.0.0.1:")
    context = ssl.create_default_context(cafile=secured)
    outsider = await nats.connect(
        added["url"], user="scada", password=added["password"], tls=context, inbox_prefix=b"_INBOX.scada"
    )
    heard = await outsider.subscribe("flow.line.sensors.out.>")
    await settled(outsider)
    async with (
        connect(added["url"], "scada", added["password"], ca=secured) as client,
        client.subscribe("flow.line.sensors.out.>") as messages,
    ):
        await flowcore.start("simulate", "--rate", 10)
        assert (await messages.next(20)).node == "sensors"
    await heard.next_msg(timeout=5)
    await outsider.close()

    with pytest.raises(Untrusted, match="self-signed"):
        async with connect(added["url"], "scada", added["password"]):
            pass
    where = added["url"].replace("tls://", f"tls://scada:{added['password']}@")
    refused = await flowcore("sub", "flow.line.>", "--url", where, "-n", 1, status=1)
    assert "self-signed" in refused.err and "--ca FILE" in refused.err and refused.err.count("\n") == 1
    nobody = await flowcore("sub", "flow.line.>", "--url", where, "--ca", secured, "--timeout", 0.1, status=1)
    assert "no message" in nobody.err


async def test_another_host_joins_by_tls(flowcore, secured, tmp_path):
    """What `access add --host` prints, with the certificate to trust; without, it says what is missing."""
    added = (await flowcore("access", "add", "edge1", "--host", "--json")).json
    url = added["url"].replace("tls://", f"tls://edge1:{added['password']}@")
    there = ("up", "--host", "edge1", "--nats", url, "--data", tmp_path / "edge")
    assert "--nats-ca FILE" in (await flowcore(*there, status=1)).err
    edge = await flowcore.start(*there, "--nats-ca", secured)
    await said(edge, "is up as host edge1")
    placed = {**SENSORS, "id": "far", "nodes": [{"id": "show", "type": "core/debug", "settings": {"host": "edge1"}}]}
    await flowcore("deploy", flowcore.write(placed, "far.json"))
    [flow] = (await flowcore("status", "far", "--json")).json["flows"]
    assert [(node["state"], node["host"]) for node in flow["nodes"]] == [("running", "edge1")]
    edge.terminate()
    assert await asyncio.wait_for(edge.wait(), 20) == 0


@pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="mosquitto_sub is not installed")
async def test_a_device_comes_in_by_mqtts(flowcore, secured):
    """mosquitto's own programs, which check the certificate."""
    rights = ("--mqtt", "--subscribe", "a/#", "--publish", "a/b")
    added = (await flowcore("access", "add", "device", *rights, "--json")).json
    assert added["url"].startswith("mqtts://127.0.0.1:")
    where = urlsplit(added["url"])
    at = f"-h {where.hostname} -p {where.port} -u device -P {added['password']} --cafile {secured}".split()
    kept = ["-t", "a/b", "-m", "hello", "-q", "1", "-r"]  # so that whoever subscribes later gets it
    speaker = await asyncio.create_subprocess_exec("mosquitto_pub", *at, *kept)
    assert await asyncio.wait_for(speaker.wait(), 10) == 0
    listener = await asyncio.create_subprocess_exec(
        "mosquitto_sub", *at, "-t", "a/#", "-C", "1", "-W", "10", stdout=subprocess.PIPE
    )
    assert (await asyncio.wait_for(listener.communicate(), 15))[0] == b"hello\n"
    in_the_clear = await asyncio.create_subprocess_exec(
        "mosquitto_pub", *at[:-2], "-t", "a/b", "-m", "x", stderr=subprocess.DEVNULL
    )
    assert await asyncio.wait_for(in_the_clear.wait(), 10) != 0


async def test_a_certificate_that_cannot_be_used_is_refused_at_once(flowcore):
    """Before anything is started: one line, with the file and what is wrong."""
    certificate, key = make_certificate(flowcore.folder)
    _, other_key = make_certificate(flowcore.folder, "other")
    for args, text, status in (
        (("--tls-cert", certificate, "--tls-key", other_key), "the key is not the certificate's", 1),
        (("--tls-cert", certificate), "bus.pem", 1),
        (("--tls-cert", "nowhere.pem"), "No such file", 1),
        (("--tls-key", key), "--tls-cert", 2),
        (("--tls-cert", certificate, "--nats", "nats://127.0.0.1:1"), "--nats-ca", 2),
        (("--nats", "tls://127.0.0.1:1", "--nats-ca", "nowhere.pem"), "nowhere.pem", 2),
    ):
        ran = await flowcore("up", *args, status=status)
        assert text in ran.err and ran.err.count("\n") == 1, ran.err
    assert not (flowcore.data / "run.json").exists()


async def test_without_tls_a_network_address_is_warned_of(flowcore):
    """Said before the start; 192.0.2.1 is nobody's address, so that the start itself fails."""
    await flowcore("access", "add", "scada", "--subscribe", "flow.>")
    ran = await flowcore("up", "--listen", "192.0.2.1", "--json", status=1)
    assert "in the clear" in ran.err and "--tls-cert" in ran.err
    assert "192.0.2.1" in json.loads(ran.out)["error"]["message"]
