"""Answering those who ask for the bytes of tensors that this process has sent.

The port that a tensor was sent from is in the subject of a request, where the bus checks it, so one may ask for what
one may hear (`sources.Shown`).

Parts go out a few at a time, between what the node has to do, and only as fast as the socket takes them. Processes of
flows are served before programs outside, who share so many bytes a second. While a process of a flow is at it, the
slot is held for it: a `latest` wire holds nothing itself. For a program outside it is held while a part is copied.

Invariant: a part is copied out of a slot only while a lease on the very generation asked for is held.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from flowcore.buffers.errors import BufferExpired
from flowcore.buffers.fetch_frames import BUSY, EXPIRED, HEAD_BYTES, MALFORMED, MOST_A_PART, REFUSED, Answer, Request
from flowcore.buffers.sources import Find, Shown, Source, Sources
from flowcore.bus.envelope import Malformed
from flowcore.bus.permissions import INBOX

_TURN_BYTES = 1 << 20  # sent in one turn of the event loop
_MOST_UNSENT = 4 << 20  # bytes that may wait in the socket before more is put in
_WAIT_S = 0.002  # until the socket has taken some, or outsiders may have more
_MOST_WAITING = 256  # requests of each kind
_OUTSIDE_BYTES_PER_S, _OUTSIDE_BURST = 64 << 20, 32 << 20


@dataclass(slots=True)
class _Waiting:
    """A request in line."""

    reply: str
    port: str
    request: Request
    is_outside: bool

    @property
    def asker(self) -> str:
        """Who it is: all its reply subjects begin alike."""
        return self.reply.rpartition(".")[0]


class Server:
    """Serves the tensors of one process.

    Args:
        publish: sends an answer; one that does not go out is asked for again.
        unsent: bytes that the socket has not taken yet.
        max_payload: bytes of the largest message.
        find: see `Find`.
        shown: what may be asked for.
        may_answer: whether a reply subject is an asker's; an answer anywhere else would speak for us there.

    Attributes:
        served_bytes, refused, busy: bytes that went out; requests refused; requests put off.
    """

    def __init__(
        self,
        *,
        publish: Callable[[str, bytes], bool],
        unsent: Callable[[], int],
        max_payload: Callable[[], int],
        find: Find,
        shown: Shown,
        may_answer: Callable[[str], bool],
    ) -> None:
        self.served_bytes = self.refused = self.busy = 0
        self._publish, self._unsent, self._max_payload = publish, unsent, max_payload
        self._find, self._shown, self._may_answer = find, shown, may_answer
        self._sources = Sources(find)
        self._inside: deque[_Waiting] = deque()
        self._outside: deque[_Waiting] = deque()
        self._loop = asyncio.get_running_loop()
        self._allowance, self._allowance_s = float(_OUTSIDE_BURST), self._loop.time()
        self._pump_at: asyncio.Handle | None = None

    def on_request(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        """A request on `subjects.fetch`; answered in its turn."""
        if headers or not self._may_answer(reply):
            self.refused += 1
            return
        is_outside = reply.startswith(f"{INBOX}.")
        lane = self._outside if is_outside else self._inside
        if len(lane) >= _MOST_WAITING:
            self.busy += 1
            self._say(reply, Answer(BUSY))
            return
        try:
            lane.append(_Waiting(reply, subject.split(".")[3], Request.unpack(data), is_outside))
        except Malformed as e:
            self._say(reply, Answer(MALFORMED, str(e)))
        else:
            self._wake()

    def close(self) -> None:
        """Answer nothing more."""
        if self._pump_at is not None:
            self._pump_at.cancel()
        self._inside.clear()
        self._outside.clear()
        self._sources.close()

    def _wake(self) -> None:
        if self._pump_at is None:
            self._pump_at = self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Answer for one turn of the event loop."""
        self._pump_at = None
        until = self.served_bytes + _TURN_BYTES
        while self.served_bytes < until and self._unsent() < _MOST_UNSENT:
            if self._inside:
                self._serve(self._inside.popleft())
            elif self._outside and self._may_serve_outside():
                before = self.served_bytes
                self._serve(self._outside.popleft())
                self._allowance -= self.served_bytes - before
            else:
                break
        if self.served_bytes >= until:
            self._wake()
        elif self._inside or self._outside:
            wait_s = _WAIT_S if self._inside else max(_WAIT_S, -self._allowance / _OUTSIDE_BYTES_PER_S)
            self._pump_at = self._loop.call_later(wait_s, self._pump)

    def _may_serve_outside(self) -> bool:
        now_s = self._loop.time()
        grown = self._allowance + (now_s - self._allowance_s) * _OUTSIDE_BYTES_PER_S
        self._allowance, self._allowance_s = min(float(_OUTSIDE_BURST), grown), now_s
        return self._allowance > 0

    def _serve(self, one: _Waiting) -> None:
        """Answer a request, or have it wait until its tensor is encoded."""
        request = one.request
        try:
            self._shown.check(one.port, request.handle)
            source, is_new = self._sources.get(request.handle, request.encoding)
            if not one.is_outside:
                source.hold(one.asker, self._find)
            elif is_new:
                self._allowance -= request.handle.nbytes  # checksum and encoding are work, too
            answer = self._part(request, source)
        except BufferExpired as e:
            answer = Answer(EXPIRED, str(e))
        except PermissionError as e:
            self.refused += 1
            answer = Answer(REFUSED, str(e))
        if answer is None:
            source.on_ready.append(lambda: self._back_in_line(one))
            return
        if answer.whole is not None:
            source.let_go(one.asker)
        self._say(one.reply, answer)

    def _back_in_line(self, one: _Waiting) -> None:
        (self._outside if one.is_outside else self._inside).appendleft(one)
        self._wake()

    def _part(self, request: Request, source: Source) -> Answer | None:
        """The part that is asked for, or as much of it as fits a message; None: not there yet."""
        total, start = source.total, request.offset
        if source.error:
            return Answer(MALFORMED, source.error)
        if total is None:
            return None
        if start >= total:
            return Answer(MALFORMED, f"offset {start} of {total} bytes")
        end = min(total, start + min(request.length, MOST_A_PART, self._max_payload() - HEAD_BYTES))
        if end == total and source.whole is None:
            return None
        part = source.read(start, end, self._find)
        self.served_bytes += len(part)
        return Answer("", "", source.form, total, zlib.crc32(part), source.whole if end == total else None, part)

    def _say(self, reply: str, answer: Answer) -> None:
        self._publish(reply, answer.packed())
