"""The orderly end of all flows: sources stop, wires drain for a while, processes end, and what is left is handed over.

Works over the links alone, so it does not need the bus to be up.
"""

import asyncio
from collections.abc import Mapping

from flowcore.runtime.flowrun import FlowRun
from flowcore.runtime.handover import Handovers
from flowcore.runtime.link import LinkClosed, RequestFailed
from flowcore.runtime.plans import cannot_drain, fed_from_elsewhere
from flowcore.runtime.results import Undrained
from flowcore.runtime.supervise import Supervised

_LOOK_S = 0.05
_ANSWER_S = 2.0
_STANDING = ("paused", "failed", "stopped", "starting")  # what handles nothing, however long we wait


async def drain(runs: Mapping[str, FlowRun], drain_s: float, handovers: Handovers) -> list[Undrained]:
    """Stop every flow; returns what its wires still owed."""
    await asyncio.gather(*(quiet(run, drain_s) for run in runs.values()))
    left = await asyncio.gather(*(_end(run, handovers) for run in runs.values()))
    return [undrained for of_flow in left for undrained in of_flow]


async def quiet(run: FlowRun, drain_s: float) -> None:
    """Stop a flow's sources, and wait until nothing is owed, or what is left cannot go on, or the time is over."""
    quiesce(run)
    try:
        async with asyncio.timeout(drain_s):
            calm = 0
            while calm < 2:  # twice, because a message may be between two nodes at one look
                calm = calm + 1 if await is_calm(run) else 0
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        pass


def quiesce(run: FlowRun) -> None:
    """Stop a flow's sources."""
    for one in run.processes.values():
        if one.plan.is_source:
            one.send("quiesce")


async def is_calm(run: FlowRun, with_fed: bool = False) -> bool:
    """Whether nothing is owed in what runs here of a flow, but for what cannot drain.

    Args:
        with_fed: also what nodes on other hosts feed; those have stopped their sources, too.
    """
    plans = {name: one.plan for name, one in run.processes.items()}
    standing = {one.plan.node for one in run.processes.values() if one.state in _STANDING}
    stuck = cannot_drain(plans, standing)
    if not with_fed:
        stuck = stuck | fed_from_elsewhere(plans)
    moving = [one for one in run.processes.values() if one.plan.node not in stuck]
    return not any(await asyncio.gather(*(_owes(one) for one in moving)))


async def _owes(one: Supervised) -> bool:
    if one.state not in ("running", "bypassed", "replacing"):
        return True  # it is between two processes
    try:
        answer = await one.request("drained?", "drained", _ANSWER_S)
    except (LinkClosed, RequestFailed, TimeoutError):
        return True
    return bool(answer.get("queued")) or any((answer.get("unacked") or {}).values())


async def _end(run: FlowRun, handovers: Handovers) -> list[Undrained]:
    byes = await run.stop(acks_s=0.0)  # they are in the hand-over
    undrained = []
    for process, bye in byes.items():
        if bye.handover:
            handovers.keep(run.flow, process, bye.handover)
        undrained += [Undrained(run.flow, wire, count) for wire, count in (bye.unacked or {}).items() if count]
    return undrained
