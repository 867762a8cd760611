"""Commands as an exec node runs them: started by a guard (`exec_guard`), with pipes to this process.

NotStarted      there is no such program, or it can't be run
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_GUARD = Path(__file__).with_name("exec_guard.py")
_PIPE_LIMIT = 256 * 1024  # bytes that wait in this process before a command has to wait
_KEPT = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "USER", "LOGNAME", "TMPDIR", "SHELL")


class NotStarted(Exception):
    """A command could not be started."""


def environment(more: dict[str, str]) -> dict[str, str]:
    """What a command gets: the plain words of this process's environment, and `more`."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("LC_")}
    return kept | more


class Input(asyncio.Protocol):
    """What a command is to read."""

    _transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None  # it has read everything, or does not want to

    def send(self, content: bytes) -> None:
        """Give it all, and then the end."""
        if self._transport is not None:
            self._transport.write(content)
            self._transport.write_eof()

    def close(self) -> None:
        """It reads no more."""
        if self._transport is not None:
            self._transport.abort()


class Command:
    """A command that runs.

    Attributes:
        pid: of the process, which leads a group.
        stdin: what it is to read; None when that is nothing.
        stdout, stderr: to be read.
        ended: future of its exit code and the number of the signal that ended it, one of them None.
    """

    def __init__(self, guard: "Guards", number: int) -> None:
        self._guard, self._number = guard, number
        self.pid = 0
        self.started_by: asyncio.subprocess.Process | None = None
        self.stdin: Input | None = None
        self.stdout, self.stderr = asyncio.StreamReader(_PIPE_LIMIT), asyncio.StreamReader(_PIPE_LIMIT)
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[int] = loop.create_future()
        self.ended: asyncio.Future[tuple[int | None, int | None]] = loop.create_future()

    async def kill(self, which: int) -> None:
        """Send a signal to its group; once it has ended, nothing."""
        if not self.ended.done():
            with contextlib.suppress(OSError):  # the guard was killed, and its commands with it
                await self._guard.ask({"id": self._number, "signal": int(which)}, ())


class Guards:
    """The guard of a node, begun with its first command, and again when somebody killed it."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._commands: dict[int, Command] = {}
        self._numbers = itertools.count(1)
        self._turn = asyncio.Lock()
        self._listening: asyncio.Task | None = None

    async def start(self, argv: Sequence[str], env: dict[str, str], cwd: str, has_input: bool) -> Command:
        """Start a command.

        Raises:
            NotStarted: says why.
        """
        number = next(self._numbers)
        command = Command(self, number)
        ours: list[int] = []
        theirs: list[int] = []
        try:
            if has_input:
                theirs_in, ours_in = os.pipe2(os.O_CLOEXEC)
                ours.append(ours_in)
            else:
                theirs_in = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            theirs.append(theirs_in)
            for _ in range(2):
                ours_out, theirs_out = os.pipe2(os.O_CLOEXEC)
                ours.append(ours_out)
                theirs.append(theirs_out)
            self._commands[number] = command
            request = {"id": number, "argv": list(argv), "env": env, "cwd": cwd}
            await self.ask(request, theirs)
        except BaseException:
            self._commands.pop(number, None)
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        loop = asyncio.get_running_loop()
        if has_input:
            _, command.stdin = await loop.connect_write_pipe(Input, os.fdopen(ours.pop(0), "wb", 0))
        for reader, descriptor in zip((command.stdout, command.stderr), ours, strict=True):
            await loop.connect_read_pipe(_reading(reader), os.fdopen(descriptor, "rb", 0))
        try:
            command.pid = await command.started
        except BaseException as e:
            if command.stdin is not None:
                command.stdin.close()
            if not isinstance(e, NotStarted):
                await command.kill(signal.SIGKILL)
            raise
        return command

    async def ask(self, request: dict[str, Any], descriptors: Sequence[int]) -> None:
        """Send the guard a request, with descriptors that it gets copies of."""
        body = json.dumps(request).encode()
        async with self._turn:
            for is_last_try in (False, True):
                if self._socket is None:
                    await self._begin()
                assert self._socket
                if descriptors:
                    self._commands[request["id"]].started_by = self._process
                try:
                    return await asyncio.to_thread(_send, self._socket, body, descriptors)
                except OSError:
                    self._close_socket()
                    if is_last_try or not descriptors:
                        raise

    async def _begin(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                str(_GUARD),
                stdin=theirs.fileno(),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={},
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._socket = ours
        self._listening = asyncio.get_running_loop().create_task(self._listen(self._process), name="exec guard")

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        async for line in process.stdout:
            said = json.loads(line)
            command = self._commands.get(said["id"])
            if command is None:  # whoever started it was cancelled
                continue
            if "pid" not in said:
                del self._commands[said["id"]]
            if "code" in said:
                command.ended.set_result((said["code"], said["signal"]))
            elif not command.started.done():
                if "pid" in said:
                    command.started.set_result(said["pid"])
                else:
                    command.started.set_exception(NotStarted(said["error"]))
        await process.wait()
        if process is self._process:
            self._close_socket()
        for number, command in list(self._commands.items()):
            if command.started_by is not process:
                continue
            del self._commands[number]  # somebody killed the guard, and its commands died with it
            if not command.started.done():
                command.started.set_exception(NotStarted("the process that starts commands was killed"))
            elif not command.ended.done():
                command.ended.set_result((None, int(signal.SIGKILL)))

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def close(self) -> None:
        """End every command, and the guard."""
        self._close_socket()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                await self._process.wait()
        if self._listening is not None:
            await asyncio.wait({self._listening})


def _send(to: socket.socket, body: bytes, descriptors: Sequence[int]) -> None:
    header = struct.pack("!I", len(body))
    if descriptors:
        socket.send_fds(to, [header], list(descriptors))
    else:
        to.sendall(header)
    to.sendall(body)


def _reading(reader: asyncio.StreamReader) -> Callable[[], asyncio.StreamReaderProtocol]:
    return lambda: asyncio.StreamReaderProtocol(reader)
