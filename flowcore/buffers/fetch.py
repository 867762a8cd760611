"""Asking another process for the bytes of a tensor: in parts, several at once, each with a checksum.

    FetchRefused   we may not have them
    FetchFailed    what came is not what was asked for, again and again

Whoever sent the handle is asked, on a subject of its own process (`subjects.fetch`), because it holds the slot until
the message is acked. A part that is lost is asked for again, alone. How long to wait is told by what comes: as long as
a sender answers anything, parts that wait behind others are not late.
"""

import asyncio
import zlib
from collections.abc import Callable
from itertools import count
from typing import Protocol

from flowcore.buffers.encode import Encoding, decode
from flowcore.buffers.errors import BufferExpired
from flowcore.buffers.fetch_frames import BUSY, EXPIRED, HEAD_BYTES, MOST_A_PART, REFUSED, Answer, Request
from flowcore.buffers.handle import Handle
from flowcore.bus import subjects
from flowcore.bus.envelope import Malformed

_AT_ONCE = 8  # parts under way from one sender
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 5.0  # for an answer, before the part is asked for again
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0  # after "nobody listens" and "busy"
_TRIES = 3  # with a wrong checksum
_KNOWN_BYTES = 64 << 20  # more than that is believed of a handle only when the sender says so, too
_THREAD_BYTES = 256 * 1024  # more than that is checked and decoded beside the event loop


class FetchRefused(PermissionError):
    """This process or user may not have the bytes."""


class FetchFailed(OSError):
    """The bytes did not come as they were sent."""


class Bus(Protocol):
    """What is used of a `flowcore.bus.connection.Connection`."""

    @property
    def max_payload(self) -> int:
        """Bytes of the largest message."""

    def publish(self, subject: str, data: bytes, reply: str = "") -> bool:
        """Send at once; False when the bus is away."""

    async def subscribe(self, subject: str, callback: Callable[[str, bytes, str, bytes], None]) -> None:
        """Call back for each message."""

    async def unsubscribe(self, subject: str) -> None:
        """No more."""


