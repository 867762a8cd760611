"""A real nats-server for the NATS nodes."""

import pytest

from flowcore.bus.connection import Connection
from flowcore.bus.permissions import full_user
from flowcore.bus.server import EmbeddedServer


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
