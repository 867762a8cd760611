"""The flows' documents: checked, stored as revisions, applied; read again, and taken away.

A document comes in as the text of a file, so that what is wrong in it is told with its line. It is stored before it is
applied: what runs follows from the store (`reconcile`), after a restart of the host, too. What of a running flow is
started, stopped or paused by hand is `steering`'s.

Every method that names a flow raises UnknownFlow for one that is not there. Those that wait for the bus or for a flow
to settle raise TimeoutError.

Invariant: a document with errors is never stored by `deploy`.
"""

import contextlib
import json
import os
import time
from dataclasses import replace
from typing import Any

from flowcore.flow.validate import Checked, check
from flowcore.runtime.flowstore import FlowStore, StoredFlow
from flowcore.runtime.ground import Ground
from flowcore.runtime.hosts.elsewhere import Elsewhere
from flowcore.runtime.patience import SETTLE_TIMEOUT_S, in_time, on_bus
from flowcore.runtime.reconcile import Reconciler
from flowcore.runtime.results import DeployRefused, DeployResult, UnknownFlow, UnknownRevision


class Documents:
    """Those of one host."""

    def __init__(self, store: FlowStore, reconciler: Reconciler, elsewhere: Elsewhere, ground: Ground) -> None:
        self._store, self._reconciler, self._elsewhere, self._ground = store, reconciler, elsewhere, ground

    def check(self, text: str | bytes, filename: str) -> Checked:
        """Validate with the types, secrets and environment of this host; changes nothing."""
        ground = self._ground
        return check(
            text,
            filename,
            ground.all_types,
            os.environ,
            {*ground.secrets.names(), *ground.shared.secrets()},
            self._reconciler.others(_id_in(text)),
            ground.shared.types_by_host(ground.types),
            ground.upgrades.of,
        )

    async def prepare(self, text: str | bytes) -> None:
        """Have the older configs in a document upgraded by their types, for a `check` of it."""
        with contextlib.suppress(ValueError, RecursionError):  # which the check will tell
            await self._ground.upgrades.prepare([json.loads(text)], self._ground.types, self._ground.code)

    async def deploy(
        self, text: str | bytes, filename: str = "<deploy>", *, based_on: int | None = None, timeout_s: float = 60.0
    ) -> DeployResult:
        """Check, store as a new revision, apply, and say what changed. An unchanged document makes no new revision.

        Args:
            based_on: the revision the author started from; None: whatever is there is replaced.
        Raises:
            DeployRefused: the document has errors; nothing was changed.
            StaleRevision: the newest revision is not `based_on`.
            TimeoutError: it is stored, but not yet applied after `timeout_s`; or the bus is away and nothing was
            stored.
        """
        begun = time.perf_counter()
        await self.prepare(text)
        checked = self.check(text, filename)
        if checked.document is None or checked.resolved is None:
            raise DeployRefused(_id_in(text) or filename, checked.problems)
        flow = checked.document.id
        before, was = self._reconciler.marks(flow), self._elsewhere.before(flow)
        stored = await on_bus(self._store.put(flow, json.loads(text), filename, based_on))
        done = self._reconciler.applied(flow, stored.revision)
        if self._reconciler.marks(flow) == before:  # nothing new: say what runs
            done.close()
            done = self._reconciler.settled(flow, self._reconciler.mark(flow))
        result = await in_time(done, timeout_s, f"revision {stored.revision} of flow {flow!r} is stored")
        result = await self._elsewhere.joined(result, was, timeout_s)
        notes = [str(one) for one in checked.problems]
        if not self._store.wish(flow).running:
            notes.append(f"flow {flow!r} is stopped: it runs when it is started")
        return replace(result, notes=(*notes, *result.notes), took_s=time.perf_counter() - begun)

    async def remove(self, flow: str) -> DeployResult:
        """Stop a flow and take it out of the bucket; its revisions stay in the history."""
        was = self._elsewhere.before(self._store.known(flow))
        await self._elsewhere.quiet(flow, self._ground.drain_s)
        revision = await on_bus(self._store.remove(flow))
        done = self._reconciler.applied(flow, revision)
        result = await in_time(done, SETTLE_TIMEOUT_S, f"flow {flow!r} is removed")
        return await self._elsewhere.joined(result, was, SETTLE_TIMEOUT_S)

    async def read(self, flow: str, revision: int | None = None) -> dict[str, Any]:
        """{"flow", "revision", "created_ns", "document", "source"} of one revision (None: the newest).

        Raises:
            UnknownFlow, UnknownRevision
        """
        stored = await on_bus(self._store.revision(flow, revision))
        if stored is None:
            known = self._store.flows()
            if revision is not None and flow in known:
                kept = [each.revision for each in await on_bus(self._store.revisions(flow))]
                raise UnknownRevision(flow, revision, kept)
            raise UnknownFlow(flow, known)
        return _shown(stored)

    async def revisions(self, flow: str) -> list[dict[str, Any]]:
        """As `read` gives them, oldest first, without the documents themselves; deletions as {"deleted": True}."""
        shown = [_shown(stored) for stored in await on_bus(self._store.revisions(flow))]
        if not shown:
            raise UnknownFlow(flow, self._store.flows())
        for one in shown:
            if one.pop("document") is None:
                one["deleted"] = True
        return shown


def _id_in(text: str | bytes) -> str:
    """The id a document says it has, "" when it cannot be read."""
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(text)
        if isinstance(document, dict):
            return str(document.get("id", ""))
    return ""


def _shown(stored: StoredFlow) -> dict[str, Any]:
    return {
        "flow": stored.flow,
        "revision": stored.revision,
        "created_ns": stored.created_ns,
        "document": stored.document,
        "source": stored.source,
    }
