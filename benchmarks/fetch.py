"""How fast tensors are fetched from another host: two processes and a nats-server on this machine, by loopback.

    python benchmarks/fetch.py [SECONDS]

Says for frames of two sizes, as they are, with zstd and as JPEG: how small they are on the way, milliseconds for one,
megabytes of frames a second, one fetch after another and four at once. The picture has soft surfaces, edges, and the
noise of a sensor (2 levels of 256). Each frame is a new one, encoded anew.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import uvloop

from flowcore.buffers import Codec, Pools
from flowcore.buffers.fetch import Fetcher
from flowcore.buffers.handle import Handle
from flowcore.buffers.serve import Server
from flowcore.buffers.sources import Shown
from flowcore.bus import subjects
from flowcore.bus.connection import Connection
from flowcore.bus.permissions import full_user
from flowcore.bus.server import EmbeddedServer

SIZES = {"640 x 480": (480, 640, 3), "1920 x 1080": (1080, 1920, 3)}
ENCODINGS = {"as they are": None, "zstd 1": {"kind": "zstd", "level": 1}, "JPEG 90": {"kind": "jpeg", "quality": 90}}
SUBJECT = subjects.fetch("bench", "camera", "frame", 1)
HELD = 16  # frames that the camera holds, as un-acked messages do


def picture(shape: tuple[int, ...]) -> np.ndarray:
    """Surfaces, edges, and noise."""
    rows, columns = np.indices(shape[:2])
    soft = (rows * 120 / shape[0] + columns * 80 / shape[1])[..., None] + (0, 15, 30)
    soft[shape[0] // 3 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] += 60
    return np.clip(soft + np.random.default_rng(1).normal(0, 2, shape), 0, 255).astype(np.uint8)


async def connected(url: str, password: str) -> Connection:
    """A connection with all rights."""
    connection = Connection(url, user="bench", password=password)
    await connection.connect(timeout=5)
    return connection


async def camera(url: str, password: str) -> None:
    """The process that is asked: a new frame each time one is wanted, as `shot.<size>`."""
    bus = await connected(url, password)
    codec, shown = Codec(Pools(1 << 30)), Shown()
    pictures = [picture(shape) for shape in SIZES.values()]
    held: deque[object] = deque(maxlen=HELD)

    def shoot(subject: str, data: bytes, reply: str, headers: bytes) -> None:
        packed = codec.pack(pictures[int(subject.removeprefix("shot."))])
        taken = codec.taken
        shown.add("frame", taken)
        held.append(taken)
        bus.publish(reply, codec.unpack(packed).handle.packed())

    server = Server(
        publish=bus.publish,
        unsent=lambda: bus.unsent_bytes,
        max_payload=lambda: bus.max_payload,
        find=codec.lease,
        shown=shown,
        may_answer=lambda reply: True,
    )
    await bus.subscribe(SUBJECT, server.on_request)
    await bus.subscribe("shot.*", shoot)
    await asyncio.Event().wait()


@asynccontextmanager
async def two_processes() -> AsyncIterator[Connection]:
    """The bus, the camera beside it, and a connection here."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder), nats_port=0, mqtt_port=0)
        user = full_user("bench")
        await server.start([user])
        other = await asyncio.create_subprocess_exec(sys.executable, __file__, server.url, user.password)
        bus = await connected(server.url, user.password)
        try:
            yield bus
        finally:
            await bus.close()
            other.kill()
            await other.wait()
            await server.stop()


async def shot(bus: Connection, size: int) -> Handle:
    """A new frame of the camera, once that is there."""
    while True:
        try:
            return Handle.unpack(await bus.request(f"shot.{size}", b""))
        except TimeoutError:
            await asyncio.sleep(0.05)


async def measure(
    bus: Connection, fetcher: Fetcher, size: int, encoding: dict | None, at_once: int, seconds: float
) -> tuple[float, float, float]:
    """Fetch for some seconds: megabytes a second, milliseconds for one, bytes on the way for each byte."""
    took_s: list[float] = []
    nbytes = 0
    until_s = time.perf_counter() + seconds

    async def one_after_another() -> None:
        nonlocal nbytes
        while time.perf_counter() < until_s:
            handle = await shot(bus, size)
            began_s = time.perf_counter()
            await fetcher.fetch(SUBJECT, handle, encoding)
            took_s.append(time.perf_counter() - began_s)
            nbytes += handle.nbytes

    began_s, came_bytes = time.perf_counter(), fetcher.came_bytes
    await asyncio.gather(*(one_after_another() for _ in range(at_once)))
    share = (fetcher.came_bytes - came_bytes) / nbytes
    return nbytes / (time.perf_counter() - began_s) / 1e6, statistics.median(took_s) * 1000, share


async def main(seconds: float) -> None:
    """Print the table."""
    async with two_processes() as bus:
        fetcher = Fetcher(bus, "_INBOX_bench")
        print(f"{'frames':12} {'sent':12} {'of its size':>11} {'ms':>7} {'MB/s':>6} {'MB/s, four at once':>20}")
        for index, size in enumerate(SIZES):
            for name, encoding in ENCODINGS.items():
                await measure(bus, fetcher, index, encoding, 1, 0.3)
                mb_s, ms, share = await measure(bus, fetcher, index, encoding, 1, seconds)
                four_mb_s, _, _ = await measure(bus, fetcher, index, encoding, 4, seconds)
                print(f"{size:12} {name:12} {share:11.0%} {ms:7.1f} {mb_s:6.0f} {four_mb_s:20.0f}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        os.environ.setdefault("FLOWCORE_HOST_ID", "camera")
        uvloop.run(camera(*sys.argv[1:]))
    else:
        uvloop.run(main(float(sys.argv[1]) if sys.argv[1:] else 2.0))
