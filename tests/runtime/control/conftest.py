"""A real host with its control services, shared by the tests of this folder; each test has flows of its own."""

import asyncio
import json

import pytest

from flowcore.client import connect
from flowcore.runtime.control import ControlServices
from flowcore.runtime.host import Host
from flowcore.runtime.options import HostOptions


@pytest.fixture(scope="session")
def control_loop():
    """One event loop for the host that all tests of this folder share."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


class Asked:
    """Asks the shared host, from a test that is not async itself."""

    def __init__(self, loop, host, client):
        self.loop, self.host, self.client = loop, host, client

    def do(self, coroutine, timeout=60):
        """Run a coroutine on the host's loop."""
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, timeout))

    def __call__(self, operation, **request):
        """Ask a control service over the bus."""
        return self.do(self.client.call(operation, **request))

    def deploy(self, document, **more):
        """Deploy one document and return what it did."""
        return self("deploy", documents=[{"document": document, "file": f"{document['id']}.json"}], **more)["flows"][0]

    def sees(self, subject, act, count=1):
        """The payloads of the first messages on a subject after `act()` was called."""

        async def run():
            async with self.client.subscribe(subject) as messages:
                await act()
                return [(await messages.next(15)).payload for _ in range(count)]

        return self.do(run())

    def until(self, look, timeout=15):
        """Look again and again, with turns for the host, until it is true."""

        async def run():
            while True:
                if found := look():
                    return found
                await asyncio.sleep(0.02)

        return self.do(run(), timeout)


@pytest.fixture(scope="session")
def ask(control_loop, tmp_path_factory):
    """The shared host, to be asked: `ask("status", flow="a")`."""
    folder = tmp_path_factory.mktemp("control")

    async def start():
        host = Host(HostOptions(folder=folder, nats_port=0, mqtt_port=0))
        await host.start()
        services = ControlServices(host)
        await services.start()
        client = connect(folder)
        await client.open()
        return host, services, client

    host, services, client = control_loop.run_until_complete(start())
    yield Asked(control_loop, host, client)

    async def stop():
        await client.close()
        await services.stop()
        await host.stop(1)

    control_loop.run_until_complete(stop())


@pytest.fixture
def flow(request):
    """A document with an id of its own: two nodes that pass what is put into the first."""
    id_ = request.node.name.removeprefix("test_")[:60].replace("[", "-").replace("]", "")
    return {
        "flowcore": 1,
        "id": id_.lower(),
        "nodes": [
            {"id": "band", "type": "core/deadband", "config": {"band": 1.0}},
            {"id": "show", "type": "core/debug"},
        ],
        "wires": [{"from": "band.changed", "to": "show.in"}],
    }


def changed(document, **config):
    """The document with another config of node `band`."""
    copy = json.loads(json.dumps(document))
    copy["nodes"][0]["config"] = config
    return copy
