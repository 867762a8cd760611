import asyncio
import codecs
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import field_validator, model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field

_BLOCK = 256 * 1024
_LARGEST_MESSAGE = 240 * 1024  # an envelope holds 256 KiB


class FileIn(Node):
    """Read a file: line by line, as a whole, or in chunks of bytes; once, or whenever a message asks for one.

    At start it reads `path` and remembers how far everything was handled: after a restart, or a kill, it reads on
    there. A file that is missing is waited for. With `read` = message it reads for each message that comes in the file
    at `path`, or the one the message names. A line that is too long or not in the encoding is an error, and left out.
    """

    type = "core/file-in"
    title = "File in"
    category = "storage"
    icon = "file-input"
    outside = True

    class Config(NodeConfig):
        path: str = field(
            "", description="The file; a relative path begins where the runtime was started", dynamic=True
        )
        read: Literal["start", "message"] = field(
            "start",
            description="Once when the flow starts, or for each message (its payload is the path when `path` is empty)",
        )
        output: Literal["lines", "whole", "chunks"] = field(
            "lines", description="One message a line, a file, or a chunk"
        )
        encoding: str = field("utf-8", description='Of text, such as utf-8 or latin-1; "bytes": payloads are bytes')
        chunk_bytes: int = field(65_536, ge=1, le=_LARGEST_MESSAGE, description="Size of a chunk in bytes")
        max_line_bytes: int = field(65_536, ge=1, le=_LARGEST_MESSAGE, description="Longest line in bytes")
        resume: bool = field(True, description="Read on after a restart; off: from the beginning each time")
        retry_s: float = field(5.0, gt=0, le=3600, description="How often a missing file is looked for, in seconds")

        @field_validator("encoding")
        @classmethod
        def _is_encoding(cls, name: str) -> str:
            if name != "bytes":
                try:
                    codecs.lookup(name)
                except (LookupError, ValueError):
                    raise ValueError(f"no encoding {name!r}; usual are utf-8, latin-1, cp1252, or bytes") from None
            return name

        @model_validator(mode="after")
        def _lines_can_be_told_apart(self) -> "FileIn.Config":
            name = self.encoding
            if self.output == "lines" and name not in ("bytes", "utf-8-sig") and "\n".encode(name) != b"\n":
                raise ValueError(f"lines of {name} can't be told apart; use output = whole")
            return self

    in_ = In(description="asks for a file, with read = message")
    out = Out(description="a line, a chunk, or a whole file; meta.file, and meta.line or meta.offset")

    async def run(self) -> None:
        if self.config.read != "start":
            return
        try:
            await self._read_once()
        except (GiveUp, ValueError) as e:  # trying again would not help
            self.report(e)
            self.set_status(str(e), "error")

    async def _read_once(self) -> None:
        if not self.config.path:
            raise GiveUp("no path is set")
        path = Path(self.setting("path"))
        offset, number = self._resume_at(path)
        opened = await self._open_when_there(path, offset)
        self.set_status(f"reading {path.name}", "busy")
        try:
            async for part in _Reader(self, opened, str(path), offset, number):
                await self.send(part.payload, topic=path.name, meta=part.meta, position=part.position)
        finally:
            opened.close()
        self.set_status(f"{path.name} is read", "ok")

    def _resume_at(self, path: Path) -> tuple[int, int]:
        """Byte offset and number of lines before it."""
        saved = self.position
        if self.config.resume and isinstance(saved, list) and len(saved) == 3 and saved[0] == str(path):
            return saved[1], saved[2]
        return 0, 0

    async def _open_when_there(self, path: Path, offset: int) -> BinaryIO:
        while True:
            try:
                opened = await asyncio.to_thread(path.open, "rb")
            except OSError as e:
                self.set_status(f"{path}: {e.strerror or e}; trying again", "warn")
                await asyncio.sleep(self.config.retry_s)
                continue
            size = path.stat().st_size
            if size < offset:
                opened.close()
                raise GiveUp(
                    f"{path} has {size} bytes, it was read up to {offset}: another file? resume = false reads it"
                )
            opened.seek(offset)
            return opened

    async def on_message(self, message: Message) -> AsyncIterator[Message]:
        if self.config.read != "message":
            raise GiveUp("this node reads its file at start; set read = message to ask for files")
        name = self.setting("path", message) or message.payload
        if not isinstance(name, str) or not name:
            raise GiveUp("which file? set path, or send its path as payload")
        with await asyncio.to_thread(Path(name).open, "rb") as opened:
            async for part in _Reader(self, opened, name, 0, 0):
                yield message.derive(part.payload, meta={**message.meta, **part.meta})


