"""The host's side of a fork server: starts the program, asks it for children, learns of their ends.

    ForkFailed   no child: the server did not start, or the machine refused the fork

A server that dies takes its children with it (PDEATHSIG); the next `fork` starts another.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from flowcore.bus.envelope import pack, unpack
from flowcore.runtime.agentfolder import is_agent_file
from flowcore.runtime.link import frame
from flowcore.runtime.output import Lines

START_TIMEOUT_S = FORK_TIMEOUT_S = 60.0  # a first import of a large library from a cold disk


class ForkFailed(OSError):
    """A fork server gave no child; the text says why."""


class Child:
    """A forked process. `ended` resolves to its exit status (negative: the signal that killed it)."""

    def __init__(self, pid: int, link: socket.socket, out_fd: int, err_fd: int) -> None:
        self.pid = pid
        self.link, self.out_fd, self.err_fd = link, out_fd, err_fd
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pidfd: int | None = None
        with contextlib.suppress(ProcessLookupError):  # it ended already; the server says so next
            self._pidfd = os.pidfd_open(pid)

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when the process has ended, even if its number is used again."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def set_ended(self, status: int) -> None:
        """The process is gone."""
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        if not self.ended.done():
            self.ended.set_result(status)

    def watch(self) -> None:
        """Learn of the end from the kernel, because the server that would have reported it is gone."""
        pidfd = self._pidfd
        if pidfd is None:
            self.set_ended(-signal.SIGKILL)
            return
        self.signal(signal.SIGKILL)
        loop = asyncio.get_running_loop()

        def gone() -> None:
            loop.remove_reader(pidfd)
            self.set_ended(-signal.SIGKILL)

        loop.add_reader(pidfd, gone)


class ForkServer:
    """A fork server for one set of libraries.

    Args:
        libraries: imported before the first fork.
        runner: the module whose `main(spec, link, page)` a child calls.
        environ: the whole environment of the server and its children.
        on_line: gets what the server itself prints.
    """

    def __init__(
        self,
        libraries: tuple[str, ...] = (),
        *,
        runner: str = "flowcore.runtime.runner",
        environ: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.libraries = libraries
        self._runner, self._on_line = runner, on_line
        self._environ = dict(os.environ if environ is None else environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready: asyncio.Future[int] | None = None
        self._starting = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[int]] = {}
        self._children: dict[int, Child] = {}
        self._early: dict[int, int] = {}  # ended before its `fork` call had resumed
        self._stopping = False
        self._is_retired = False

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the program unless it runs, and wait until it has imported its libraries.

        Raises:
            ForkFailed: it ended, or took longer than START_TIMEOUT_S.
        """
        async with self._starting:
            if self._control is not None:
                return
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            err_read, err_write = os.pipe()
            command = [sys.executable, "-m", "flowcore.runtime.forkserver", str(theirs.fileno()), str(os.getpid())]
            self._process = subprocess.Popen(  # noqa: ASYNC220 - from this thread: PDEATHSIG follows the thread
                [*command, self._runner, *self.libraries],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=err_write,
                stderr=err_write,
                env=self._environ,
                start_new_session=True,  # Ctrl-C is for the host, which drains first
            )
            theirs.close()
            os.close(err_write)
            await Lines.read(err_read, self._on_line)
            ours.setblocking(False)
            loop = asyncio.get_running_loop()
            self._control, self._ready = ours, loop.create_future()
            loop.add_reader(ours, self._read)
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    await self._ready
            except TimeoutError:
                self._lost()
                raise ForkFailed(f"the fork server was not ready after {START_TIMEOUT_S:.0f} s") from None

    async def fork(self, name: str, spec: dict[str, Any], page_fd: int) -> Child:
        """Fork a process; its spec goes over its own link, which the server never reads.

        The server learns the name and the spec's `module`, which it imports, unless that is a file of agents.

        Raises:
            ForkFailed: see the class.
        """
        await self.start()
        if self._stopping:
            raise ForkFailed("the host is stopping")
        link, theirs = socket.socketpair()
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        number, future = next(self._numbers), asyncio.get_running_loop().create_future()
        self._asked[number] = future
        try:
            module = spec.get("module", "")
            request = pack({"re": number, "name": name, "module": "" if is_agent_file(module) else module})
            await self._send(request, [theirs.fileno(), out_write, err_write, page_fd])
            async with asyncio.timeout(FORK_TIMEOUT_S):
                pid = await future
        except BaseException as e:
            link.close()
            os.close(out_read)
            os.close(err_read)
            if isinstance(e, (TimeoutError, BrokenPipeError, ConnectionError)):
                raise ForkFailed(f"the fork server did not answer: {e or type(e).__name__}") from None
            raise
        finally:
            self._asked.pop(number, None)
            theirs.close()
            os.close(out_write)
            os.close(err_write)
        child = Child(pid, link, out_read, err_read)
        if pid in self._early:
            child.set_ended(self._early.pop(pid))
            return child
        self._children[pid] = child
        if self._control is None:  # lost in between
            child.watch()
        link.setblocking(False)
        with contextlib.suppress(OSError):  # it may have been killed already: `ended` says so
            await asyncio.get_running_loop().sock_sendall(link, frame("spec", **{"spec": spec}))
        return child

    async def _send(self, request: bytes, fds: list[int]) -> None:
        for _ in range(1000):
            if self._control is None:
                raise ConnectionError("it has ended")
            try:
                socket.send_fds(self._control, [request], fds)
                return
            except BlockingIOError:  # hundreds of requests wait; it takes them one by one
                await asyncio.sleep(0.01)
        raise TimeoutError("its queue is full")

    def _read(self) -> None:
        assert self._control is not None
        while self._control is not None:
            try:
                datagram = self._control.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                datagram = b""
            if not datagram:
                self._lost()
                return
            self._take(unpack(datagram))

    def _take(self, message: dict[str, Any]) -> None:
        match message["op"]:
            case "ready":
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(message["pid"])
            case "forked":
                future = self._asked.get(message["re"])
                if future is not None and not future.done():
                    future.set_result(message["pid"])
            case "refused":
                future = self._asked.get(message["re"])
                if future is not None and not future.done():
                    future.set_exception(ForkFailed(f"fork: {message['error']}"))
            case "ended":
                child = self._children.pop(message["pid"], None)
                if child is not None:
                    child.set_ended(message["status"])
                elif self._asked:
                    self._early[message["pid"]] = message["status"]
                self._end_if_over()

    def _lost(self) -> None:
        """The server has ended (or must): its children end with it."""
        control, self._control = self._control, None
        if control is not None:
            asyncio.get_running_loop().remove_reader(control)
            control.close()
        process, self._process = self._process, None
        status = None
        if process is not None:
            process.kill()
            status = process.wait()
        error = ForkFailed(f"the fork server ended (status {status})")
        for future in (*self._asked.values(), *([self._ready] if self._ready else [])):
            if not future.done():
                future.set_exception(error)
        children, self._children = list(self._children.values()), {}
        for child in children:
            child.watch()

    def retire(self) -> None:
        """End when the last child has ended; there are no more forks."""
        self._is_retired = True
        self._end_if_over()

    @property
    def is_over(self) -> bool:
        """Retired, and ended."""
        return self._is_retired and self._control is None

    def _end_if_over(self) -> None:
        if self._is_retired and not self._children and not self._asked and self._control is not None:
            self._lost()

    async def stop(self) -> None:
        """End the server; children that still live die with it."""
        self._stopping = True
        if self._control is not None:
            children = list(self._children.values())
            self._lost()
            if children:
                await asyncio.wait([child.ended for child in children], timeout=5)
