"""`flowcore service`, and what a service manager hears of `flowcore up`: the test plays systemd."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys

import psutil
import pytest

NEEDS_SYSTEMD = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed (Debian: systemd)"
)


def _verified(file, *scope) -> str:
    """What systemd itself reads in a unit; it finds nothing wrong."""
    env = {**os.environ, "SYSTEMD_LOG_LEVEL": "debug", "XDG_RUNTIME_DIR": str(file.parent)}
    ran = subprocess.run(["systemd-analyze", *scope, "verify", file], capture_output=True, text=True, env=env)
    complaints = [line for line in ran.stderr.splitlines() if line.startswith(f"{file}:") or "not executable" in line]
    assert ran.returncode == 0 and not complaints, ran.stderr[-3000:]
    return ran.stdout


@NEEDS_SYSTEMD
@pytest.mark.parametrize("scope", ["--user", "--system"])
async def test_systemd_reads_the_unit_as_it_was_meant(flowcore, tmp_path, scope):
    """A folder and arguments with everything that means something to systemd in them; the drain fits into its time."""
    folder = tmp_path / "a b%h\"c$HOME\\d'e"
    (folder / "fl $o%ws").mkdir(parents=True)
    system = ["--system", "--as", "daemon"] if scope == "--system" else []
    up = ["--watch", "fl $o%ws", "--drain", "12.5", "--data", "d\\a;ta"]
    ran = await flowcore("service", "install", "--in", folder, "--dry-run", *system, "--", *up)
    unit = tmp_path / "line1.service"
    unit.write_text(ran.out)
    read = _verified(unit, scope)
    fields = dict(line.strip().partition(": ")[::2] for line in read.splitlines() if ": " in line)
    assert fields["WorkingDirectory"] == str(folder)
    words = fields["Command Line"].replace("\\$", "$")
    assert words.startswith(sys.executable) and ' "fl $$o%ws" --drain 12.5 --data "d\\\\a;ta"' in words
    assert (fields["KillMode"], fields["OOMPolicy"], fields["WatchdogSec"]) == ("mixed", "continue", "30s")
    assert fields["TimeoutStopSec"] == "33s" and fields["Type"] == "notify"
    assert ("User: daemon" in read) == bool(system)


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        (["--", "--wach", "flows"], 2, "No such option: --wach"),
        (["--", "--watch", "nowhere"], 1, "nowhere: no such file or folder"),
        (["--", "--table"], 2, "--table needs a terminal"),
        (["--name", "a b"], 2, "no name of a service"),
        (["--as", "nobody"], 2, "--as is for --system"),
        (["--system", "--as", "no-such-user-here"], 1, "no such user"),
        (["--in", "nowhere"], 1, "no such folder"),
    ],
)
async def test_what_cannot_run_is_refused_before_anything_is_written(flowcore, args, status, says):
    """As `up` itself would, but now, and not at the next boot."""
    flowcore.env["XDG_CONFIG_HOME"] = str(flowcore.folder / "config")
    ran = await flowcore("service", "install", *args, status=status)
    assert says in ran.err and ran.err.count("\n") == 1
    assert not (flowcore.folder / "config").exists()


async def test_install_and_uninstall(flowcore, tmp_path):
    """What systemctl is told, in order, by a stand-in for it (no manager runs here); others' units stay."""
    flowcore.env["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    flowcore.env["PATH"] = f"{tmp_path / 'bin'}:{flowcore.env['PATH']}"
    told = tmp_path / "told"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {told}\necho ActiveState=active\n')
    (tmp_path / "bin" / "systemctl").chmod(0o755)
    made = (await flowcore("service", "install", "--name", "line1", "--json")).json
    unit = tmp_path / "config" / "systemd" / "user" / "line1.service"
    assert made["unit"] == str(unit) and made["started"]
    assert f"WorkingDirectory={tmp_path}\n" in unit.read_text()
    assert told.read_text().splitlines() == ["--user daemon-reload", "--user enable line1", "--user restart line1"]
    assert (await flowcore("service", "status", "--name", "line1", "--json")).json["ActiveState"] == "active"
    await flowcore("service", "uninstall", "--name", "line1")
    assert not unit.exists() and "--user disable --now line1\n--user daemon-reload" in told.read_text()
    assert "is not there" in (await flowcore("service", "status", "--name", "line1", status=1)).err
    unit.write_text("[Service]\n")
    for command in ("install", "uninstall"):
        assert "not written by flowcore" in (await flowcore("service", command, "--name", "line1", status=1)).err
    assert unit.read_text() == "[Service]\n"


class Manager:
    """The notification socket of a service manager; its address is abstract, as that of a container's manager."""

    def __init__(self, name: str) -> None:
        self.address = f"@flowcore-test-{name}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.address[1:])
        self._socket.setblocking(False)

    async def hears(self, text: str, timeout_s: float = 40.0) -> list[str]:
        """Wait until a datagram holds `text`; returns all datagrams up to it."""
        heard: list[str] = []
        async with asyncio.timeout(timeout_s):
            while not heard or text not in heard[-1]:
                heard.append((await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode())
        return heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager():
    made = Manager(str(os.getpid()))
    yield made
    made.close()


async def test_a_service_manager_hears_how_the_host_is(flowcore, demo, manager):
    """READY=1 when flows run; WATCHDOG=1 only while the bus answers; STOPPING=1 at SIGTERM; nobody speaks for it."""
    flowcore.write(demo, "flows/demo.json")
    flowcore.env |= {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "2000000"}
    up = await flowcore.start("up", "--watch", "flows", "--nats-port", 0, "--mqtt-port", 0)
    before = await manager.hears("READY=1")
    assert before[0] == "STATUS=starting" and any("EXTEND_TIMEOUT_USEC=60000000" in one for one in before)
    assert not any("WATCHDOG=1" in one for one in before)
    assert "STATUS=1 flow, 2 of 2 nodes running" in before[-1]
    loop, begun = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    for _ in range(3):
        await manager.hears("WATCHDOG=1")
    assert loop.time() - begun < 2 * 3, "twice in the time the manager allows"
    children = psutil.Process(up.pid).children(recursive=True)
    assert len(children) >= 4
    assert not any({"NOTIFY_SOCKET", "WATCHDOG_USEC"} & child.environ().keys() for child in children)
    (server,) = [child for child in children if child.name() == "nats-server"]
    server.suspend()
    try:
        await manager.hears("STATUS=the bus at nats://127.0.0.1:")
        assert not [one for one in await manager.hears("does not answer") if "WATCHDOG=1" in one]
    finally:
        server.resume()
    await manager.hears("WATCHDOG=1")
    up.send_signal(signal.SIGTERM)
    assert "STATUS=draining" in (await manager.hears("STOPPING=1"))[-1]
    assert await asyncio.wait_for(up.wait(), 30) == 0


async def test_a_member_is_ready_while_its_bus_is_away(flowcore, manager):
    """A boot does not wait for another machine, and a watchdog does not end what waits for one."""
    flowcore.env |= {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1000000"}
    up = await flowcore.start("up", "--host", "edge1", "--nats", "nats://edge1:x@127.0.0.1:1")
    assert "READY=1\nSTATUS=waiting for the bus" in await manager.hears("READY=1")
    await manager.hears("WATCHDOG=1")
    up.send_signal(signal.SIGTERM)
    await manager.hears("STOPPING=1")
    assert await asyncio.wait_for(up.wait(), 30) == 0


def test_a_manager_that_went_away_disturbs_nobody(tmp_path):
    """Whoever listened is gone: what is told goes nowhere."""
    from flowcore.runtime.host import Host
    from flowcore.runtime.notify import Notifier
    from flowcore.runtime.options import HostOptions

    async def told() -> None:
        environ = {"NOTIFY_SOCKET": str(tmp_path / "gone"), "OTHER": "1"}
        notifier = Notifier(Host(HostOptions(folder=tmp_path)), environ)
        notifier.start()
        notifier.ready()
        notifier.stop()
        assert environ == {"OTHER": "1"}

    asyncio.run(told())
