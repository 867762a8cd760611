"""NATS micro services: discovered by other tools, and never a way to publish where the caller may not."""

import asyncio
import json

import nats
import pytest

from flowcore.bus.connection import Connection
from flowcore.bus.services import Service, is_inbox


@pytest.fixture
async def service(server):
    """A service with an endpoint that answers, one that refuses and one that is slow."""
    connection = Connection(server.url, user="host", password=server.host.password)
    await connection.connect(timeout=5)
    service = Service(connection, name="flowcore", version="0.1.0", description="test")
    release = asyncio.Event()

    async def echo(data):
        return data, None

    async def refuse(data):
        return b"{}", ("refused", "two\nlines")

    async def slow(data):
        await release.wait()
        return b"late", None

    for answer in (echo, refuse, slow):
        service.add(answer.__name__, f"flowcore.{answer.__name__}", answer, {"k": "v"})
    await service.start()
    service.release, service.connection = release, connection
    yield service
    await service.stop()
    await connection.close()


@pytest.fixture
async def caller(server):
    """An ordinary NATS client."""
    client = await nats.connect(server.url, user="host", password=server.host.password)
    yield client
    await client.close()


async def test_services_are_discovered_and_answer(service, caller):
    """The `nats` tool asks `$SRV.INFO` and calls the subjects it finds there."""
    info = json.loads((await caller.request("$SRV.INFO.flowcore", b"")).data)
    assert {endpoint["subject"] for endpoint in info["endpoints"]} == {
        "flowcore.echo",
        "flowcore.refuse",
        "flowcore.slow",
    }
    assert (await caller.request("flowcore.echo", b"hello")).data == b"hello"
    refused = await caller.request("flowcore.refuse", b"")
    assert refused.headers["Nats-Service-Error-Code"] == "refused"
    assert refused.headers["Nats-Service-Error"] == "two lines"


async def test_a_slow_request_holds_up_nobody(service, caller):
    """Requests are worked on side by side, also on one endpoint."""
    slow = asyncio.create_task(caller.request("flowcore.slow", b"", timeout=5))
    assert (await caller.request("flowcore.echo", b"1")).data == b"1"
    service.release.set()
    assert (await slow).data == b"late"


@pytest.mark.parametrize("subject", ["flowcore.echo", "$SRV.PING", "$SRV.INFO.flowcore"])
async def test_an_answer_goes_to_an_inbox_only(service, caller, subject):
    """A caller cannot have the host publish on a wire by naming it as reply subject."""
    forged = []

    async def note(message):
        forged.append(message)

    await caller.subscribe("wire.>", cb=note)
    await caller.publish(subject, b"evil", reply="wire.factory.a.out.b.in.ack")
    assert (await caller.request("flowcore.echo", b"after")).data == b"after"
    await caller.flush()
    assert forged == []


async def test_the_service_follows_a_connection_that_was_made_anew(service, caller):
    """nats-py gives a client up for good on some errors; the services are there again on the next one."""
    await service.connection.client.close()
    async with asyncio.timeout(10):
        while True:
            try:
                answer = await caller.request("flowcore.echo", b"again", timeout=0.5)
                break
            except nats.errors.Error:
                await asyncio.sleep(0.05)
    assert answer.data == b"again"


def test_what_is_an_inbox():
    """Users' own inboxes and nats's default; nothing else, no wildcards."""
    assert is_inbox("_INBOX_cli.x.y") and is_inbox("_INBOX.abc")
    assert not any(map(is_inbox, ["", "wire.a", "flow._INBOX_x", "_INBOX.*", "_INBOX_a.>", "_INBOXx"]))
