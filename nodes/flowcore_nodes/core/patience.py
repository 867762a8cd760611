"""Asking a server until it answers: what the nodes share that ask by a call, and not over a session of their own.

Refused   what was asked is wrong: trying again is of no use
Away      the server can't be reached, lets nobody in, is busy or full: trying again is
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from flowcore.node import Node

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 1.5
T = TypeVar("T")


class Refused(ValueError):
    """For good."""


class Away(ConnectionError):
    """For now."""


class Patience:
    """Makes a call until its server is there, and shows on the node's badge how that is.

    Args:
        where: for people.
    """

    def __init__(self, node: Node, where: str) -> None:
        self._node, self._where = node, where
        self._is_up: bool | None = None  # None: not asked yet

    async def until_done(self, call: Callable[[], Awaitable[T]]) -> T:
        """What `call()` gives. Raises Refused, and what else it raises but Away."""
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                done = await call()
            except Away as e:
                self.away(e)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
            except Refused:
                self.up()  # it has answered
                raise
            else:
                self.up()
                return done

    def up(self) -> None:
        """The server is there."""
        if not self._is_up:
            self._node.set_status(f"connected: {self._where}")
        self._is_up = True

    def away(self, why: Exception) -> None:
        """It is not: told once, shown each time."""
        if self._is_up is not False:
            self._node.report(Away(f"{self._where}: {why}"))
        self._is_up = False
        self._node.set_status(f"trying again: {self._where}: {why}", "error")
