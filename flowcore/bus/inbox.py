"""Requests to nodes on their `in` subjects, answered when the message was handled.

    NobodyListens   no process of the node is there to take it

A node may answer on `_INBOX.>` only, the outsiders' root; a connection's own inbox is elsewhere, hence this one.
"""

import asyncio
import secrets
from types import TracebackType
from typing import Self

from flowcore.bus.connection import Connection
from flowcore.bus.permissions import INBOX


class NobodyListens(ConnectionError):
    """The server has nobody to give the request to."""


class Inbox:
    """A reply subject for many requests at once: `async with Inbox(connection) as inbox`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._root = f"{INBOX}.host-{secrets.token_hex(8)}"
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._count = 0

    async def __aenter__(self) -> Self:
        await self._connection.subscribe(f"{self._root}.*", self._on_answer)
        await self._connection.flush()
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self._connection.unsubscribe(f"{self._root}.*")

    async def ask(self, subject: str, data: bytes, timeout: float) -> bytes:
        """Send, and wait for the answer.

        Raises:
            NobodyListens, TimeoutError
        """
        self._count += 1
        reply = f"{self._root}.{self._count}"
        future = self._waiting[reply] = asyncio.get_running_loop().create_future()
        try:
            await self._connection.client.publish(subject, data, reply=reply)
            async with asyncio.timeout(timeout):
                return await future
        finally:
            del self._waiting[reply]

    def _on_answer(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        future = self._waiting.get(subject)
        if future is None or future.done():
            return
        if b" 503" in headers[:20]:
            future.set_exception(NobodyListens(subject))
        else:
            future.set_result(data)
