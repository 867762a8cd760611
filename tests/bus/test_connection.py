"""A connection whose server has gone."""

import asyncio

import uvloop

from flowcore.bus.connection import Connection
from flowcore.bus.permissions import full_user
from flowcore.bus.server import EmbeddedServer


def test_publishing_while_the_server_dies_raises_nothing(tmp_path):
    """uvloop raises where asyncio only warns, in the moment between the socket's end and nats-py's hearing of it."""

    async def publish_through_a_death() -> list[bool]:
        server, user = EmbeddedServer(tmp_path, nats_port=0, mqtt_port=0), full_user("host")
        await server.start([user])
        connection = Connection(server.url, user=user.name, password=user.password)
        await connection.connect(5)
        try:
            connection.client._transport._io_writer.transport.abort()
            sent = []
            for _ in range(5):  # turns of the event loop
                sent.append(connection.publish("flow.f.n.out.out", b"1"))
                await asyncio.sleep(0)
            return sent
        finally:
            await connection.close()
            await server.stop()

    assert uvloop.run(publish_through_a_death())[-1] is False
