"""nats-py as flowcore imports it: without aiohttp, a quarter of a second of each start, until somebody needs that.

nats-py uses aiohttp for WebSockets alone; a connection to a `ws://` URL imports it then.
"""

import importlib
import sys
from typing import Any


class _Later:
    """In the place of the module."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("aiohttp"), name)


def _import() -> None:
    if "nats" in sys.modules or "aiohttp" in sys.modules:
        return
    sys.modules["aiohttp"] = None  # type: ignore[assignment]  # what the import system takes for "not there"
    try:
        transport: Any = importlib.import_module("nats.aio.transport")
    finally:
        del sys.modules["aiohttp"]
    transport.aiohttp = _Later()


_import()
