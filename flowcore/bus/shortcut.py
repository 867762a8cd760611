"""From the socket straight to the callback, for the messages that a wire is made of.

nats-py reads through a stream reader, a task that waits for it and a parser made of regular expressions: 8 us of
processor time for a small frame that comes alone, where 2.5 will do (`benchmarks/receive.py`). Here the connection's
asyncio protocol is asked first: a run of whole `MSG` frames for direct subscriptions is delivered at once. Everything
else (the handshake, PING, INFO, JetStream, a frame that comes in pieces) is given to nats-py's own protocol, and so is
all that comes while that one still has something, which keeps the order.
"""

import asyncio
import logging
from typing import Any

from flowcore.bus import nats_py  # noqa: F401 - before the others

# isort: split
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

_MOST_NAMES = 4096

_log = logging.getLogger("flowcore.bus")


class WatchedParser(Parser):
    """nats-py's parser; says whether it is in the middle of something."""

    is_at_work = False

    @property
    def is_idle(self) -> bool:
        """Nothing begun, nothing left over."""
        return not self.is_at_work and not self.buf and self.state == AWAITING_CONTROL_LINE

    async def parse(self, data: bytes = b"") -> None:
        self.is_at_work = True
        try:
            await super().parse(data)
        finally:
            self.is_at_work = False


class ShortCut(asyncio.Protocol):
    """Stands before nats-py's protocol on a transport.

    Args:
        direct: callback by subscription id; may change at any time.
        parser: of the client that reads `reader`.
        usual: the protocol that was there.
    """

    def __init__(
        self,
        direct: dict[int, Any],
        parser: WatchedParser,
        reader: asyncio.StreamReader,
        usual: Any,
    ) -> None:
        self._direct, self._parser, self._reader, self._usual = direct, parser, reader, usual
        self._names: dict[bytes, str] = {}

    def data_received(self, data: bytes) -> None:
        if self._reader._buffer or not self._parser.is_idle:  # type: ignore[attr-defined]
            self._usual.data_received(data)
            return
        at, direct, names = 0, self._direct, self._names
        while data.startswith(b"MSG ", at):
            line_end = data.find(b"\r\n", at)
            if line_end < 0:
                break
            words = data[at + 4 : line_end].split(b" ")
            end = line_end + 2 + int(words[-1])
            callback = direct.get(int(words[1]))
            if callback is None or end + 2 > len(data):
                break
            subject = names.get(words[0])
            if subject is None:
                if len(names) >= _MOST_NAMES:
                    names.clear()
                subject = names[words[0]] = words[0].decode()
            at = end + 2
            try:
                callback(subject, data[line_end + 2 : end], words[2].decode() if len(words) == 4 else "", b"")
            except Exception:
                _log.exception("a callback for %s failed", subject)
        if at < len(data):
            self._usual.data_received(data[at:])

    def eof_received(self) -> bool | None:
        kept: bool | None = self._usual.eof_received()
        return kept

    def connection_lost(self, exc: Exception | None) -> None:
        self._usual.connection_lost(exc)

    def pause_writing(self) -> None:
        self._usual.pause_writing()

    def resume_writing(self) -> None:
        self._usual.resume_writing()


def take(client: Any, direct: dict[int, Any]) -> None:
    """Have the short cut on the connection that a client has now, if it has one."""
    reader, writer = client._transport._io_reader, client._transport._io_writer
    if reader is None or writer is None:
        return
    usual = writer.transport.get_protocol()
    if not isinstance(usual, ShortCut):
        writer.transport.set_protocol(ShortCut(direct, client._ps, reader, usual))
