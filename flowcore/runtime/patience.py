"""How what needs the bus, or the reconciler, is waited for: with an error that says what was done and what was not."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from flowcore.bus.bucket import BucketError
from flowcore.runtime.results import HostError

SETTLE_TIMEOUT_S = 60.0

T = TypeVar("T")


async def in_time(done: Awaitable[T], timeout_s: float, stored: str) -> T:
    """Wait until what was stored is applied.

    Args:
        stored: what was, in words.
    Raises:
        TimeoutError: it is stored, and not applied after `timeout_s`.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await done
    except TimeoutError as e:
        raise TimeoutError(str(e) or f"{stored}, but was not applied within {timeout_s:g} s") from None


async def on_bus(work: Awaitable[T]) -> T:
    """Do something that needs the bus.

    Raises:
        TimeoutError: it is away; nothing was changed.
        HostError: it refused; nothing was changed.
    """
    try:
        return await work
    except TimeoutError:
        raise TimeoutError("the bus does not answer; nothing was changed, what runs goes on") from None
    except BucketError as e:
        raise HostError(f"{e}; nothing was changed") from None
