"""The embedded server: starts, changes users while it runs, comes back when it dies."""

import asyncio
import os
import signal
import socket
import stat
import sys

import pytest

from flowcore.bus import storage
from flowcore.bus.connection import Connection
from flowcore.bus.permissions import BusUser, new_password, node_user
from flowcore.bus.server import EmbeddedServer, UsersRefused


def wire(producer, port, consumer, in_port, **more):
    return {"producer": producer, "port": port, "consumer": consumer, "in_port": in_port, "delivery": "reliable"} | more


async def connect(server, user, **callbacks):
    connection = Connection(server.url, user=user.name, password=user.password, inbox=user.inbox, **callbacks)
    await connection.connect(timeout=5)
    return connection


async def test_users_change_while_they_are_connected(server):
    """A right granted works without a reconnect; one taken away is refused, and shown."""
    refused, arrived = asyncio.Queue(), asyncio.Queue()
    before = BusUser("a", new_password(), ("old.x",), ("new.>",))
    await server.set_users([server.host, before])
    node = await connect(server, before, on_refused=refused.put_nowait)
    host = await connect(server, server.host)
    await host.subscribe("new.x", lambda subject, data, reply, headers: arrived.put_nowait(data))
    await host.flush()

    node.publish("new.x", b"early")
    assert "new.x" in await asyncio.wait_for(refused.get(), 2)
    await server.set_users([server.host, BusUser("a", before.password, ("new.x",), ("new.>",))])
    node.publish("new.x", b"late")
    assert await asyncio.wait_for(arrived.get(), 2) == b"late"
    node.publish("old.x", b"")
    assert "old.x" in await asyncio.wait_for(refused.get(), 2)
    await node.close()
    await host.close()


async def test_refused_users_leave_the_old_ones(server):
    """A list that the server refuses changes nothing, on disk or in the server."""
    conf = server.folder / "users.conf"
    before = conf.read_text()
    with pytest.raises(UsersRefused, match=r"not a valid subject"):
        await server.set_users([server.host, BusUser("bad", "pw", ("a..b",))])
    assert conf.read_text() == before and server.users == (server.host,)
    await (await connect(server, server.host)).close()


async def test_jetstream_answers_while_users_change(server):
    """Each change takes JetStream's services away for a moment; what is asked meanwhile is answered all the same."""
    host = await connect(server, server.host)
    await storage.ensure(host.jetstream())
    asked = 0

    async def ask():
        nonlocal asked
        while not is_over.is_set():
            await host.jetstream().stream_info(storage.GIVEN_UP)
            asked += 1

    is_over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(ask())
        for _ in range(50):  # without care, some 30 are refused
            await server.set_users([server.host])
        is_over.set()
    assert asked > 50
    await host.close()


async def test_passwords_are_private(server):
    """Only the owner can read the file with passwords, and the folder it is in."""
    assert stat.S_IMODE((server.folder / "users.conf").stat().st_mode) == 0o600
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700


async def test_a_killed_server_comes_back(server):
    """After kill -9 it runs again with the same port and users; streams are there."""
    host = await connect(server, server.host)
    await storage.ensure(host.jetstream())
    first, port = server.pid, server.port
    back = asyncio.Event()
    server._on_event = lambda kind, detail: back.set() if kind == "restarted" else None
    os.kill(first, signal.SIGKILL)
    await asyncio.wait_for(back.wait(), 10)
    assert server.pid != first and server.port == port
    again = await connect(server, server.host)
    assert (await again.jetstream().stream_info("KV_flows")).config.max_msgs_per_subject == 64
    await again.close()
    await host.close()
    await server.set_users([server.host, node_user("f", "n")])


async def test_ports_are_remembered_and_a_taken_one_is_passed_over(tmp_path):
    """The next start has the same ports; when one is taken meanwhile, the next free one."""
    first = EmbeddedServer(tmp_path, nats_port=0, mqtt_port=0)
    await first.start()
    port = first.port
    second = EmbeddedServer(tmp_path / "other", nats_port=port, mqtt_port=0)
    await second.start()
    assert second.port > port
    await first.stop()
    await second.stop()
    third = EmbeddedServer(tmp_path, nats_port=0, mqtt_port=0)
    await third.start()
    assert third.port == port
    await third.stop()


async def test_the_server_dies_with_its_host(tmp_path):
    """kill -9 of the process that started it leaves no nats-server behind."""
    script = (
        "import asyncio, pathlib, sys\n"
        "from flowcore.bus.server import EmbeddedServer\n"
        "async def main():\n"
        "    server = EmbeddedServer(pathlib.Path(sys.argv[1]), nats_port=0, mqtt_port=0)\n"
        "    await server.start()\n"
        "    print(server.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    host = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    pidfd = os.pidfd_open(int(await host.stdout.readline()))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(pidfd, ended.set)
    host.kill()
    await asyncio.wait_for(ended.wait(), 5)
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)
    await host.wait()


async def test_while_its_port_is_taken_it_keeps_trying_quietly(server):
    """Another program took the port after a death: one line is said, and it comes back on the same port."""
    host = await connect(server, server.host)
    died, refused, back = asyncio.Event(), asyncio.Event(), asyncio.Event()
    waits = {"died": died, "restarting": refused, "restarted": back}
    server._on_event = lambda kind, detail: waits[kind].set() if kind in waits else None
    os.kill(server.pid, signal.SIGKILL)
    await asyncio.wait_for(died.wait(), 5)
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", server.port))
        thief.listen()
        await asyncio.wait_for(refused.wait(), 10)
    await asyncio.wait_for(back.wait(), 10)
    await host.close()
    await (await connect(server, server.host)).close()
