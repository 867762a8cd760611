"""The configuration files in `nats/`: each says when to choose it, and works on a real server."""

import asyncio
import datetime
import ipaddress
import ssl

import nats
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flowcore.bus import config, storage
from flowcore.bus.connection import Connection
from flowcore.bus.permissions import full_user
from flowcore.bus.ports import is_free
from flowcore.bus.server import EmbeddedServer, ServerFailed


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate for 127.0.0.1 and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


@pytest.mark.parametrize("name", ["embedded", "secured", "leaf", "cluster"])
def test_each_opens_with_when_to_choose_it(name):
    text = (config.conf_folder() / f"{name}.conf").read_text()
    opening = text[: text.index("\n\n")]
    assert all(line.startswith("#") for line in opening.splitlines()) and "Choose it" in opening


async def test_secured_speaks_tls_with_outsiders_and_plain_with_nodes(tmp_path, certificate):
    server = EmbeddedServer(tmp_path, nats_port=0, mqtt_port=0, tls=certificate)
    user = full_user("host")
    await server.start([user])
    assert server.outside_url.startswith("tls://127.0.0.1:") and server.mqtt_url.startswith("mqtts://")
    context = ssl.create_default_context(cafile=certificate[0])
    outside = await nats.connect(server.outside_url, user=user.name, password=user.password, tls=context)
    inside = Connection(server.url, user=user.name, password=user.password)
    await inside.connect(5)
    feed = await outside.subscribe("flow.>")
    await outside.flush()
    inside.publish("flow.x", b"1")
    assert (await feed.next_msg(timeout=2)).data == b"1"
    await outside.close()
    await inside.close()
    await server.stop()


async def test_a_leaf_gives_its_feed_to_the_hub_and_keeps_its_wires(tmp_path):
    port = is_free(0, "127.0.0.1")
    hub_conf = f"leafnodes {{ listen: 127.0.0.1:{port}, no_advertise: true }}\n"
    hub_template = tmp_path / "hub.conf"
    hub_template.write_text((config.conf_folder() / "embedded.conf").read_text() + hub_conf)
    hub = EmbeddedServer(tmp_path / "hub", nats_port=0, mqtt_port=0, template=hub_template)
    user = full_user("edge")
    await hub.start([user])
    at_hub = Connection(hub.url, user=user.name, password=user.password)
    await at_hub.connect(5)
    heard = asyncio.Queue()
    for root in ("flow.>", "wire.>"):
        await at_hub.subscribe(root, lambda subject, data, reply, headers: heard.put_nowait(subject))

    variables = {"FLOWCORE_HUB": f"nats://edge:{user.password}@127.0.0.1:{port}", "FLOWCORE_DOMAIN": "edge"}
    leaf = EmbeddedServer(tmp_path / "leaf", nats_port=0, mqtt_port=0, template="leaf.conf", variables=variables)
    host = full_user("host")
    await leaf.start([host])
    at_leaf = Connection(leaf.url, user=host.name, password=host.password)
    await at_leaf.connect(5)
    await storage.ensure(at_leaf.jetstream())
    async with asyncio.timeout(10):
        while heard.empty():  # the leaf connects and tells of the hub's interest in its own time
            at_leaf.publish("wire.f.a.out.b.in.ack", b"")
            at_leaf.publish("flow.f.a.out.out", b"")
            await asyncio.sleep(0.05)
    await at_leaf.flush()
    seen = {heard.get_nowait() for _ in range(heard.qsize())}
    assert seen == {"flow.f.a.out.out"}
    await at_leaf.close()
    await at_hub.close()
    await leaf.stop()
    await hub.stop()


async def test_three_servers_of_a_cluster_hold_our_buckets(tmp_path):
    """cluster.conf is run by hand: three processes, one bus; `storage.ensure` works there as with `--nats`."""
    ports = [(is_free(0, "127.0.0.1"), is_free(0, "127.0.0.1")) for _ in range(3)]
    routes = {f"FLOWCORE_ROUTE_{i + 1}": f'"nats://cluster:c@127.0.0.1:{route}"' for i, (_, route) in enumerate(ports)}
    servers = []
    for i, (port, route) in enumerate(ports):
        environment = routes | {
            "FLOWCORE_SERVER_NAME": f"bus-{i}",
            "FLOWCORE_LISTEN": f'"127.0.0.1:{port}"',
            "FLOWCORE_CLUSTER_LISTEN": f'"127.0.0.1:{route}"',
            "FLOWCORE_STORE": f'"{tmp_path}/{i}"',
            "FLOWCORE_CLUSTER_PASSWORD": "c",
            "FLOWCORE_PASSWORD": "secret",
        }
        command = [
            config.nats_server_program(),
            "-c",
            config.conf_folder() / "cluster.conf",
            "-l",
            tmp_path / f"{i}.log",
        ]
        servers.append(await asyncio.create_subprocess_exec(*command, env=environment))
    try:
        url = ",".join(f"nats://127.0.0.1:{port}" for port, _ in ports)
        host = Connection(url, user="flowcore", password="secret")
        await host.connect(20)
        async with asyncio.timeout(30):
            while True:  # the cluster elects its leader first
                try:
                    await storage.ensure(host.jetstream(timeout=2))
                    break
                except storage.StorageError:
                    await asyncio.sleep(0.2)
        assert (await host.jetstream().stream_info("KV_flows")).cluster.name == "flowcore"
        await host.close()
    finally:
        for server in servers:
            server.kill()
            await server.wait()


async def test_a_server_that_does_not_start_says_why(tmp_path):
    broken = tmp_path / "broken.conf"
    broken.write_text("listen: $FLOWCORE_LISTEN\nno_such_thing: 5\n")
    with pytest.raises(ServerFailed, match=r"unknown field \"no_such_thing\""):
        await EmbeddedServer(tmp_path, nats_port=0, mqtt_port=0, template=broken).start()
