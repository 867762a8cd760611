import asyncio
import codecs
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator

from flowcore.node import Node, NodeConfig, Out, field
from flowcore_nodes.core.log_files import LogFile, find_rest, newer_than

_BLOCK = 64 * 1024
_LARGEST_LINE = 240 * 1024  # an envelope holds 256 KiB


class Tail(Node):
    """Follow a file that grows, such as a log, line by line, through rotation, truncation and restarts.

    As `tail -F`: when the file is renamed, its rest is read before the new one; when it is cut, reading begins anew.
    How far every line was handled is kept. After a restart it goes on there, also in the rotated file where that place
    is then (`app.log.1`, `app.log.1.gz`), and through all that came after it. So no line is lost or comes twice; after
    a kill the last ones, whose place was not yet written down, may come again. A file that is missing is waited for.
    """

    type = "core/tail"
    title = "Tail"
    category = "storage"
    icon = "scroll-text"

    class Config(NodeConfig):
        path: str = field(
            ..., min_length=1, description="The file; a relative path begins where the runtime was started"
        )
        start: Literal["end", "beginning"] = field(
            "end", description="Where the first start ever begins: with lines to come, or with those that are there"
        )
        encoding: str = field("utf-8", description='Such as utf-8 or latin-1; "bytes": payloads are bytes')
        max_line_bytes: int = field(65_536, ge=1, le=_LARGEST_LINE, description="Longest line in bytes")
        poll_s: float = field(0.25, ge=0.01, le=60, description="How often it is looked for more, in seconds")
        rotation_s: float = field(
            1.0, ge=0, le=60, description="How long a renamed file is read on, for who still writes to it, in seconds"
        )

        @field_validator("encoding")
        @classmethod
        def _is_encoding(cls, name: str) -> str:
            if name == "bytes":
                return name
            try:
                codecs.lookup(name)
            except (LookupError, ValueError):
                raise ValueError(f"no encoding {name!r}; usual are utf-8, latin-1, cp1252, or bytes") from None
            if "\n".encode(name) != b"\n" and name != "utf-8-sig":
                raise ValueError(f"lines of {name} can't be told apart")
            return name

    line = Out(description="a line without its end; meta.file, and meta.offset, where it begins, in bytes")

    async def run(self) -> None:
        path = Path(self.config.path)
        file = await self._first(path)
        try:
            while True:
                self.set_status(f"following {file.path.name}")
                async for line, offset in self._lines(file, path):
                    await self._send(file, line, offset)
                following = await asyncio.to_thread(newer_than, file, path)
                file.close()
                file = following[0] if following else await self._when_there(path)
                for other in following[1:]:
                    other.close()
        finally:
            file.close()

    async def _first(self, path: Path) -> LogFile:
        """The file where reading goes on, or begins."""
        saved = self.position or self.state.get("begin")
        if saved is None:
            was_there = path.exists()
            file = await self._when_there(path)
            if was_there and self.config.start == "end":
                await asyncio.to_thread(file.seek_end)
            self.state["begin"] = file.position(file.offset)  # for a kill before the first line is done
            return file
        rest = await asyncio.to_thread(find_rest, path, saved)
        if rest is None:
            self.report(
                LookupError(f"{path}: the file that was read up to byte {saved[2]} is gone: lines of it may be missing")
            )
        return rest or await self._when_there(path)

    async def _when_there(self, path: Path) -> LogFile:
        while True:
            try:
                return await asyncio.to_thread(LogFile, path)
            except OSError as e:
                self.set_status(f"{path}: {e.strerror or e}; waiting for it", "warn")
                await asyncio.sleep(max(self.config.poll_s, 0.05))

    async def _lines(self, file: LogFile, path: Path) -> AsyncIterator[tuple[bytes, int]]:
        """Lines and where they begin, until the file was rotated away and has nothing more."""
        rest, left_s, is_too_long = b"", None, False
        while True:
            block = await asyncio.to_thread(file.read, _BLOCK)
            if block:
                left_s = None
                *lines, rest = (rest + block).split(b"\n")
                offset = file.offset - sum(len(line) + 1 for line in lines) - len(rest)
                for line in lines:
                    if not is_too_long:
                        yield line, offset
                    offset, is_too_long = offset + len(line) + 1, False
                if len(rest) > _LARGEST_LINE + 1:
                    if not is_too_long:
                        yield rest, offset  # to be refused; what follows of it is left out
                    rest, is_too_long = b"", True
                continue
            state = "cut" if block is None else await asyncio.to_thread(file.look, path)
            if state == "cut":
                if rest:
                    yield rest, file.offset - len(rest)
                rest, is_too_long = b"", False
                self.log.info("%s was cut: reading it from its beginning", file.path)
                await asyncio.to_thread(file.restart)
            elif state == "rotated":
                now_s = time.monotonic()
                left_s = left_s or now_s + self.config.rotation_s
                if now_s >= left_s or file.is_finished:
                    if rest:
                        yield rest, file.offset - len(rest)
                    return
                await asyncio.sleep(min(self.config.poll_s, 0.05))
            else:
                await asyncio.sleep(self.config.poll_s)

    async def _send(self, file: LogFile, line: bytes, offset: int) -> None:
        position = file.position(offset + len(line) + 1)
        if len(line) > self.config.max_line_bytes:
            what = f"a line of {len(line)} bytes or more at byte {offset}"
            self.report(ValueError(f"{file.path}: {what}, max_line_bytes is {self.config.max_line_bytes}"))
            return
        payload: Any = line.removesuffix(b"\r")
        if self.config.encoding != "bytes":
            try:
                payload = payload.decode(self.config.encoding)
            except UnicodeDecodeError as e:
                at = offset + e.start
                self.report(ValueError(f"{file.path}: not {self.config.encoding} at byte {at}: {e.reason}"))
                return
        meta = {"file": str(file.path), "offset": offset}
        await self.send(payload, topic=Path(self.config.path).name, meta=meta, position=position)
