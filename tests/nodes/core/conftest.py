"""A real nats-server for the NATS nodes, a real script zygote for those with scripts."""

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest

from flowcore.bus.connection import Connection
from flowcore.bus.permissions import full_user
from flowcore.bus.server import EmbeddedServer
from flowcore.node.testing import drive
from flowcore.runtime.zygote import ScriptZygote


@pytest.fixture
async def connect(tmp_path):
    """A function that gives a new connection with all rights to a real server."""
    server = EmbeddedServer(tmp_path / "bus", nats_port=0, mqtt_port=0)
    user = full_user("host")
    await server.start([user])
    opened = []

    async def connect(inbox: str = "_INBOX") -> Connection:
        connection = Connection(server.url, user=user.name, password=user.password, inbox=inbox)
        await connection.connect(timeout=5)
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        await connection.close()
    await server.stop()


@pytest.fixture
async def drive_script():
    """`drive` for nodes with a script: `drive_script(Function, script=...)`, with its options and config."""
    folder = Path(tempfile.mkdtemp(prefix="flowcore-"))
    zygote = ScriptZygote(folder)
    zygote.start()
    try:
        async with asyncio.timeout(20):
            await zygote.listening.wait()
        yield lambda node, **options: drive(node, extras={"script_socket": zygote.path}, **options)
    finally:
        await zygote.stop()
        shutil.rmtree(folder, ignore_errors=True)
