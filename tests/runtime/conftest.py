"""A host in this process on free ports, with a plug-in that tests share, or may edit when they ask for `plugin`."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from line_flow import NODES, install


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Installs a package that nobody edits and returns its folder: once, so that its node types are read once."""
    folders = {}

    def one(name="hosttest", nodes=NODES):
        if (name, nodes) not in folders:
            folders[name, nodes] = folder = tmp_path_factory.mktemp("site")
            install(folder, name, nodes)
            for path in folder.rglob("*"):  # the list of what was just written would not be kept
                os.utime(path, (path.stat().st_mtime - 60,) * 2)
        return folders[name, nodes]

    return one


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """The file of nodes of a plug-in that is this test's alone."""
    file = install(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))
    return file


@pytest.fixture
def site(request, monkeypatch):
    """The folder with the plug-in that hosts find."""
    if "plugin" in request.fixturenames:
        return request.getfixturevalue("plugin").parents[1]
    folder = request.getfixturevalue("installed")()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    return folder


@pytest.fixture
async def make_host(tmp_path, site):
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
