"""Where a message begins and ends on a line of bytes: what TCP and serial nodes share.

FrameTooLong   more bytes than a frame may have
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

from pydantic import field_validator, model_validator

from flowcore.node import NodeConfig, field
from flowcore.node.formats import Format

Read = Callable[[int], Awaitable[bytes]]  # b"" at the end

_BLOCK = 64 * 1024


class FrameTooLong(ValueError):
    """A frame that does not end where it should: the other side speaks something else."""


class FramingConfig(NodeConfig):
    """How messages are told apart."""

    frame: Literal["delimiter", "length", "prefix", "time", "none"] = field(
        "delimiter",
        description="A message ends at a delimiter, has a fixed length, says its length first, or ends when nothing "
        "comes for a while; none: as the bytes come",
    )
    delimiter: str = field(
        "\\n", description="delimiter: its end, with escapes such as \\r\\n, \\x03; it is not passed on"
    )
    length_bytes: int = field(8, ge=1, le=1 << 20, description="length: size of each message, in bytes")
    prefix_bytes: Literal[1, 2, 4] = field(2, description="prefix: size of the length before it, in bytes; big-endian")
    silence_s: float = field(0.05, gt=0, le=60, description="time: silence that ends a message, in seconds")
    max_frame_bytes: int = field(1 << 20, ge=1, le=64 << 20, description="Longest message, in bytes")
    format: Format = field("auto", description="What the bytes of a message are; auto: JSON, else text, else bytes")

    @field_validator("delimiter")
    @classmethod
    def _can_be_read(cls, text: str) -> str:
        if not delimiter_of(text):
            raise ValueError("a delimiter has at least one character")
        return text

    @model_validator(mode="after")
    def _fits(self) -> "FramingConfig":
        if self.frame == "length" and self.length_bytes > self.max_frame_bytes:
            raise ValueError("length_bytes is more than max_frame_bytes")
        return self


def delimiter_of(text: str) -> bytes:
    """The bytes of a delimiter, its escapes read.

    Raises:
        ValueError: an escape that is none.
    """
    try:
        return text.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")
    except UnicodeError as e:
        raise ValueError(f"delimiter {text!r}: {e}") from None


def framed(content: bytes, config: FramingConfig) -> bytes:
    """What is written for a message.

    Raises:
        ValueError: it can't be framed so.
    """
    match config.frame:
        case "delimiter":
            return content + delimiter_of(config.delimiter)
        case "length" if len(content) != config.length_bytes:
            raise ValueError(f"a message has {config.length_bytes} bytes (length_bytes), this one {len(content)}")
        case "prefix":
            try:
                return len(content).to_bytes(config.prefix_bytes, "big") + content
            except OverflowError:
                raise ValueError(f"{len(content)} bytes are too many for a prefix of {config.prefix_bytes}") from None
    return content


async def frames(read: Read, config: FramingConfig) -> AsyncIterator[bytes]:
    """The messages on a line, until it ends; what is left at its end is one more, but for length and prefix.

    Raises:
        FrameTooLong: with what it began with.
    """
    left = bytearray()
    end = delimiter_of(config.delimiter)
    while True:
        if config.frame == "time" and left:
            try:
                block = await asyncio.wait_for(read(_BLOCK), config.silence_s)
            except TimeoutError:
                yield bytes(left)
                left.clear()
                continue
        else:
            block = await read(_BLOCK)
        if not block:
            break
        left += block
        match config.frame:
            case "none":
                yield bytes(left)
                left.clear()
            case "delimiter":
                *whole, rest = left.split(end)
                left = bytearray(rest)
                for one in whole:
                    _check(one, config)
                    yield bytes(one)
            case "length":
                while len(left) >= config.length_bytes:
                    yield bytes(left[: config.length_bytes])
                    del left[: config.length_bytes]
            case "prefix":
                while len(left) >= config.prefix_bytes:
                    size = int.from_bytes(left[: config.prefix_bytes], "big")
                    if size > config.max_frame_bytes:
                        raise _too_long(left, config)
                    if len(left) < config.prefix_bytes + size:
                        break
                    yield bytes(left[config.prefix_bytes : config.prefix_bytes + size])
                    del left[: config.prefix_bytes + size]
        _check(left, config)
    if left and config.frame in ("delimiter", "time"):
        yield bytes(left)


def _check(content: bytes | bytearray, config: FramingConfig) -> None:
    if len(content) > config.max_frame_bytes:
        raise _too_long(content, config)


def _too_long(content: bytes | bytearray, config: FramingConfig) -> FrameTooLong:
    begin = bytes(content[:40])
    return FrameTooLong(f"more than {config.max_frame_bytes} bytes (max_frame_bytes), begins with {begin!r}")
