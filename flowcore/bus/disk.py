"""The disk under the embedded bus: full, and with room again.

What nats-server 2.15.1 does by itself on a full disk, measured on tmpfs and ext4: the stream whose write failed answers
no publish from then on (time-outs), also when there is room again, until the server is restarted; `HEALTHZ` says so.
What was confirmed is there after the restart (with `persist_mode: async` the one message in flight was not). Other
streams, buckets and plain subjects go on. A server started with no room at all runs, but answers 503 on every stream
for ever.

So we look at the free bytes twice a second. Short of room, the streams of durable wires are lowered to the size they
have: their producers get an error at once and wait, nothing is written half. With room again they get their size
back, and the server is restarted when a stream has died or when it was started short of room.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from flowcore.bus import nats_py  # noqa: F401 - before the others

# isort: split
import nats.errors
import nats.js.errors
from nats.js import JetStreamContext, api

from flowcore.bus import storage

_PERIOD_S = 0.5
_HEALTH_PERIOD_S = 5.0
_LOW_BYTES = 64 * storage.MB
_LOW_SHARE = 20  # on a small disk: a twentieth of it
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 600.0  # between two restarts of a store that does not get well


class DiskWatch:
    """Looks after one store folder.

    Args:
        folder: where the store is.
        ask: a request to the server's system account (`EmbeddedServer.system_request`).
        jetstream: a context that may change streams.
        restart: ends the server in order and returns when another runs.
        on_event: called with `disk_full`, `disk_free`, `store_restart` and a line of detail.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ask: Callable[..., Awaitable[dict[str, Any]]],
        jetstream: Callable[[], JetStreamContext],
        restart: Callable[[], Awaitable[None]],
        on_event: Callable[[str, str], None],
    ) -> None:
        self._folder, self._ask, self._jetstream = folder, ask, jetstream
        self._restart, self._on_event = restart, on_event
        disk = os.statvfs(folder)
        self._low_bytes = min(_LOW_BYTES, disk.f_blocks * disk.f_frsize // _LOW_SHARE)
        self._is_low = False
        self._restart_wanted = False
        self._restart_pause_s = _FIRST_PAUSE_S
        self._restarted_at = -_LONGEST_PAUSE_S
        self._health_at = 0.0

    @property
    def is_low(self) -> bool:
        """True while durable wires are held because the disk is short of room."""
        return self._is_low

    def server_started(self) -> None:
        """The server has (re)started: one that starts short of room has to be started again later."""
        self._restart_wanted = self.free_bytes() < self._low_bytes

    def free_bytes(self) -> int:
        """Room for processes that are not root's."""
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            # The server may be away, or JetStream stuck: the next look tries again.
            with contextlib.suppress(OSError, TimeoutError, nats.errors.Error):
                await self.look()
            await asyncio.sleep(_PERIOD_S)

    async def look(self) -> None:
        """One look, and what follows from it."""
        free = self.free_bytes()
        if free < self._low_bytes:
            if not self._is_low:
                self._is_low = True
                self._on_event("disk_full", f"{_mb(free)} free on {self._folder}: durable wires wait for room")
            await self._lower()
        elif self._is_low and free > 2 * self._low_bytes:  # twice: no to and fro at the edge
            self._health_at = 0.0
            await self._heal()  # first: a stream that has died answers no change of its size
            await self._restore()
            self._is_low = False
            self._on_event("disk_free", f"{_mb(free)} free on {self._folder}: durable wires go on")
        elif not self._is_low:
            await self._heal()

    async def _lower(self) -> None:
        for info in await self._wire_streams():
            stream = info.config
            if (stream.max_bytes or 0) < storage.usual_size(stream):
                continue  # it is low already, perhaps since before the server's start
            # A work queue discards new messages, so that a limit below what it holds removes nothing [measured].
            stream.max_bytes = max(info.state.bytes, 1)
            with contextlib.suppress(nats.js.errors.APIError):
                await self._jetstream().update_stream(stream)

    async def _restore(self) -> None:
        for info in await self._wire_streams():
            stream = info.config
            if (stream.max_bytes or 0) < storage.usual_size(stream):
                stream.max_bytes = storage.usual_size(stream)
                with contextlib.suppress(nats.js.errors.NotFoundError):  # removed meanwhile
                    await self._jetstream().update_stream(stream)

    async def _wire_streams(self) -> list[api.StreamInfo]:
        found = await self._jetstream().streams_info_iterator()
        return [info for info in found if (info.config.metadata or {}).get("flowcore") == "wire"]

    async def _heal(self) -> None:
        now = time.monotonic()
        if now < self._health_at:
            return
        self._health_at = now + _HEALTH_PERIOD_S
        fault = "it was started without room"
        if not self._restart_wanted:
            health = (await self._ask("HEALTHZ", b"{}")).get("data", {})
            fault = str(health.get("error", ""))
            if "write error" not in fault:
                return
        if now < self._restarted_at + self._restart_pause_s:
            return
        # A store that dies again at once has another illness than a full disk: try it ever less often.
        soon = now < self._restarted_at + 4 * self._restart_pause_s
        self._restart_pause_s = min(self._restart_pause_s * 2, _LONGEST_PAUSE_S) if soon else _FIRST_PAUSE_S
        self._restarted_at = now
        self._on_event("store_restart", f"nats-server is restarted for its store's sake: {fault}")
        await self._restart()
        if not self._is_low:
            await self._restore()  # a server started short of room took no stream at its usual size


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / storage.MB:.0f} MB"
