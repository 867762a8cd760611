"""NATS micro services over a `Connection`: announced again after every revival, answering to inboxes only.

nats-py's `nats.micro` does the announcing (`$SRV.PING`, `INFO`, `STATS`); requests are worked on in tasks of their
own, so that a slow one does not hold up the next.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from flowcore.bus import nats_py  # noqa: F401 - before the others

# isort: split
import nats.errors
import nats.micro
from nats.aio.msg import Msg
from nats.micro.request import ERROR_CODE_HEADER, ERROR_HEADER

from flowcore.bus.connection import Connection

# data of a request -> data of its answer, and (code, message) when it is an error
Answerer = Callable[[bytes], Awaitable[tuple[bytes, tuple[str, str] | None]]]

_log = logging.getLogger("flowcore.bus")
_LOOK_AGAIN_S = 1.0


class Service:
    """A NATS micro service: add endpoints, then start.

    nats-py gives up a client for good on some errors and `Connection` makes a new one; the service follows it there.
    """

    def __init__(self, connection: Connection, *, name: str, version: str, description: str) -> None:
        self._connection = connection
        self._config = {"name": name, "version": version, "description": description}
        self._endpoints: list[dict[str, Any]] = []
        self._service: Any = None
        self._client: Any = None
        self._tasks: set[asyncio.Task] = set()
        self._following: asyncio.Task | None = None

    def add(self, name: str, subject: str, answer: Answerer, metadata: dict[str, str]) -> None:
        """Add an endpoint; call it before `start`."""

        async def take(request: Any) -> None:
            task = asyncio.create_task(self._respond(request, answer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._endpoints.append({"name": name, "subject": subject, "handler": take, "metadata": metadata})

    async def start(self) -> None:
        """Announce the service on the bus."""
        await self._announce()
        self._following = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Withdraw the service; answers under way are still given."""
        if self._following is not None:
            self._following.cancel()
        if self._service is not None and self._client is self._connection.client:
            with contextlib.suppress(nats.errors.Error, OSError):
                await self._service.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)
            for task in self._tasks:
                task.cancel()

    async def _announce(self) -> None:
        self._client = self._connection.client
        self._service = await nats.micro.add_service(_InboxOnly(self._client), None, **self._config)  # type: ignore[arg-type]
        for endpoint in self._endpoints:
            await self._service.add_endpoint(**endpoint)
        await self._connection.flush()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_AGAIN_S)
            if self._client is not self._connection.client and self._connection.is_up:
                with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                    await self._announce()

    async def _respond(self, request: Any, answer: Answerer) -> None:
        data, error = await answer(request.data)
        headers = {ERROR_CODE_HEADER: error[0], ERROR_HEADER: _one_line(error[1])} if error else None
        try:
            await request.respond(data, headers=headers)
        except (nats.errors.Error, OSError) as e:
            _log.warning("an answer on %s was not sent: %s", request.subject, e)


class _InboxOnly:
    """The client as `nats.micro` sees it: requests whose reply subject is no inbox never arrive."""

    def __init__(self, client: Any) -> None:
        self._inner = client
        self._nuid = client._nuid

    async def subscribe(self, subject: str, queue: str = "", cb: Any = None) -> Any:
        async def checked(msg: Msg) -> None:
            if is_inbox(msg.reply):
                await cb(msg)

        return await self._inner.subscribe(subject, queue=queue, cb=checked)

    async def flush(self) -> None:
        await self._inner.flush()


def is_inbox(subject: str) -> bool:
    """True for a reply subject: `_INBOX_<user>.<token>`, or nats's own default `_INBOX.<token>`; no wildcards."""
    return subject.startswith(("_INBOX_", "_INBOX.")) and not set(subject) & set("*> \t\r\n")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
