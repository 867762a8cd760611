"""Flows with nodes on several hosts, as the main host resolved them: the bucket `placed`, flow id -> resolved flow.

One host resolves, so that all agree on the wires of a flow although their packages and environments may differ; each
host plans its own nodes' processes from it. Hosts that never see another one write nothing here.
"""

import json
import zlib
from dataclasses import replace
from typing import Any

from flowcore.bus.bucket import Bucket, Entry, WrongRevision
from flowcore.bus.connection import Connection
from flowcore.bus.storage import PLACED
from flowcore.flow.placement import is_spread
from flowcore.flow.resolved import ResolvedFlow
from flowcore.runtime.flowstore import StoredFlow


class PlacedFlows:
    """What the main host writes of a flow for the others."""

    def __init__(self, connection: Connection) -> None:
        self._bucket = Bucket(connection, PLACED)
        self._there: dict[str, tuple[int, bytes | None]] = {}

    async def start(self) -> None:
        """Read what an earlier run of this host wrote."""
        for flow in await self._bucket.keys():
            entry = await self._bucket.get(flow)
            if entry is not None:
                self._there[flow] = (entry.revision, entry.value)

    def is_shared(self, flow: str) -> bool:
        """Whether this flow has, or ever had, nodes on another host."""
        return flow in self._there

    def version(self, flow: str) -> int:
        """The revision of what is stored of a flow, 0 when nothing is."""
        return self._there.get(flow, (0, None))[0]

    async def put(self, flow: str, resolved: ResolvedFlow | None) -> None:
        """Store what a flow is now, unless it is stored; one without nodes elsewhere is taken away.

        Raises:
            BucketError, TimeoutError
        """
        value = _packed(resolved)
        while value != self._there.get(flow, (0, None))[1]:
            try:
                await self._write(flow, value)
            except WrongRevision:  # an earlier write of ours, whose answer was lost
                entry = await self._bucket.get(flow)
                self._there[flow] = (entry.revision, entry.value) if entry else (0, None)

    async def _write(self, flow: str, value: bytes | None) -> None:
        if value is None:
            self._there[flow] = (await self._bucket.delete(flow), None)
        else:
            self._there[flow] = (await self._bucket.put(flow, value, self.version(flow)), value)


def stored_part(entry: Entry) -> StoredFlow:
    """An entry of the bucket, as a member's store of flows keeps it."""
    if entry.value is None:
        return StoredFlow(entry.key, entry.revision, None, created_ns=entry.created_ns)
    try:
        document = dict(json.loads(zlib.decompress(entry.value)))
    except (ValueError, TypeError, zlib.error):
        document = {}
    return StoredFlow(entry.key, entry.revision, document, created_ns=entry.created_ns)


def resolved_part(document: dict[str, Any]) -> ResolvedFlow:
    """The resolved flow in such a document.

    Raises:
        ValueError: it is none, or one of a newer flowcore.
    """
    try:
        return ResolvedFlow.from_dict(document)
    except (KeyError, TypeError, AttributeError) as e:
        raise ValueError(f"what the main host wrote of it cannot be read ({type(e).__name__}: {e})") from None


def _packed(resolved: ResolvedFlow | None) -> bytes | None:
    if resolved is None or not is_spread(resolved):
        return None
    # Where a node stands in its file and what people are told of it changes nothing for another host.
    nodes = {id_: replace(node, pointer="") for id_, node in resolved.nodes.items()}
    return zlib.compress(json.dumps(replace(resolved, nodes=nodes, notes=[]).asdict()).encode())
