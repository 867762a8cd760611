"""A real nats-server for each test, on free ports, in a folder of its own."""

import pytest

from flowcore.bus.permissions import full_user
from flowcore.bus.server import EmbeddedServer


@pytest.fixture
async def server(tmp_path):
    """A started server; `server.host` is a user with all rights."""
    events = []
    server = EmbeddedServer(tmp_path, nats_port=0, mqtt_port=0, on_event=lambda *event: events.append(event))
    server.host, server.events = full_user("host"), events
    await server.start([server.host])
    yield server
    await server.stop()
