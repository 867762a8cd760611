"""Telling a server what the flow is done with: in groups, in order, and again over the next connection."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from flowcore_nodes.core.patience import Away, Refused

_AT_ONCE, _AGAIN_S = 1000, 0.2
T = TypeVar("T")


class Confirmations(Generic[T]):
    """What is done and not told yet.

    Args:
        tell: tells the server of some; raises Away or Refused where it was not told. Whoever reads from the server
            shows that it is away.
    """

    def __init__(self, tell: Callable[[list[T]], Awaitable[None]]) -> None:
        self._tell, self._done = tell, list[T]()
        self._added, self._telling = asyncio.Event(), asyncio.Lock()

    def add(self, one: T) -> None:
        """The flow is done with it."""
        self._done.append(one)
        self._added.set()

    async def run(self) -> None:
        """Tell what comes, for ever."""
        while True:
            await self._added.wait()
            self._added.clear()
            try:
                await self.tell_all()
            except (Away, Refused):
                await asyncio.sleep(_AGAIN_S)
                self._added.set()

    async def tell_all(self) -> None:
        """Tell what is there now. Raises Away, Refused."""
        async with self._telling:
            while self._done:
                some = self._done[:_AT_ONCE]
                await self._tell(some)
                del self._done[: len(some)]
