"""A host in this process on free ports, with a plug-in of its own that tests may edit."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from line_flow import install


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """The file of nodes of an installed plug-in."""
    file = install(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))
    return file


@pytest.fixture
async def make_host(tmp_path, plugin):
    """Starts hosts on one data folder, one after the other; stops what still runs."""
    from flowcore.runtime.host import Host
    from flowcore.runtime.options import HostOptions

    hosts = []

    async def make(**options):
        options = {"folder": tmp_path / "data", "nats_port": 0, "mqtt_port": 0, "drain_s": 5.0, **options}
        host = Host(HostOptions(**options))
        await host.start()
        hosts.append(host)
        return host

    yield make
    for host in hosts:
        if not host.stopping:
            await host.stop(drain_s=0)


@pytest.fixture
async def host(make_host):
    return await make_host()
