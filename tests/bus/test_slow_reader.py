"""A subscriber that stops reading harms itself only."""

import asyncio
import signal
import sys
import time

import pytest

from flowcore.bus.connection import Connection

pytestmark = pytest.mark.alone

_READER = """
import asyncio, sys
from flowcore.bus.connection import Connection

async def main():
    url, user, password = sys.argv[1:]
    cut = asyncio.Event()
    reader = Connection(url, user=user, password=password, on_down=cut.set)
    await reader.connect(5)
    await reader.subscribe("flow.>", lambda *_: None)
    await reader.flush()
    print("ready", flush=True)
    await cut.wait()
    print("cut", flush=True)

asyncio.run(main())
"""


async def test_a_stopped_reader_is_cut_off_and_nobody_waits_for_it(server):
    """SIGSTOP under 30 MB/s: no round trip of the publisher takes 0.5 s, and the reader finds itself cut off."""
    user = server.host
    reader = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _READER, server.url, user.name, user.password, stdout=asyncio.subprocess.PIPE
    )
    assert await reader.stdout.readline() == b"ready\n"
    publisher = Connection(server.url, user=user.name, password=user.password)
    await publisher.connect(5)
    log, longest, body = server.folder / "server.log", 0.0, bytes(16_000)
    reader.send_signal(signal.SIGSTOP)
    async with asyncio.timeout(20):
        while "Slow Consumer Detected" not in log.read_text():
            began = time.monotonic()
            for _ in range(20):
                publisher.publish("flow.f.n.out.out", body)
            await publisher.flush()
            longest = max(longest, time.monotonic() - began)
            await asyncio.sleep(0.01)  # the rate, not a wait
    reader.send_signal(signal.SIGCONT)
    assert await asyncio.wait_for(reader.stdout.readline(), 10) == b"cut\n"
    assert longest < 0.5
    await reader.wait()
    await publisher.close()