class _Part:
    """One message to be."""

    __slots__ = ("meta", "payload", "position")

    def __init__(self, payload: Any, meta: dict, position: list) -> None:
        self.payload, self.meta, self.position = payload, meta, position


class _Reader:
    """The parts of an open file, read in blocks in a thread."""

    def __init__(self, node: FileIn, opened: BinaryIO, name: str, offset: int, number: int) -> None:
        self._node, self._opened, self._name = node, opened, name
        self._offset, self._number = offset, number
        self._config = node.config

    def __aiter__(self) -> AsyncIterator[_Part]:
        return {"lines": self._lines, "whole": self._whole, "chunks": self._chunks}[self._config.output]()

    async def _lines(self) -> AsyncIterator[_Part]:
        rest, is_too_long = b"", False
        while True:
            block = await asyncio.to_thread(self._opened.read, _BLOCK)
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            for line in lines:
                self._offset += len(line) + 1
                part = None if is_too_long else self._line(line)
                is_too_long = False
                if part is not None:
                    yield part
            if not block:
                break
            if len(rest) > self._config.max_line_bytes + 1:
                if not is_too_long:
                    self._refuse_long(len(rest))
                    self._number += 1
                self._offset += len(rest)
                rest, is_too_long = b"", True
        if rest and not is_too_long:  # a last line without an end
            self._offset += len(rest)
            part = self._line(rest)
            if part is not None:
                yield part

    def _line(self, line: bytes) -> _Part | None:
        self._number += 1
        line = line.removesuffix(b"\r")
        if len(line) > self._config.max_line_bytes:
            self._refuse_long(len(line))
            return None
        try:
            payload = self._decoded(line)
        except ValueError as e:
            self._node.report(ValueError(f"{self._name}:{self._number}: {e}"))
            return None
        return self._part(payload, {"line": self._number})

    def _refuse_long(self, size: int) -> None:
        limit = self._config.max_line_bytes
        self._node.report(
            ValueError(f"{self._name}:{self._number}: a line of {size} bytes or more, max_line_bytes is {limit}")
        )

    async def _whole(self) -> AsyncIterator[_Part]:
        content = await asyncio.to_thread(self._opened.read, _LARGEST_MESSAGE + 1)
        if self._offset and not content:
            return  # it was sent before the restart
        if len(content) > _LARGEST_MESSAGE:
            raise GiveUp(
                f"{self._name} is larger than one message may be ({_LARGEST_MESSAGE} bytes): read lines or chunks"
            )
        self._offset += len(content)
        yield self._part(self._decoded(content), {"size_bytes": len(content)})

    async def _chunks(self) -> AsyncIterator[_Part]:
        while chunk := await asyncio.to_thread(self._opened.read, self._config.chunk_bytes):
            begin = self._offset
            self._offset += len(chunk)
            yield self._part(chunk, {"offset": begin})

    def _part(self, payload: Any, meta: dict) -> _Part:
        meta["file"] = self._name
        return _Part(payload, meta, [self._name, self._offset, self._number])

    def _decoded(self, content: bytes) -> str | bytes:
        if self._config.encoding == "bytes":
            return content
        try:
            return content.decode(self._config.encoding)
        except UnicodeDecodeError as e:
            raise ValueError(f"not {self._config.encoding}: {e.reason} at byte {e.start + 1}") from None
