"""A connection whose server has gone, and one whose bytes come in pieces."""

import asyncio
import random

import pytest
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


@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_order_holds_however_the_bytes_are_cut(tmp_path, loop):
    """Direct subscriptions have a short cut, whole frames alone take it: none may overtake what came in pieces."""
    numbers, cuts = 2000, random.Random(7)

    async def torn(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            while data:
                size = cuts.choice((1, 7, 200, 3000, 60_000))
                sink.write(data[:size])
                await sink.drain()
                data = data[size:]
                await asyncio.sleep(0)
        sink.close()

    async def arrivals() -> tuple[list[int], list[int]]:
        server, user = EmbeddedServer(tmp_path, nats_port=0, mqtt_port=0), full_user("host")
        await server.start([user])

        async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, to = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(torn(there, writer), torn(reader, to))

        proxy = await asyncio.start_server(through, "127.0.0.1", 0)
        port = proxy.sockets[0].getsockname()[1]
        near = Connection(server.url, user=user.name, password=user.password)
        far = Connection(f"nats://127.0.0.1:{port}", user=user.name, password=user.password)
        await asyncio.gather(near.connect(5), far.connect(5))
        heard, usual, all_there = [], [], asyncio.Event()

        def on_message(subject: str, data: bytes, reply: str, headers: bytes) -> None:
            number, _, rest = data.partition(b" ")
            assert rest == b"\r\nMSG " * int(subject[2:])
            heard.append(int(number))

        async def on_other(message) -> None:
            usual.append(int(message.data))
            if len(usual) == numbers:
                all_there.set()

        try:
            await far.subscribe("a.1", on_message)
            await far.subscribe("a.900", on_message)
            await far.client.subscribe("b", cb=on_other)
            await far.flush()
            for number in range(numbers):
                times = 1 if number % 3 else 900
                near.publish(f"a.{times}", b"%d " % number + b"\r\nMSG " * times)
                near.publish("b", b"%d" % number)
            async with asyncio.timeout(30):
                await all_there.wait()
            return heard, usual
        finally:
            await far.close()
            await near.close()
            proxy.close()
            await server.stop()

    assert loop(arrivals()) == (list(range(numbers)), list(range(numbers)))
