"""What a process that moved left for its successor on another host: hand-overs in the bucket `handover`.

Cut into parts, because the bus takes 8 MB in one message. The number of parts is written last, so what can be read is
whole; it is taken away when the successor's host has it on its own disk.
"""

import json
from collections.abc import Iterable

from flowcore.bus import subjects
from flowcore.bus.bucket import Bucket
from flowcore.bus.connection import Connection
from flowcore.bus.storage import HANDOVER

_PART_BYTES = 4 * 1024 * 1024


class Parcels:
    """Hand-overs on the bus."""

    def __init__(self, connection: Connection) -> None:
        self._bucket = Bucket(connection, HANDOVER)

    async def send(self, flow: str, process: str, handover: bytes) -> None:
        """Leave one for whoever runs this process next.

        Raises:
            BucketError, TimeoutError: it is not there.
        """
        key = _key(flow, process)
        parts = [handover[at : at + _PART_BYTES] for at in range(0, len(handover), _PART_BYTES)]
        for number, part in enumerate(parts):
            await self._bucket.put(f"{key}.{number}", part)
        await self._bucket.put(key, json.dumps({"parts": len(parts), "bytes": len(handover)}).encode())

    async def waiting(self, flow: str, processes: Iterable[str]) -> list[str]:
        """Those of a flow's processes for which one waits, or waited.

        Raises:
            BucketError, TimeoutError
        """
        there = set(await self._bucket.keys())
        return [process for process in processes if _key(flow, process) in there]

    async def read(self, flow: str, process: str) -> bytes | None:
        """The one that waits for this process, None when none does.

        Raises:
            BucketError, TimeoutError
        """
        key = _key(flow, process)
        head = await self._bucket.get(key)
        if head is None or head.value is None:
            return None
        said = json.loads(head.value)
        entries = [await self._bucket.get(f"{key}.{number}") for number in range(said["parts"])]
        handover = b"".join(entry.value for entry in entries if entry is not None and entry.value is not None)
        return handover if len(handover) == said["bytes"] else None

    async def forget(self, flow: str, process: str) -> None:
        """It was taken.

        Raises:
            BucketError, TimeoutError
        """
        key = _key(flow, process)
        head = await self._bucket.get(key)
        if head is None or head.value is None:
            return
        await self._bucket.delete(key)
        for number in range(json.loads(head.value)["parts"]):
            await self._bucket.delete(f"{key}.{number}")


def _key(flow: str, process: str) -> str:
    return subjects.state_key(flow, process)
