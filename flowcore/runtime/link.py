"""The link between the host and one node process: a Unix stream socket that carries msgpack maps, each with an `op`.

Used by both ends. It is local: a node is started, rewired, drained and stopped while the bus is down. A frame is its
length (u32, big endian) and the packed map. A request carries a number `re`, which the answer repeats.

    LinkClosed      the other end is gone (its process ended), or sent what is no frame
    RequestFailed   the other end tried what a request asked and could not; the text says why
"""

import asyncio
import contextlib
import itertools
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

from flowcore.bus.envelope import Malformed, pack, unpack

MAX_FRAME = 256 * 1024 * 1024  # a hand-over holds the un-acked windows of a node

_LENGTH = struct.Struct(">I")


class LinkClosed(ConnectionError):
    """The other end of the link is gone."""


class RequestFailed(Exception):
    """The other end could not do what a request asked: it answered `failed`."""


def frame(op: str, **fields: Any) -> bytes:
    """The bytes of one frame."""
    packed = pack({"op": op, **fields})
    return _LENGTH.pack(len(packed)) + packed


def receive(sock: socket.socket) -> dict[str, Any]:
    """Read one frame from a blocking socket: a forked child, before it has an event loop.

    Raises:
        LinkClosed: the end of the stream.
    """
    return unpack(_receive_exactly(sock, _LENGTH.unpack(_receive_exactly(sock, 4))[0]), limit=MAX_FRAME)


def _receive_exactly(sock: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        part = sock.recv(min(size - len(received), 1 << 20))
        if not part:
            raise LinkClosed("the link was closed")
        received += part
    return bytes(received)


class Link(asyncio.Protocol):
    """One end of a link.

    Args:
        on_frame: called with each map that is not an answer to a `request`, in order.
        on_closed: called once, when the other end is gone.
    """

    def __init__(self, on_frame: Callable[[dict[str, Any]], None], on_closed: Callable[[], None] | None = None) -> None:
        self._on_frame, self._on_closed = on_frame, on_closed
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._answers: dict[int, str] = {}  # request number -> op of the answer that is waited for
        self.is_open = False

    @classmethod
    async def open(
        cls,
        sock: socket.socket,
        on_frame: Callable[[dict[str, Any]], None],
        on_closed: Callable[[], None] | None = None,
    ) -> "Link":
        """Take over a connected socket."""
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(lambda: cls(on_frame, on_closed), sock=sock)
        return link

    def send(self, op: str, **fields: Any) -> bool:
        """Send a frame; False when the link is closed."""
        if not self.is_open or self._transport is None:
            return False
        self._transport.write(frame(op, **fields))
        return True

    async def request(self, op: str, answer: str, timeout: float | None = None, **fields: Any) -> dict[str, Any]:
        """Send a frame and wait for the `answer` op that repeats its number (or, without one, for the next such op).

        Raises:
            LinkClosed: the other end is gone, before or while waiting.
            RequestFailed: it answered `failed`.
            TimeoutError: no answer in time.
        """
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number], self._answers[number] = future, answer
        try:
            if not self.send(op, re=number, **fields):
                raise LinkClosed("the link is closed")
            async with asyncio.timeout(timeout):
                return await future
        finally:
            self._waiting.pop(number, None)
            self._answers.pop(number, None)

    def answer(self, to: dict[str, Any], op: str, **fields: Any) -> bool:
        """Answer a request."""
        return self.send(op, re=to.get("re"), **fields)

    async def flush(self, timeout: float = 1.0) -> None:
        """Wait until the socket has taken what was written, so that a process may exit."""
        transport = self._transport
        if transport is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.is_open and transport.get_write_buffer_size():  # noqa: ASYNC110 - no event for it
                    await asyncio.sleep(0.001)

    def close(self) -> None:
        """Close this end; `on_closed` is called as if the other had."""
        if self._transport is not None:
            self._transport.close()

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.is_open = cast(asyncio.Transport, transport), True  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._received += data
        at, size = 0, len(self._received)
        while size - at >= 4:
            length = _LENGTH.unpack_from(self._received, at)[0]
            if length > MAX_FRAME:
                self.close()
                return
            if size - at - 4 < length:
                break
            packed = bytes(self._received[at + 4 : at + 4 + length])
            at += 4 + length
            try:
                message = unpack(packed, limit=MAX_FRAME)
                op = message["op"]
            except (Malformed, TypeError, KeyError):
                self.close()
                return
            self._dispatch(op, message)
        if at:
            del self._received[:at]

    def _dispatch(self, op: str, message: dict[str, Any]) -> None:
        number = message.get("re")
        if number is None:
            number = next((n for n, answer in self._answers.items() if answer == op), None)
        future = self._waiting.get(number) if isinstance(number, int) else None
        if future is not None and op in (self._answers.get(number), "failed"):  # type: ignore[arg-type]
            if not future.done():
                if op == "failed":
                    future.set_exception(RequestFailed(str(message.get("error") or "it could not")))
                else:
                    future.set_result(message)
            return
        self._on_frame(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(LinkClosed("the other end of the link is gone"))
        if self._on_closed is not None:
            self._on_closed()
