"""What the way from the socket to a callback costs a frame: nats-py's, and the short cut of our connections.

    python benchmarks/receive.py [bytes]

A frame of so many bytes (150) arrives, its callback writes the next one to the other end of a socket pair: always one
frame under way, as where a flow is quiet. Printed is the processor time of this thread for each (microseconds, the best
of many rounds: other work only ever adds), with the writing and the kernel's part in it, for

    nats-py      its stream reader and its parser, which then calls the callback at once
    short cut    `flowcore.bus.shortcut` before them
    kernel       reading and writing alone, without an event loop
"""

import asyncio
import socket
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop

from flowcore.bus.connection import _Client
from flowcore.bus.shortcut import ShortCut

_ROUNDS, _FRAMES = 60, 500


class Pingpong:
    """Counts frames; each that arrives sends the next."""

    def __init__(self, size: int) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self._frame = b"MSG flow.line.hot.out.out 7 %d\r\n%s\r\n" % (size, b"x" * size)
        self._left, self._done = 0, asyncio.get_running_loop().create_future()

    def on_message(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        """One came."""
        self._left -= 1
        if self._left:
            self.far.send(self._frame)
        else:
            self._done.set_result(None)

    async def round_us(self) -> float:
        """Microseconds of this thread for each of many frames."""
        self._left, self._done = _FRAMES, asyncio.get_running_loop().create_future()
        begun = time.thread_time()
        self.far.send(self._frame)
        await self._done
        return (time.thread_time() - begun) / _FRAMES * 1e6

    def kernel_us(self) -> float:
        """The same with nothing but the calls of the kernel."""
        begun = time.thread_time()
        for _ in range(_FRAMES):
            self.far.send(self._frame)
            self.near.recv(1 << 16)
        return (time.thread_time() - begun) / _FRAMES * 1e6


async def by_nats_py(ends: Pingpong, has_short_cut: bool = False) -> float:
    """Through the stream reader and the parser."""
    client = _Client()
    client.direct[7] = ends.on_message
    reader, writer = await asyncio.open_connection(sock=ends.near)

    async def read_loop() -> None:
        while data := await reader.read(32768):
            await client._ps.parse(data)

    reading = asyncio.create_task(read_loop())
    if has_short_cut:
        usual = writer.transport.get_protocol()
        writer.transport.set_protocol(ShortCut(client.direct, client._ps, reader, usual))
    best = min([await ends.round_us() for _ in range(_ROUNDS)])
    reading.cancel()
    writer.close()
    return best


async def by_short_cut(ends: Pingpong) -> float:
    """Past them."""
    return await by_nats_py(ends, has_short_cut=True)


async def by_kernel(ends: Pingpong) -> float:
    """No loop."""
    return min(ends.kernel_us() for _ in range(_ROUNDS))


def main() -> None:
    """Measure and print."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 150
    for name, way in {"nats-py": by_nats_py, "short cut": by_short_cut, "kernel": by_kernel}.items():

        async def measured(way: Callable[[Pingpong], Awaitable[float]] = way) -> float:
            return await way(Pingpong(size))

        print(f"{name:9} {uvloop.run(measured()):6.1f} us a frame of {size} bytes")


if __name__ == "__main__":
    main()
