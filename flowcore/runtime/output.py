"""What a process prints, as lines: read from a pipe without ever blocking the process or flooding the host."""

import asyncio
import os
import time
from collections.abc import Callable

MAX_LINE = 8192
LINES_PER_S, BURST = 200, 1000


class Lines(asyncio.Protocol):
    """Calls `on_line` for each line; past LINES_PER_S (after a burst) lines are dropped, and their number said."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""
        self._allowance, self._at = float(BURST), time.monotonic()
        self._dropped = 0
        self._transport: asyncio.BaseTransport | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def read(cls, fd: int, on_line: Callable[[str], None]) -> "Lines":
        """Read the pipe `fd` to its end; the descriptor is ours from here on."""
        pipe = os.fdopen(fd, "rb", 0)
        _, lines = await asyncio.get_running_loop().connect_read_pipe(lambda: cls(on_line), pipe)
        return lines

    def close(self) -> None:
        """Stop reading."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._say(line)
        if len(self._rest) > MAX_LINE:
            self._say(self._rest)
            self._rest = b""

    def connection_lost(self, exc: Exception | None) -> None:
        if self._rest:
            self._say(self._rest)
        self._say_dropped()
        if not self.ended.done():
            self.ended.set_result(None)

    def _say(self, line: bytes) -> None:
        now = time.monotonic()
        self._allowance = min(self._allowance + (now - self._at) * LINES_PER_S, BURST)
        self._at = now
        if self._allowance < 1:
            self._dropped += 1
            return
        self._say_dropped()
        self._allowance -= 1
        text = line[:MAX_LINE].decode(errors="backslashreplace").rstrip()
        if text:
            self._on_line(text)

    def _say_dropped(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._on_line(f"[{dropped} lines were dropped: more than {LINES_PER_S} a second]")
