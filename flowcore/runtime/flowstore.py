"""What should run, as the bus keeps it: documents in the bucket `flows`, and `desired`, with a copy here.

The copy is what the reconciler works from: it lasts while the bus is away, and is read again when it is back.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from flowcore.bus.bucket import Bucket, BucketError, Entry, WrongRevision
from flowcore.bus.connection import Connection
from flowcore.bus.ending import end
from flowcore.bus.storage import DESIRED, FLOWS
from flowcore.runtime.logs import event
from flowcore.runtime.plans import Desired
from flowcore.runtime.results import StaleRevision, UnknownFlow

_LOOK_AGAIN_S = (0.0, 0.02, 0.1, 0.5, 2.0)
REREAD_S = 60.0


@dataclass(frozen=True)
class StoredFlow:
    """One revision of a flow: a document, or its deletion (`document` is None)."""

    flow: str
    revision: int
    document: dict[str, Any] | None
    source: str = ""
    created_ns: int = 0


class FlowStore:
    """The two buckets and their copy.

    Args:
        on_change: called with a flow id when its document or what is desired of it is another.
        bucket, read: where the documents are, and what an entry of it is; a member works from what the main host
            resolved (`hosts.placed`).
    """

    def __init__(
        self,
        connection: Connection,
        on_change: Callable[[str], None],
        bucket: str = FLOWS,
        read: "Callable[[Entry], StoredFlow] | None" = None,
    ) -> None:
        self._flows, self._desired = Bucket(connection, bucket), Bucket(connection, DESIRED)
        self._on_change, self._read = on_change, read or _stored
        self.documents: dict[str, StoredFlow] = {}
        self.desired: dict[str, Desired] = {}
        self._desired_revision: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Read everything, and hear of changes from now on."""
        await self._flows.watch(lambda flow: self._spawn(self._look(flow)))
        await self._desired.watch(lambda flow: self._spawn(self._look(flow)))
        await self.reread()
        self._spawn(self._reread_now_and_then())

    async def stop(self) -> None:
        """Hear of nothing more."""
        await end(list(self._tasks))

    def reread_soon(self) -> None:
        """The bus is back: changes may have been missed."""
        self._spawn(self._reread_quietly())

    async def reread(self) -> None:
        """Read both buckets again."""
        for flow in await self._flows.keys():
            self._take_flow(await self._flows.get(flow))
        for flow in await self._desired.keys():
            self._take_desired(await self._desired.get(flow))

    def flows(self) -> list[str]:
        """Ids of all flows that are not deleted."""
        return sorted(flow for flow, stored in self.documents.items() if stored.document is not None)

    def known(self, flow: str) -> str:
        """The same id.

        Raises:
            UnknownFlow
        """
        if flow not in (flows := self.flows()):
            raise UnknownFlow(flow, flows)
        return flow

    def wish(self, flow: str) -> Desired:
        """What is desired of a flow that is there."""
        return self.desired.get(self.known(flow), Desired())

    async def put(self, flow: str, document: dict[str, Any], source: str, based_on: int | None) -> StoredFlow:
        """Store a document as a new revision, unless it is the newest already.

        Raises:
            StaleRevision: the newest revision is not `based_on`.
            TimeoutError, BucketError: it is not stored.
        """
        newest = await self._flows.get(flow)
        current = newest.revision if newest else 0
        if based_on is not None and based_on != current and not (newest and newest.value is None and based_on == 0):
            raise StaleRevision(flow, based_on, current)
        there = _stored(newest) if newest else None
        if there is not None and there.document == document:
            self._take_flow(newest)
            return there
        value = json.dumps({"document": document, "source": source}, ensure_ascii=False).encode()
        try:
            revision = await self._flows.put(flow, value, current if based_on is not None else None)
        except WrongRevision:
            newest = await self._flows.get(flow)
            raise StaleRevision(flow, based_on or 0, newest.revision if newest else 0) from None
        entry = await self._flows.get(flow, revision)
        stored = _stored(entry) if entry else StoredFlow(flow, revision, document, source)
        self._take(stored)
        return stored

    async def remove(self, flow: str) -> int:
        """Store the deletion of a flow and of what is desired of it; returns the revision."""
        revision = await self._flows.delete(flow)
        await self._desired.delete(flow)
        self.desired.pop(flow, None)
        self._take(StoredFlow(flow, revision, None))
        return revision

    async def set_desired(self, flow: str, desired: Desired) -> None:
        """Store what is desired of a flow."""
        value = json.dumps(asdict(desired)).encode()
        self._desired_revision[flow] = await self._desired.put(flow, value)
        if self.desired.get(flow, Desired()) != desired:
            self.desired[flow] = desired
            self._on_change(flow)

    async def revision(self, flow: str, revision: int | None = None) -> StoredFlow | None:
        """One revision of a flow (None: the newest), None when it is not there or a deletion."""
        entry = await self._flows.get(flow, revision)
        return _stored(entry) if entry is not None and entry.value is not None else None

    async def revisions(self, flow: str) -> list[StoredFlow]:
        """All revisions that are kept, oldest first."""
        return [_stored(entry) for entry in await self._flows.history(flow)]

    def desired_revision(self, flow: str) -> int:
        """The revision of what is desired of a flow, as far as it is known here."""
        return self._desired_revision.get(flow, 0)

    async def look(self, flow: str) -> None:
        """Read a flow and what is desired of it now.

        Raises:
            BucketError, TimeoutError
        """
        self._take_flow(await self._flows.get(flow))
        self._take_desired(await self._desired.get(flow))

    async def _look(self, flow: str) -> None:
        """Word came that a key was written; the server may not have stored it yet."""
        for wait_s in _LOOK_AGAIN_S:
            await asyncio.sleep(wait_s)
            try:
                changed = self._take_flow(await self._flows.get(flow))
                changed |= self._take_desired(await self._desired.get(flow))
            except (TimeoutError, BucketError):
                return  # away; the reconnect reads again
            if changed:
                return

    async def _reread_quietly(self) -> None:
        with contextlib.suppress(TimeoutError, BucketError):
            await self.reread()

    async def _reread_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(REREAD_S)
            await self._reread_quietly()

    def _take_flow(self, entry: Entry | None) -> bool:
        if entry is None:
            return False
        known = self.documents.get(entry.key)
        return (known is None or entry.revision > known.revision) and self._take(self._read(entry))

    def _take(self, stored: StoredFlow) -> bool:
        known = self.documents.get(stored.flow)
        if known is not None and known.revision >= stored.revision:
            return False
        self.documents[stored.flow] = stored
        self._on_change(stored.flow)
        return True

    def _take_desired(self, entry: Entry | None) -> bool:
        if entry is None or entry.revision <= self._desired_revision.get(entry.key, 0):
            return False
        self._desired_revision[entry.key] = entry.revision
        desired = Desired()
        if entry.value is not None:
            try:
                values = json.loads(entry.value)
                paused, bypassed = tuple(values.get("paused", ())), tuple(values.get("bypassed", ()))
                desired = Desired(bool(values.get("running", True)), paused, bypassed)
            except (ValueError, AttributeError, TypeError):
                event("what is desired of a flow cannot be read", logging.ERROR, flow=entry.key)
                return False
        if self.desired.get(entry.key, Desired()) == desired:
            return False
        self.desired[entry.key] = desired
        self._on_change(entry.key)
        return True

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _stored(entry: Entry) -> StoredFlow:
    """An entry of the bucket; a value that is no flow becomes a document that says so when it is resolved."""
    if entry.value is None:
        return StoredFlow(entry.key, entry.revision, None, created_ns=entry.created_ns)
    try:
        values = json.loads(entry.value)
        document, source = dict(values["document"]), str(values.get("source", ""))
        return StoredFlow(entry.key, entry.revision, document, source, entry.created_ns)
    except (ValueError, KeyError, TypeError):
        return StoredFlow(entry.key, entry.revision, {}, "", entry.created_ns)
