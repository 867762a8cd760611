"""What every peer is: started, fed or asked what it has, and killed."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.ports import free_port


class Peer:
    """The other side. `start` returns when it is there; after `stop` it is at once not.

    Attributes:
        config: of the node.
        node: what is drilled, as `drive` gives it, once it runs.
    """

    config: dict[str, Any]
    node: Any

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()

    async def start(self) -> None:
        """See the class."""

    async def stop(self) -> None:
        """See the class."""

    async def remove(self) -> None:
        """It is not started again: leave nothing behind."""

    async def got(self) -> set[int]:
        """The numbers that are with it."""
        return set()

    async def feed(self, numbers: range) -> None:
        """Have it send these."""

    async def caught_up(self) -> None:
        """Wait until it has what the node has taken, where a node takes more than that."""

    @contextlib.asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """What else runs while the node does."""
        yield


class Process(Peer):
    """A program that listens at its port."""

    command: tuple[str, ...] = ()

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(sys.executable, *self.command)
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                return writer.close()
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self._process.kill()
        await self._process.wait()


class Gate:
    """A port that leads to another one while it is open: for who has to make things ready before it is seen."""

    def __init__(self, port: int, to: int) -> None:
        self._port, self._to = port, to
        self._lines: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Let them in."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self._port)

    async def close(self) -> None:
        """End all connections, and let nobody in."""
        self._server.close()
        for line in self._lines:
            line.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, to = await asyncio.open_connection("127.0.0.1", self._to)
        both = {writer, to}
        self._lines |= both
        try:
            await asyncio.gather(_copy(reader, to), _copy(behind, writer))
        finally:
            self._lines -= both


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while part := await reader.read(1 << 16):
            writer.write(part)
            await writer.drain()
    writer.close()
