"""Ending tasks that may be asking the bus."""

import asyncio
from collections.abc import Iterable
from typing import Any


async def end(tasks: "Iterable[asyncio.Task[Any]]", again_s: float = 2.0) -> None:
    """Cancel tasks, and again until they have ended; what they raise is dropped.

    Once is not enough: nats-py waits for answers by `asyncio.wait_for`, which before Python 3.12 loses a cancellation
    that meets the answer (python/cpython#86296), and turns others into a time-out. Its caller would go on for ever.

    Args:
        again_s: how long a task has for putting in order what it was doing.
    """
    every = list(tasks)
    left = {task for task in every if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again_s)
    for task in every:
        if not task.cancelled():
            task.exception()  # asked for: else asyncio logs it
