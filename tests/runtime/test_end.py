"""How a host ends: in order, at once, or by kill -9; nothing is left behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from line_flow import chain, lines_of

PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from flowcore.runtime.host import Host
from flowcore.runtime.options import HostOptions
from flowcore.runtime.signals import run_until_stopped

async def main():
    host = Host(HostOptions(folder=Path(sys.argv[1]), nats_port=0, mqtt_port=0, drain_s=float(sys.argv[3])))
    async def deploy():
        await host.documents.deploy(Path(sys.argv[2]).read_text(), "line.json")
        print("up", flush=True)
    def started(host):
        host.deploying = asyncio.create_task(deploy())
    left = await run_until_stopped(host, started)
    print(json.dumps([[one.wire, one.unacked] for one in left]), flush=True)

asyncio.run(main())
"""


@pytest.fixture
async def program(tmp_path, site):
    """Starts a host as a process of its own with the line running."""
    started = []

    async def start(drain_s=10.0, **configs):
        (tmp_path / "line.json").write_text(chain(tmp_path / "out", **configs))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, str(tmp_path / "data"), str(tmp_path / "line.json"), str(drain_s)),
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert (await asyncio.wait_for(process.stdout.readline(), 30)).strip() == b"up"
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


def family(pid):
    """A process and all below it: nats-server, fork servers, nodes."""
    return psutil.Process(pid).children(recursive=True)


async def all_gone(processes, timeout=5.0):
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, timeout)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


async def test_no_orphans_after_kill_9_of_the_host(program, tmp_path):
    """nats-server, fork server and every node are gone a moment later, and the next host starts on the folder."""
    process = await program()
    below = family(process.pid)
    assert len(below) >= 5
    process.kill()
    assert await all_gone(below)
    process = await program()
    assert await lines_of(tmp_path / "out", 300)


async def test_sigterm_drains_and_ends(program, tmp_path):
    """Sources stop, wires drain, nothing is named, status 0, run.json is gone."""
    process = await program(count={"to": 100000, "pause_s": 0.001})
    await lines_of(tmp_path / "out", 50)
    below = family(process.pid)
    process.terminate()
    out = await asyncio.wait_for(process.stdout.read(), 20)
    assert json.loads(out) == [] and await process.wait() == 0
    assert await all_gone(below) and not (tmp_path / "data" / "run.json").exists()
    numbers = await lines_of(tmp_path / "out", 50)
    assert numbers == list(range(1, len(numbers) + 1))


async def test_a_second_signal_ends_at_once(program, tmp_path):
    """A drain that would take long (a handler that is stopped) is cut short."""
    process = await program(drain_s=60.0, count={"to": 100000, "pause_s": 0.001})
    await lines_of(tmp_path / "out", 50)
    below = family(process.pid)
    run = json.loads((Path(tmp_path) / "data" / "run.json").read_text())
    assert run["pid"] == process.pid
    for node in below:
        if node.name() == "write":
            node.suspend()
    process.send_signal(signal.SIGINT)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(process.wait(), 1.0)
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 5) == 128 + signal.SIGINT
    assert await all_gone(below)


async def test_a_subprocess_of_a_node_dies_with_the_node(program, tmp_path):
    """The fork server kills a dead node's process group."""
    process = await program()
    groups = {os.getpgid(node.pid) for node in family(process.pid) if node.name() in ("count", "add", "write")}
    assert len(groups) == 3
