"""The configuration files in `nats/`: each says when to choose it, and works on a real server."""

import asyncio
import contextlib
import socket
import ssl

import pytest

from flowcore.bus import config, storage, tls
from flowcore.bus.certificate import Certificate
from flowcore.bus.connection import Connection
from flowcore.bus.permissions import full_user
from flowcore.bus.ports import is_free
from flowcore.bus.server import EmbeddedServer, ServerFailed
from tests.certificates import make_certificate


@pytest.mark.parametrize("name", ["embedded", "secured", "leaf", "cluster"])
def test_each_opens_with_when_to_choose_it(name):
    text = (config.conf_folder() / f"{name}.conf").read_text()
    opening = text[: text.index("\n\n")]
    assert all(line.startswith("#") for line in opening.splitlines()) and "Choose it" in opening


def shown_certificate(port):
    """What a TLS listener shows; nats-server's NATS listener speaks first, in the clear."""
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        plain.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            plain.recv(4096)
        plain.settimeout(5)
        with tls.context(tls.OWN).wrap_socket(plain) as safe:
            return safe.getpeercert(binary_form=True)


async def test_secured_speaks_tls_with_everybody(tmp_path):
    """Outsiders check the certificate, our own processes need not; in the clear nobody comes in."""
    certificate = Certificate(*make_certificate(tmp_path))
    server = EmbeddedServer(tmp_path, nats_port=0, mqtt_port=0, certificate=certificate)
    user = full_user("host")
    await server.start([user])
    assert server.outside_url.startswith("tls://127.0.0.1:") and server.mqtt_url.startswith("mqtts://")
    outside = Connection(server.outside_url, user=user.name, password=user.password, trust=str(certificate.chain))
    inside = Connection(server.url, user=user.name, password=user.password, trust=tls.OWN)
    for connection in (outside, inside):
        await connection.connect(5)
    heard = asyncio.Queue()
    await outside.subscribe("flow.>", lambda *message: heard.put_nowait(message))
    await outside.flush()
    inside.publish("flow.x", b"1")
    assert (await asyncio.wait_for(heard.get(), 2))[1] == b"1"
    with pytest.raises(tls.Untrusted, match="self-signed"):
        await Connection(server.outside_url, user=user.name, password=user.password).connect(5)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b'CONNECT {"user":"host","pass":"%b"}\r\nPING\r\n' % user.password.encode())
    said = await asyncio.wait_for(reader.read(), 10)
    assert said.startswith(b"INFO") and b"PONG" not in said  # and the connection is closed
    writer.close()
    await outside.close()
    await inside.close()
    await server.stop()


async def test_a_renewed_certificate_is_taken_up_by_both_listeners(tmp_path):
    """Without a restart, and connections that are open stay; a pair that does not fit is left alone."""
    told = []
    certificate = Certificate(*make_certificate(tmp_path))
    server = EmbeddedServer(
        tmp_path, nats_port=0, mqtt_port=0, certificate=certificate, on_event=lambda *event: told.append(event)
    )
    user = full_user("host")
    await server.start([user])
    lost = []
    inside = Connection(
        server.url, user=user.name, password=user.password, trust=tls.OWN, on_down=lambda: lost.append(1)
    )
    await inside.connect(5)
    first = ssl.PEM_cert_to_DER_cert(certificate.chain.read_text())
    ports = (server.port, server.mqtt_port)
    assert [await asyncio.to_thread(shown_certificate, port) for port in ports] == [first, first]

    key = certificate.key.read_bytes()
    make_certificate(tmp_path)
    new_key = certificate.key.read_bytes()
    certificate.key.write_bytes(key)
    await server.renew_certificate()
    assert "the one before stays" in told[-1][1] and "key is not the certificate's" in told[-1][1]
    certificate.key.write_bytes(new_key)
    await server.renew_certificate()
    second = ssl.PEM_cert_to_DER_cert(certificate.chain.read_text())
    assert [await asyncio.to_thread(shown_certificate, port) for port in ports] == [second, second] and second != first
    await inside.flush()
    assert not lost
    await inside.close()
    await server.stop()


async def test_an_expired_certificate_keeps_no_flow_from_running(tmp_path):
    """Only outsiders check it: it is said, and our own processes come in."""
    told = []
    certificate = Certificate(*make_certificate(tmp_path, days=-1))
    server = EmbeddedServer(
        tmp_path, nats_port=0, mqtt_port=0, certificate=certificate, on_event=lambda *event: told.append(event)
    )
    await server.start([full_user("host")])
    assert "expired on" in told[0][1]
    await server.stop()


async def test_tls_is_never_left_out_when_it_was_asked_for(tmp_path):
    """A server that leaves it to the client: nats-py alone would send the password in the clear."""
    certificate = Certificate(*make_certificate(tmp_path))
    lenient = tmp_path / "lenient.conf"
    lenient.write_text((config.conf_folder() / "secured.conf").read_text() + "allow_non_tls: true\n")
    server = EmbeddedServer(tmp_path, nats_port=0, mqtt_port=0, certificate=certificate, template=lenient)
    user = full_user("host")
    await server.start([user])
    safe = Connection(server.outside_url, user=user.name, password=user.password, trust=str(certificate.chain))
    await safe.connect(5)
    assert safe.client._transport._io_writer.get_extra_info("cipher")
    await safe.close()
    await server.stop()
    plain = EmbeddedServer(tmp_path / "plain", nats_port=0, mqtt_port=0)
    await plain.start([user])
    with pytest.raises(tls.Untrusted, match="no TLS"):
        await Connection(plain.url.replace("nats:", "tls:"), user=user.name, password=user.password).connect(5)
    await plain.stop()


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
