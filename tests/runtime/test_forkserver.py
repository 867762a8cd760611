"""The fork server: fast children that know nothing of each other, and nothing left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flowcore.runtime.forkclient import ForkServer
from flowcore.runtime.link import Link
from flowcore.runtime.output import Lines
from flowcore.runtime.page import Page

RUNNER = "fake_runner"
ENVIRON = {"PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[2]}", "PATH": os.environ["PATH"]}


@pytest.fixture
async def server():
    lines = []
    server = ForkServer(runner=RUNNER, environ=ENVIRON, on_line=lines.append)
    await server.start()
    yield server
    await server.stop()
    assert lines == []


async def forked(server, **config):
    fd, page = Page.create("t")
    frames = asyncio.Queue()
    spec = {"process": "t", "config": config, "wires_in": []}
    child = await server.fork("t", spec, fd)
    os.close(fd)
    link = await Link.open(child.link, frames.put_nowait)
    return child, link, page, frames


@pytest.mark.alone
async def test_a_child_gets_its_spec_and_says_it_is_ready(server):
    """A fork is ready within 100 ms even on a busy machine, and its page is shared."""
    begun = time.perf_counter()
    child, link, page, frames = await forked(server)
    assert (await asyncio.wait_for(frames.get(), 5))["op"] == "ready"
    assert time.perf_counter() - begun < 1
    assert page.state == 1 and page.beat_ns > 0
    link.send("stop")
    assert (await asyncio.wait_for(frames.get(), 5))["op"] == "bye"
    assert await asyncio.wait_for(child.ended, 5) == 0


async def test_a_child_has_only_its_own_descriptors(server):
    """Link, page pipes and standard streams; nothing of the server or of a sibling."""
    await forked(server)
    child, _, _, frames = await forked(server)
    await asyncio.wait_for(frames.get(), 5)
    named = {str(fd.readlink()) for fd in Path(f"/proc/{child.pid}/fd").iterdir()}
    kinds = sorted(name.split(":")[0].split("/")[-1] for name in named)
    assert kinds.count("socket") <= 3  # the link, and the event loop's own pair
    assert f"socket:[{os.fstat(server._control.fileno()).st_ino}]" not in named


async def test_what_a_child_prints_comes_as_lines(server):
    child, link, _, _ = await forked(server)
    lines = asyncio.Queue()
    await Lines.read(child.out_fd, lines.put_nowait)
    assert await asyncio.wait_for(lines.get(), 5) == "hello from t"
    link.send("burn")
    assert await asyncio.wait_for(child.ended, 5) == 3


async def test_children_die_with_the_server_and_the_next_fork_starts_another(server):
    """kill -9 of the server ends its children, and the machine goes on."""
    child, _, _, frames = await forked(server)
    await asyncio.wait_for(frames.get(), 5)
    first = server.pid
    os.kill(first, signal.SIGKILL)
    assert await asyncio.wait_for(child.ended, 5) == -signal.SIGKILL
    child, _, _, frames = await forked(server)
    assert (await asyncio.wait_for(frames.get(), 5))["op"] == "ready"
    assert server.pid != first


HOST = """
import asyncio, os, sys
from flowcore.runtime.forkclient import ForkServer
from flowcore.runtime.page import Page

async def main():
    server = ForkServer(runner="fake_runner")
    fd, page = Page.create("t")
    child = await server.fork("t", {"process": "t", "config": {}, "wires_in": []}, fd)
    print(server.pid, child.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_no_orphans_after_kill_9_of_the_host():
    """The server and its children are gone a moment after their host."""
    host = subprocess.Popen([sys.executable, "-c", HOST], env=ENVIRON, stdout=subprocess.PIPE)  # noqa: ASYNC220
    pids = [int(word) for word in host.stdout.readline().split()]
    pidfds = [os.pidfd_open(pid) for pid in pids]
    host.kill()
    host.wait()
    loop = asyncio.get_running_loop()
    for fd in pidfds:
        gone = asyncio.Event()
        loop.add_reader(fd, gone.set)
        await asyncio.wait_for(gone.wait(), 5)
        loop.remove_reader(fd)
        os.close(fd)


async def test_sixty_forks_at_once_are_all_answered(server):
    """Requests queue up in the socket; none is lost, all children end."""
    children = await asyncio.gather(*(forked(server) for _ in range(60)))
    for _, _, _, frames in children:
        assert (await asyncio.wait_for(frames.get(), 20))["op"] == "ready"
    for _, link, _, _ in children:
        link.send("stop")
    assert {await asyncio.wait_for(child.ended, 20) for child, *_ in children} == {0}
