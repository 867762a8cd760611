"""What a member does when the main host asks: say when a change was applied and what it did, stop a flow's sources."""

import asyncio
from typing import TYPE_CHECKING

from flowcore.runtime.drain import is_calm, quiesce

if TYPE_CHECKING:
    from flowcore.runtime.flowstore import FlowStore
    from flowcore.runtime.reconcile import Reconciler
    from flowcore.runtime.results import DeployResult

_LOOK_S = 0.02


async def applied(
    store: "FlowStore", reconciler: "Reconciler", flow: str, version: int, desired: int, changed: str
) -> "DeployResult":
    """Wait until `version` of a flow, and what is desired of it by revision `desired`, is applied here; what that did.

    Args:
        changed: which of the two was written by the change that is asked about: "version", "desired", or "" for none:
            then it only says what runs.
    Raises:
        BucketError, TimeoutError: the bus is away.
    """
    while True:
        known = store.documents.get(flow)
        if known is not None and known.revision >= version and store.desired_revision(flow) >= desired:
            break
        await store.look(flow)
        await asyncio.sleep(_LOOK_S)
    if changed == "version":
        return await reconciler.applied(flow, version)
    if changed == "desired":
        return await reconciler.steered(flow, desired)
    return await reconciler.settled(flow, reconciler.mark(flow))


async def quiesced(reconciler: "Reconciler", flow: str) -> bool:
    """Stop the sources of a flow here; whether nothing is owed."""
    run = reconciler.runs.get(flow)
    if run is None:
        return True
    quiesce(run)
    return await is_calm(run, with_fed=True)
