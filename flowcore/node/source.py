"""A source's `run()`: begun, begun again when it fails, cancelled.

Knows nothing of what it sends, nor of credit and pauses (`flowcore.node.emit` does).

Invariant: `run()` goes on at most once at a time, unless one did not end though it was cancelled.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowcore.node.node import Node

_RUN_AGAIN_S, _LONGEST_RUN_AGAIN_S = 0.5, 30.0


class Source:
    """The `run()` of one node; a node that has none is never begun.

    Args:
        on_error: told of what `run()` raised.
    """

    def __init__(self, node: "Node", on_error: Callable[[BaseException], Any]) -> None:
        self._node, self._on_error = node, on_error
        self._task: asyncio.Task | None = None

    @property
    def is_running(self) -> bool:
        """True from `begin` to `quiesce`, also when `run()` has come to its end."""
        return self._task is not None

    def begin(self) -> None:
        """Run it; when it raises, again after half a second, a second ... half a minute."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def quiesce(self, timeout_s: float | None = None) -> None:
        """Stop making messages; what was made is handled and sent as before."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            _, late = await asyncio.wait({task}, timeout=timeout_s)
            if late:
                self._node.log.warning("run() does not end though it was cancelled")

    async def _run(self) -> None:
        wait_s = _RUN_AGAIN_S
        while True:
            started_s = time.monotonic()
            try:
                await self._node.run()  # type: ignore[attr-defined]
                return
            except (Exception, asyncio.CancelledError) as e:
                if isinstance(e, asyncio.CancelledError) and _is_cancelled():
                    raise
                self._on_error(e)  # a CancelledError that came out of a library is no reason to end either
            if time.monotonic() - started_s > 60:
                wait_s = _RUN_AGAIN_S
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_RUN_AGAIN_S)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
