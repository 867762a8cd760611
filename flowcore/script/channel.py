"""One worker, as its client holds it: the control connection to the zygote, the pidfd, the page, the frames.

Frames from the worker are bounded while they arrive: one longer than the limit, or one that nobody asked for, ends the
worker. Nothing here knows what a script or a message is.

    WorkerEnded   the worker is gone; has the status it ended with, where that is known
"""

import asyncio
import contextlib
import mmap
import os
import signal
import socket
from pathlib import Path

from flowcore.bus.envelope import Malformed, pack, unpack
from flowcore.script import frames, stand_in
from flowcore.script.address import short_path
from flowcore.script.errors import SandboxMissing, ScriptError, ZygoteGone
from flowcore.script.frames import HEAD

_CONNECT_S = 10.0  # how long a zygote that restarts is waited for
_ENDED_S = 2.0  # how long the status of an ended worker is waited for


class WorkerEnded(Exception):
    """The worker is gone. `status`: its exit status (negative: a signal), None when the zygote is gone too."""

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


class Channel(asyncio.Protocol):
    """A connection to one worker; made with `open_channel`."""

    def __init__(self, control: socket.socket, pidfd: int, pid: int, page: mmap.mmap, missing: list[str]) -> None:
        self.pid = pid
        self.missing = missing
        self.dead = False
        self._control = control
        self._pidfd = pidfd
        self._page = page
        self._numbers = memoryview(page).cast("Q")
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 0
        self._frames: list[bytes] = []
        self._waiter: asyncio.Future | None = None
        self._why = ""
        self._last_number = 0
        self.killed = False  # by us
        self.asked_where = False

    @property
    def number(self) -> int:
        """The number of the message in work, as the worker says (or said last)."""
        return self._numbers[0] if self._pidfd >= 0 else self._last_number

    def send(self, frame: bytes) -> None:
        """Send one packed frame."""
        if self._transport is not None and not self.dead:
            self._transport.writelines((HEAD.pack(len(frame)), frame))

    async def receive(self) -> list:
        """The next frame.

        Raises:
            WorkerEnded: there is none to come.
        """
        while not self._frames:
            if self.dead:
                raise WorkerEnded(self._why or "it ended", await self._status())
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        try:
            frame = unpack(self._frames.pop(0), limit=frames.MAX_REPLY, ext_hook=stand_in.decode)
            if not isinstance(frame, list) or not frame:
                raise Malformed("not a frame")
        except Malformed as e:
            self.kill(f"it sent what is no frame ({e})")
            raise WorkerEnded(self._why) from None
        return frame

    def ask_where(self) -> None:
        """Ask for the WHERE frame."""
        self.asked_where = True
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGUSR1)

    def kill(self, why: str) -> None:
        """SIGKILL, and hang up: should we not be allowed to signal it, the zygote is."""
        if self._pidfd >= 0:
            self.killed = self.killed or not self.dead
            self._end(why)
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """Let go of everything; the zygote kills the worker when it still runs."""
        self._end("closed")
        if self._transport is not None:
            self._transport.abort()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
            self._control.close()
            self._last_number = self._numbers[0]
            self._numbers.release()
            self._page.close()

    async def _status(self) -> int | None:
        if self._pidfd < 0:
            return None
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, TimeoutError, Malformed, KeyError, TypeError):
            async with asyncio.timeout(_ENDED_S):
                return unpack(await loop.sock_recv(self._control, 4096))["status"]
        return None

    def _end(self, why: str) -> None:
        if not self.dead:
            self.dead = True
            self._why = why
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.dead:
            return
        if not self._parts and len(data) >= 4:  # the common case: exactly one whole frame
            size = HEAD.unpack_from(data)[0]
            if size + 4 == len(data) and size <= frames.MAX_REPLY:
                self._arrived(bytes(data[4:]))
                return
        self._parts.append(bytes(data))
        self._have += len(data)
        while self._have >= max(4, self._need):
            whole = b"".join(self._parts)
            self._need = 4 + HEAD.unpack_from(whole)[0]
            if self._need > frames.MAX_REPLY + 4:
                self.kill(f"it sent a frame of {self._need:,} bytes")
                return
            if len(whole) >= self._need:
                self._arrived(whole[4 : self._need])
                whole = whole[self._need :]
                self._need = 0
            self._parts = [whole] if whole else []
            self._have = len(whole)
            if self.dead or self._need:
                return

    def _arrived(self, frame: bytes) -> None:
        # A worker that waits for an answer sends nothing; one that works sends a frame each 20 ms. So this many
        # that nobody has looked at yet are a flood.
        if len(self._frames) >= 64:
            self.kill("it flooded the node with frames")
            return
        self._frames.append(frame)
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._end("it ended")


async def open_channel(path: str | Path, sandbox: str, memory_mb: int, language: str) -> Channel:
    """Get a new worker from the zygote that listens on `path`.

    Raises:
        SandboxMissing: layers are missing and `sandbox` is "strict".
        ZygoteGone: nobody listens, or it has no worker to give.
    """
    loop = asyncio.get_running_loop()
    control = await _connect(str(path))
    memfd = os.memfd_create("script-page", os.MFD_CLOEXEC)
    fds: list[int] = []
    try:
        os.ftruncate(memfd, frames.PAGE_BYTES)
        page = mmap.mmap(memfd, frames.PAGE_BYTES)
        socket.send_fds(control, [pack({"sandbox": sandbox, "memory_mb": memory_mb, "language": language})], [memfd])
        await _readable(control, _CONNECT_S)
        data, fds, _, _ = socket.recv_fds(control, 4096, 2)
        answer = unpack(data) if data else {"refused": "it ended"}
        if "refused" in answer:
            raise (
                SandboxMissing(answer["missing"])
                if answer.get("missing")
                else ZygoteGone(f"the script zygote gave no worker: {answer['refused']}")
            )
        pidfd, worker = fds
        pid, missing = int(answer["pid"]), list(answer["missing"])
    except (OSError, Malformed, ScriptError, ValueError, TimeoutError) as e:
        control.close()
        for fd in fds:
            os.close(fd)
        raise e if isinstance(e, ScriptError) else ZygoteGone(f"the script zygote gave no worker: {e}") from None
    finally:
        os.close(memfd)
    channel = Channel(control, pidfd, pid, page, missing)
    connection = socket.socket(fileno=worker)
    connection.setblocking(False)
    await loop.create_unix_connection(lambda: channel, sock=connection)
    return channel


async def _connect(path: str) -> socket.socket:
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.setblocking(False)
    loop = asyncio.get_running_loop()
    until = loop.time() + _CONNECT_S
    while True:
        try:
            with short_path(path) as short:
                control.connect(short)
            return control
        except OSError as e:  # not there (it restarts), or many connect at once: there is nothing to wait for but time
            if loop.time() > until:
                control.close()
                raise ZygoteGone(f"the script zygote does not answer on {path}: {e}") from None
            await asyncio.sleep(0.05)


async def _readable(connection: socket.socket, timeout_s: float) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def arrived() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(connection, arrived)
    try:
        async with asyncio.timeout(timeout_s):
            await ready
    finally:
        loop.remove_reader(connection)
