"""Coming back by itself: a connection that is made again, and a badge that says how it is."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from flowcore.node import Node

_FIRST_WAIT_S, _LONGEST_WAIT_S, _LASTED_S = 0.1, 1.5, 5.0


class Closed(ConnectionError):
    """The peer has ended the connection in order."""


class Again:
    """Runs `session` for ever: it connects, says `up()`, and works until the connection ends.

    Args:
        where: for people.
        errors: those after which trying again makes sense; others end the node's `run`.
    """

    def __init__(self, node: Node, where: str, errors: tuple[type[BaseException], ...] = ()) -> None:
        self.is_up = False
        self._node, self.where = node, where
        self._errors: tuple[type[BaseException], ...] = (OSError, TimeoutError, EOFError, *errors)
        self._came_up = asyncio.Event()
        self._has_told = False

    def up(self, text: str = "") -> None:
        """The peer is there."""
        self.is_up, self._has_told = True, False
        self._came_up.set()
        self._node.set_status(text or f"connected: {self.where}")

    async def until_up(self) -> None:
        """Wait for the peer."""
        await self._came_up.wait()

    def down(self) -> None:
        """It is not there: whoever waits for `until_up` waits for the next connection."""
        self.is_up = False
        self._came_up.clear()

    @staticmethod
    def go_on() -> None:
        """For a loop around calls of a library. Raises CancelledError, where the library has swallowed it.

        `asyncio.wait_for` of Python 3.11 does, when what it waits for is there at the same moment.
        """
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError

    async def run(self, session: Callable[[], Awaitable[None]]) -> None:
        """See the class; ends when it is cancelled."""
        wait_s = _FIRST_WAIT_S
        self._node.set_status(f"connecting: {self.where}", "busy")
        while True:
            began_s = time.monotonic()
            try:
                await session()
                error: BaseException = Closed("the other side has ended the connection")
            except self._errors as e:
                error = e
            self.down()
            if time.monotonic() - began_s > _LASTED_S:
                wait_s = _FIRST_WAIT_S
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            self._node.set_status(f"trying again: {self.where}: {why}", "error")
            if not self._has_told:
                self._has_told = True
                self._node.report(ConnectionError(f"{self.where}: {why}"))
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
