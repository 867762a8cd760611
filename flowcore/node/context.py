"""`self.flow_context` and `self.global_context`: values that the nodes of a flow, or of all flows, share.

Each key is an entry of a key-value bucket, changed by compare-and-set. Unlike `self.state` it is not tied to messages.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import quote

from flowcore.bus.envelope import pack, unpack

_TRIES = 50


class KeyValues(Protocol):
    """One entry after another of a key-value bucket; a revision is 0 for what is not there."""

    async def get(self, key: str) -> tuple[bytes | None, int]:
        """The entry's bytes and revision."""

    async def put(self, key: str, value: bytes, revision: int | None) -> bool:
        """Write it; False when `revision` is given and no longer the newest."""


class Context:
    """A shared map, read and written over the bus.

    Args:
        scope: what its keys begin with: a flow's id, or `global`.
    """

    def __init__(self, values: KeyValues | None, scope: str) -> None:
        self._values, self._scope = values, scope

    def _entry(self, key: str) -> tuple[KeyValues, str]:
        if self._values is None:
            raise PermissionError("this node's class does not ask for it: it needs `context = ('flow', 'global')`")
        # Any text is a key: what a key-value key refuses is escaped, and `%` itself becomes `=`.
        return self._values, f"{self._scope}.{quote(key, safe='').replace('.', '%2E').replace('%', '=')}"

    async def get(self, key: str, default: Any = None) -> Any:
        """The newest value."""
        values, entry = self._entry(key)
        data, _ = await values.get(entry)
        return unpack(data) if data else default

    async def set(self, key: str, value: Any) -> None:
        """Write a value; None removes it."""
        values, entry = self._entry(key)
        await values.put(entry, b"" if value is None else pack(value), None)

    async def update(self, key: str, change: Callable[[Any], Any], default: Any = None) -> Any:
        """Set the key to `change(current value)`, again if another node was faster. Returns the new value."""
        values, entry = self._entry(key)
        for attempt in range(_TRIES):
            data, revision = await values.get(entry)
            new = change(unpack(data) if data else default)
            if await values.put(entry, b"" if new is None else pack(new), revision):
                return new
            await asyncio.sleep(0.001 * attempt)
        raise TimeoutError(f"the shared value {key!r} changes too fast: {_TRIES} tries")
