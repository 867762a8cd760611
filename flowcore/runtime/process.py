"""One process of a node, from fork to end: start it to `ready`, let it go, talk to it, stop it, or see it die.

Knows the link, the page and the pipes of a process; what to do when it dies is `supervise`'s.

    StartFailed   it ended or gave up before it was ready: `error`, `traceback`, and whether trying again can help
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flowcore.buffers import files
from flowcore.buffers.sweep import sweep
from flowcore.runtime.forkclient import Child, ForkFailed, ForkServer
from flowcore.runtime.link import Link, LinkClosed, RequestFailed
from flowcore.runtime.output import Lines
from flowcore.runtime.page import DRAINING, Page

KILL_AFTER_BYE_S = 3.0
BYE_GRACE_S = 2.0  # beyond the drain time that the process was given
LAST_ACKS_S = 0.05  # how long a process that is replaced waits for acks of its outputs
ANSWER_TIMEOUT_S = 10.0


class StartFailed(Exception):
    """A process did not become ready; `error` is one line. `permanent`: the same again would fail the same way."""

    def __init__(self, error: str, traceback: str = "", permanent: bool = False) -> None:
        super().__init__(error)
        self.error, self.traceback, self.permanent = error, traceback, permanent


@dataclass(frozen=True)
class Bye:
    """How a process ended that was asked to stop. `clean`: it finished by itself and said so."""

    clean: bool
    handover: bytes | None = None
    unacked: dict[str, int] | None = None


@dataclass
class Listener:
    """Who hears of a process: each gets what its name says."""

    on_frame: Callable[["NodeProcess", dict[str, Any]], None]
    on_line: Callable[["NodeProcess", str, str], None]  # process, "stdout" or "stderr", line
    on_end: Callable[["NodeProcess", int], None]


class NodeProcess:
    """A process of the incarnation `inc`. `ended` is None while it lives, then its exit status."""

    def __init__(self, name: str, inc: int, listener: Listener) -> None:
        self.name, self.inc = name, inc
        self.ended: int | None = None
        self.killed_for = ""  # why the host killed it
        self.ready_ms = 0.0
        self.started_ns = time.time_ns()
        self.page: Page | None = None
        self.link: Link | None = None
        self._listener = listener
        self._child: Child | None = None
        self._pipes: list[Lines] = []
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        for future in (self._ready, self._running):
            future.add_done_callback(lambda f: f.cancelled() or f.exception())  # not always awaited

    @property
    def pid(self) -> int | None:
        """Its process id once forked."""
        return self._child.pid if self._child else None

    def silent_s(self, now_ns: int) -> float:
        """How long its event loop has not turned, 0 when it has ended or is about to; `now_ns`: time.monotonic_ns()."""
        if self.page is None or self.ended is not None or self.page.state == DRAINING:
            return 0.0
        return (now_ns - self.page.beat_ns) / 1e9

    async def start(self, server: ForkServer, spec: dict[str, Any], timeout: float) -> None:
        """Fork it and wait until it is ready; on failure nothing of it is left.

        Raises:
            StartFailed: see the class.
        """
        begun = time.perf_counter()
        fd, self.page = Page.create(self.name)
        try:
            child = await server.fork(self.name, spec, fd)
        except ForkFailed as e:
            raise StartFailed(str(e)) from None
        finally:
            os.close(fd)
        self._child = child
        child.ended.add_done_callback(self._on_end)
        try:
            self._pipes = [
                await Lines.read(child.out_fd, lambda line: self._listener.on_line(self, "stdout", line)),
                await Lines.read(child.err_fd, lambda line: self._listener.on_line(self, "stderr", line)),
            ]
            self.link = await Link.open(child.link, self._take, self._on_link_closed)
            async with asyncio.timeout(timeout):
                await self._ready
        except TimeoutError:
            await self.kill(f"not ready after {timeout:.0f} s")
            raise StartFailed(f"was not ready after {timeout:.0f} s (on_start takes too long)") from None
        except StartFailed:
            await self.kill("failed to start")
            raise
        except BaseException:
            self.kill_now("its start was cancelled")
            raise
        self.ready_ms = (time.perf_counter() - begun) * 1000

    async def go(self, suspects: list[dict[str, Any]], handover: bytes | None, timeout: float = 30.0) -> None:
        """Let it handle messages, and wait until it does.

        Raises:
            LinkClosed: it died first (`on_end` is called as for any death).
            TimeoutError: it did not answer.
        """
        self.send("go", suspects=suspects, handover=handover)
        async with asyncio.timeout(timeout):
            await self._running

    def send(self, op: str, **fields: Any) -> bool:
        """Send a frame; False when the process is gone."""
        return self.link is not None and self.link.send(op, **fields)

    async def request(self, op: str, answer: str, timeout: float, **fields: Any) -> dict[str, Any]:
        """Ask the process something.

        Raises:
            LinkClosed, RequestFailed, TimeoutError: as `Link.request`.
        """
        if self.link is None:
            raise LinkClosed("the process has no link")
        return await self.link.request(op, answer, timeout, **fields)

    async def rewire(self, wires: dict[str, Any]) -> None:
        """Give it other wires (`ProcessPlan.wires`). One that does not take them is killed: its successor has them."""
        try:
            await self.request("rewire", "rewired", ANSWER_TIMEOUT_S, **wires)
        except LinkClosed:
            pass  # its end is told otherwise
        except (RequestFailed, TimeoutError) as e:
            self.kill_now(f"could not be rewired: {e or 'no answer'}")

    async def reconfigure(self, config: dict[str, Any]) -> str | None:
        """Give it another config; None when it took it, else why not."""
        try:
            answer = await self.request("reconfigure", "reconfigured", ANSWER_TIMEOUT_S, config=config)
        except (LinkClosed, RequestFailed, TimeoutError) as e:
            return str(e) or "it did not answer"
        return str(answer["error"]) if answer.get("error") else None

    def set_mode(self, mode: str, before: str) -> None:
        """run, paused or bypassed; `before` is the mode it is in."""
        if mode == "paused":
            self.send("pause")
        elif mode == "bypassed":
            self.send("bypass", on=True)
        elif before == "paused":
            self.send("resume")
        else:
            self.send("bypass", on=False)

    async def stop(self, drain_s: float, acks_s: float = LAST_ACKS_S) -> Bye:
        """Ask it to finish and wait for its end; past `drain_s` it is killed, which is a crash.

        Args:
            acks_s: how long it waits for the acks of its outputs, within `drain_s`.
        """
        try:
            bye = await self.request("stop", "bye", drain_s + BYE_GRACE_S, drain_s=drain_s, acks_s=acks_s)
        except (LinkClosed, RequestFailed, TimeoutError) as e:
            why = f": {e}" if isinstance(e, RequestFailed) else f" within {drain_s:g} s"
            await self.kill(f"did not stop{why}")
            return Bye(False)
        try:
            async with asyncio.timeout(KILL_AFTER_BYE_S):
                await asyncio.shield(self._end)
        except TimeoutError:  # a thread of the node hangs; all that matters was said in the bye
            await self.kill("did not end after its bye")
        return Bye(True, bye.get("handover"), bye.get("unacked") or {})

    def kill_now(self, reason: str) -> None:
        """SIGKILL, without waiting for the end."""
        self.killed_for = self.killed_for or reason
        if self._child is not None:
            self._child.signal(signal.SIGKILL)

    async def kill(self, reason: str) -> None:
        """SIGKILL, and wait until it is gone."""
        self.kill_now(reason)
        if self._child is not None:
            await asyncio.shield(self._end)

    async def wait(self) -> int:
        """Wait for its end; its exit status."""
        return await asyncio.shield(self._end)

    def _take(self, message: dict[str, Any]) -> None:
        match message["op"]:
            case "ready":
                if not self._ready.done():
                    self._ready.set_result(None)
            case "running":
                if not self._running.done():
                    self._running.set_result(None)
            case "fail" if not self._ready.done():
                error = str(message.get("error") or "failed to start")
                failed = StartFailed(error, str(message.get("traceback") or ""), bool(message.get("permanent")))
                self._ready.set_exception(failed)
            case _:
                self._listener.on_frame(self, message)

    def _on_end(self, ended: "asyncio.Future[int]") -> None:
        self.ended = ended.result()
        if not self._ready.done():
            self._ready.set_exception(StartFailed(f"the process {describe(self.ended)} before it was ready"))
        if not self._running.done():
            self._running.set_exception(LinkClosed(f"the process {describe(self.ended)}"))
        if self.link is None or not self.link.is_open:
            self._gone()
        else:  # its last frames are in the socket still: they are read before the end of the stream
            asyncio.get_running_loop().call_later(0.2, self._gone)

    def _on_link_closed(self) -> None:
        if self.ended is not None:
            self._gone()

    def _gone(self) -> None:
        if self._end.done():
            return
        if self.link is not None:
            self.link.close()
        asyncio.get_running_loop().call_later(1.0, self._close_pipes)  # what it started may hold them open
        if files.are_named():  # memfds went with the process
            sweep()
        self._end.set_result(self.ended or 0)
        self._listener.on_end(self, self.ended or 0)

    def _close_pipes(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        if self.page is not None:
            self.page.close()
            self.page = None


def describe(status: int) -> str:
    """An exit status in words: "was killed by SIGSEGV"."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
