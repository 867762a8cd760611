"""Nodes tried on a sample, in a process beside the gateway that has a runtime of its own (`flowcore.testing.sampling`).

One process, started at the first try and kept for some minutes, because its start takes seconds and a try does not.
One try runs at a time, few wait. A try that does not end is ended with its process: the next gets a new one.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import Any

from aiohttp import web

from flowcore.gateway.answers import ok, refusal
from flowcore.gateway.rest import read_object

_START_S = 60.0
_LATER_S = 15.0  # after its own limit, until a try's process is ended
_IDLE_S = 300.0
_END_S = 5.0
_WAITING = 4
_LONGEST_ANSWER = 32 << 20
_LONGEST_TRY_S = 60.0


class Trials:
    """The process, and who waits for it."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._idle: asyncio.TimerHandle | None = None
        self._ends: set[asyncio.Task[None]] = set()

    async def serve(self, request: web.Request) -> web.Response:
        """POST /api/try."""
        body = await read_object(request)
        if isinstance(body, web.Response):
            return body
        if self._waiting >= _WAITING:
            return refusal(429, "busy", f"{self._waiting} tries are under way", "Wait until one of them is done.")
        self._waiting += 1
        try:
            async with self._turn:
                return self._answered(await self._ask(body))
        except (OSError, TimeoutError, ValueError) as e:
            return refusal(503, "failed", f"the try could not be run: {e}", "Try again; flowcore logs may say more.")
        finally:
            self._waiting -= 1

    async def warm(self, _request: web.Request) -> web.Response:
        """POST /api/try/ready: start the process, so that the first try finds it there."""
        if not self._turn.locked():
            async with self._turn:
                with contextlib.suppress(OSError, TimeoutError):
                    await self._running()
        return ok({"ready": self._process is not None})

    async def close(self, _app: web.Application | None = None) -> None:
        """End the process."""
        self._end()
        await asyncio.gather(*self._ends)

    @staticmethod
    def _answered(said: dict[str, Any]) -> web.Response:
        if said.get("outcome") == "invalid":
            return refusal(400, "invalid_request", "; ".join(said["lines"]), "See /api/openapi.json.")
        if said.get("outcome") == "fault":
            return refusal(500, "failed", "; ".join(said["lines"]), "flowcore logs may say more.")
        return ok(said)

    async def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        process = await self._running()
        assert process.stdin is not None and process.stdout is not None
        limit_s = body.get("timeout_s")
        own_s = min(limit_s, _LONGEST_TRY_S) if isinstance(limit_s, (int, float)) else _LONGEST_TRY_S
        try:
            async with asyncio.timeout(own_s + _LATER_S):
                process.stdin.write(json.dumps(body).encode() + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
        except BaseException:  # also when its browser went: what it would answer is nobody's
            self._end()
            raise
        if not line:
            self._end()
            raise OSError("its process has ended")
        return dict(json.loads(line))

    async def _running(self) -> asyncio.subprocess.Process:
        """The process, started when there is none; from now on it is kept for a while."""
        if self._idle is not None:
            self._idle.cancel()
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "flowcore.testing.sampling"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # what it fails with is in its answers
                limit=_LONGEST_ANSWER,
                start_new_session=True,
            )
            assert self._process.stdout is not None
            try:
                async with asyncio.timeout(_START_S):
                    if not await self._process.stdout.readline():
                        raise OSError("its process does not start")
            except BaseException:
                self._end()
                raise
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self._rest)
        return self._process

    def _rest(self) -> None:
        if self._turn.locked():
            self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self._rest)
        else:
            self._end()

    def _end(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            task = asyncio.create_task(_ended(process))
            self._ends.add(task)
            task.add_done_callback(self._ends.discard)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """In order, if it can; else with all that it started, which end with it."""
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _END_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


TRIALS = web.AppKey("trials", Trials)


def add_trials(app: web.Application) -> None:
    """Put it on an application."""
    app[TRIALS] = trials = Trials()
    app.router.add_post("/api/try", trials.serve)
    app.router.add_post("/api/try/ready", trials.warm)
    app.on_cleanup.append(trials.close)