class _Line:
    """What one sender is asked, all fetches together."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.window = asyncio.Semaphore(_AT_ONCE)
        self.heard_s = 0.0  # when it last answered anything
        self.users = 0


class _Ask:
    """A question under way."""

    def __init__(self, line: _Line) -> None:
        self.line = line
        self.came = asyncio.Event()
        self.answer: Answer | Exception | None = None  # None: nobody listens


class Fetcher:
    """Fetches over one connection.

    Args:
        inbox: the connection's own; only it may listen there.
        wait_s: first wait for an answer.

    Attributes:
        fetched_bytes, came_bytes: of tensors, and as they travelled.
        lost, wrong: parts asked for again; parts with a wrong checksum.
    """

    def __init__(self, bus: Bus, inbox: str, *, wait_s: float = _FIRST_WAIT_S) -> None:
        self.fetched_bytes = self.came_bytes = self.lost = self.wrong = 0
        self._bus, self._inbox, self._wait_s = bus, inbox, wait_s
        self._lines: dict[str, _Line] = {}
        self._asks: dict[str, _Ask] = {}  # by reply subject
        self._tokens = count(1)
        self._listening: asyncio.Task[None] | None = None

    async def fetch(
        self, subject: str, handle: Handle, encoding: Encoding | None = None, *, patience_s: float = 5.0
    ) -> bytes:
        """The bytes that a handle names, in C order.

        Args:
            subject: of the process that sent the handle, and the port it came from (`subjects.fetch`).
            encoding: how they may travel; the sender leaves one out whose library it has not.
            patience_s: how long a sender may be silent, or away from the bus.

        Raises:
            BufferExpired: the slot was written again.
            FetchRefused: the sender never sent it from this port, or the bus does not let us ask.
            TimeoutError: no answer.
            FetchFailed: what comes is wrong.
            MissingLibrary: it comes in an encoding that cannot be read here.
        """
        if not handle.nbytes:
            return b""
        if self._listening is None:
            pattern = subjects.fetch_reply(self._inbox, "*")
            self._listening = asyncio.create_task(self._bus.subscribe(pattern, self._on_answer))
        await asyncio.shield(self._listening)
        line = self._lines.setdefault(subject, _Line(subject))
        line.users += 1
        try:
            data = await _Fetch(self, line, handle, encoding, patience_s).run()
        finally:
            line.users -= 1
            if not line.users:
                self._lines.pop(subject, None)
        self.fetched_bytes += len(data)
        return data

    async def close(self) -> None:
        """Listen no more."""
        if self._listening is not None:
            await self._listening
            await self._bus.unsubscribe(subjects.fetch_reply(self._inbox, "*"))

    def on_refused(self, text: str) -> None:
        """The server refused something: what was asked on a subject that it names fails at once."""
        for ask in self._asks.values():
            if f'"{ask.line.subject}"' in text:
                ask.answer = FetchRefused(text)
                ask.came.set()

    @property
    def part_bytes(self) -> int:
        """The most that is asked for at once."""
        return max(1, min(MOST_A_PART, self._bus.max_payload - HEAD_BYTES))

    async def ask(self, line: _Line, request: Request, patience_s: float) -> Answer:
        """One question, put again until there is an answer."""
        async with line.window:
            now_s, data = asyncio.get_running_loop().time, request.packed()
            reply = subjects.fetch_reply(self._inbox, next(self._tokens))
            ask = self._asks[reply] = _Ask(line)
            wait_s, pause_s, began_s = self._wait_s, _FIRST_PAUSE_S, now_s()
            try:
                while True:
                    self._bus.publish(line.subject, data, reply)  # what does not go out is put again all the same
                    has_come = await self._wait(ask, wait_s)
                    if isinstance(ask.answer, Exception):
                        raise ask.answer
                    if ask.answer is not None and ask.answer.error != BUSY:
                        return ask.answer
                    silent_since_s = began_s if has_come else max(began_s, line.heard_s)
                    if now_s() - silent_since_s >= patience_s:
                        raise TimeoutError(_why(ask, has_come, patience_s))
                    if has_come:
                        ask.came.clear()
                        await asyncio.sleep(pause_s)
                        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                    else:
                        self.lost += 1
                        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            finally:
                del self._asks[reply]

    @staticmethod
    async def _wait(ask: _Ask, wait_s: float) -> bool:
        """True when something came; False when this sender was silent for `wait_s`."""
        now_s = asyncio.get_running_loop().time
        until_s = now_s() + wait_s
        while True:
            try:
                async with asyncio.timeout_at(until_s):
                    await ask.came.wait()
                return True
            except TimeoutError:
                until_s = ask.line.heard_s + wait_s
                if until_s <= now_s():
                    return False

    def _on_answer(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        ask = self._asks.get(subject)
        if ask is None:
            return  # twice, or too late
        if headers:
            ask.answer = None  # the server's own: nobody listens
        else:
            ask.line.heard_s = asyncio.get_running_loop().time()
            try:
                ask.answer = Answer.unpack(data)
            except Malformed as e:
                ask.answer = FetchFailed(f"{ask.line.subject}: {e}")
        ask.came.set()


class _Fetch:
    """One tensor on its way."""

    def __init__(
        self, fetcher: Fetcher, line: _Line, handle: Handle, encoding: Encoding | None, patience_s: float
    ) -> None:
        self._fetcher, self._line, self._handle = fetcher, line, handle
        self._encoding, self._patience_s = encoding, patience_s
        self._parts: dict[int, bytes] = {}  # by offset
        self._first: Answer | None = None
        self._whole: int | None = None

    async def run(self) -> bytes:
        size, total, begin = self._fetcher.part_bytes, self._handle.nbytes, 0
        if self._encoding is not None or total > _KNOWN_BYTES:
            total = (await self._part(0, size)).total  # the sender says how much there is in the form it has
            begin = size
        try:
            async with asyncio.TaskGroup() as group:
                for offset in range(begin, total, size):
                    group.create_task(self._part(offset, size))
        except ExceptionGroup as e:
            raise e.exceptions[0] from None
        coded = b"".join(self._parts[offset] for offset in sorted(self._parts))
        self._parts.clear()
        if len(coded) <= _THREAD_BYTES:
            return self._finish(coded)
        return await asyncio.to_thread(self._finish, coded)

    async def _part(self, offset: int, length: int) -> Answer:
        """Get a part, in pieces when the sender cannot say as much at once; returns the last answer."""
        end, wrong = offset + length, 0
        while True:
            request = Request(self._handle, self._encoding, offset, end - offset)
            answer = await self._fetcher.ask(self._line, request, self._patience_s)
            if answer.error:
                raise self._failure(answer)
            if not answer.data or zlib.crc32(answer.data) != answer.crc:
                self._fetcher.wrong += 1
                wrong += 1
                if wrong == _TRIES:
                    raise FetchFailed(f"{self._line.subject}: a part came {_TRIES} times with a wrong checksum")
                continue
            self._take(offset, answer)
            self._fetcher.came_bytes += len(answer.data)
            offset += len(answer.data)
            end = min(end, answer.total)
            if offset >= end:
                return answer

    def _take(self, offset: int, answer: Answer) -> None:
        first = self._first or answer
        if answer.total > self._handle.nbytes or (answer.form, answer.total) != (first.form, first.total):
            raise FetchFailed(f"{self._line.subject}: parts of different tensors")
        self._first = first
        self._parts[offset] = answer.data
        if answer.whole is not None:
            self._whole = answer.whole

    def _finish(self, coded: bytes) -> bytes:
        """Check and decode all that came."""
        handle = self._handle
        assert self._first is not None
        if len(coded) != self._first.total or zlib.crc32(coded) != self._whole:
            raise FetchFailed(f"{self._line.subject}: the parts do not make up what was sent")
        try:
            return decode(self._first.form, coded, handle.dtype, handle.shape, handle.nbytes)
        except Malformed as e:
            raise FetchFailed(f"{self._line.subject}: {e}") from None

    def _failure(self, answer: Answer) -> Exception:
        if answer.error == EXPIRED:
            return BufferExpired(answer.text)
        text = f"{self._line.subject}: {answer.text or answer.error}"
        return FetchRefused(text) if answer.error == REFUSED else FetchFailed(text)


def _why(ask: _Ask, has_come: bool, patience_s: float) -> str:
    if ask.answer is not None:
        return f"{ask.line.subject} was too busy to answer for {patience_s:g} s"
    return f"{ask.line.subject}: {'nobody listens' if has_come else 'no answer'} for {patience_s:g} s"
