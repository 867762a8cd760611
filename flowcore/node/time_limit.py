"""How long a handler may take: the node's setting `timeout_s`.

A time-out counts the handler's own time: what its outputs wait for credit is not its fault. An async handler is
cancelled by the node's clock; into a sync one `HandlerTimeout` is raised in its thread (`flowcore.node.runs` sees to it
that it hits nothing else). One that stays all the same keeps its thread, and with it the process, which is given up.

    HandlerTimeout   it was not finished in time
"""

import asyncio
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from flowcore.node.policies import HandlerTimeout
from flowcore.node.runs import Call, Run
from flowcore.node.work import HandlerThread

if TYPE_CHECKING:
    from flowcore.node.engine import Engine

_GRACE_S = 1.0  # for a sync handler to leave after its time-out was raised in it


class TimeLimit:
    """The time limit of one engine's handlers.

    Attributes:
        seconds: for each message, call or value of a generator; None: as long as it takes.
    """

    def __init__(self, seconds: float | None, engine: "Engine") -> None:
        self.seconds = seconds
        self._engine = engine

    async def within(self, awaitable: Awaitable[Any]) -> Any:
        """What an async handler returns.

        Raises:
            HandlerTimeout: it took too long, and was cancelled. And what it raises.
        """
        limit = self._engine.clock.timeout(self.seconds)
        try:
            async with limit:
                return await awaitable
        except TimeoutError:
            if limit.expired():
                raise HandlerTimeout(f"not finished after {self.seconds} s") from None
            raise

    async def in_thread(self, thread: HandlerThread, run: Run | Call) -> None:
        """Run in the handler thread; past the time-out raise in it, and give the process up if that doesn't help.

        What the handler raised, `HandlerTimeout` too, is kept in `run`.
        """
        future, limit_s = thread.call(run), self.seconds
        if limit_s is None:
            await future
            return
        while not future.done():
            started_s = run.started_s
            left_s = limit_s - (time.perf_counter() - started_s) if started_s else limit_s
            await asyncio.wait({future}, timeout=max(left_s, 0.001))
            if not future.done() and run.expire(thread.ident, limit_s):
                await asyncio.wait({future}, timeout=_GRACE_S)
                if not future.done() and run.is_expired:
                    self._engine.around.stuck(run.message)
                    await future
        future.result()
        if isinstance(run.error, HandlerTimeout) and not run.error.args:
            run.error.args = (f"not finished after {limit_s} s",)
