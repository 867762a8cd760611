"""A host as the work of a whole process: it runs until SIGINT, SIGTERM or `flowcore down` ends it.

The first signal, and `Host.request_stop`, begin the orderly stop, also while the host still starts; a signal after that
ends the process at once. Who has a host beside other work (a test, a trial) calls its `start` and `stop` instead.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import Any

from flowcore.runtime.host import Host
from flowcore.runtime.logs import event
from flowcore.runtime.results import Undrained

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def run_until_stopped(host: Host, on_started: Callable[[Host], Any] | None = None) -> list[Undrained]:
    """Start a host, wait until it is told to stop, stop it; returns what its wires still owed.

    Args:
        on_started: called once it is started; not when it was told to stop before.
    Raises:
        What `Host.start` raises.
    """
    loop = asyncio.get_running_loop()
    try:
        for number in _SIGNALS:
            loop.add_signal_handler(number, _on_signal, host, number)
        if not await _start_unless_asked_to_stop(host):
            return []
        if on_started is not None:
            on_started(host)
        await host.stop_asked()
        return await host.stop()
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _start_unless_asked_to_stop(host: Host) -> bool:
    """A member may wait long for its bus."""
    starting, stopping = asyncio.ensure_future(host.start()), asyncio.ensure_future(host.stop_asked())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            return True
        return False
    finally:
        stopping.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)


def _on_signal(host: Host, number: int) -> None:
    if not host.is_stop_asked:
        host.request_stop()
        return
    event("ended at once by a second signal", logging.WARNING)
    host.end_at_once(128 + number)
