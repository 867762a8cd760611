"""Processes that are slow to start: nothing else waits for them, they go by themselves when they are ready.

A deploy waits `PATIENCE_S` for each process to get ready. One that takes longer (`on_start` loads a model, or waits for
a device) starts on, while the old process goes on where it replaces one. A later deploy that wants the same of it lets
it start on, and only gives it its newest wires; one that wants something else ends it and starts another.

Invariant: a process that is late is let go, or given up, while the flow's turn is held.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from flowcore.bus.ending import end
from flowcore.runtime.plans import KEPT, REWIRED, step
from flowcore.runtime.process import StartFailed
from flowcore.runtime.processplan import ProcessPlan

PATIENCE_S = 5.0


@dataclass(eq=False)
class Late:
    """One of them. `plan` is what the newest deploy wants of it: its wires may be newer than those it starts with."""

    plan: ProcessPlan
    is_new: bool
    starting: asyncio.Task[None]
    began_s: float = field(default_factory=lambda: time.monotonic() - PATIENCE_S)
    ending: asyncio.Task[None] | None = None

    @property
    def waited_s(self) -> float:
        """How long it has been starting."""
        return time.monotonic() - self.began_s


Finish = Callable[[str, Late, StartFailed | None], Awaitable[None]]


class LateStarts:
    """Those of one flow.

    Args:
        turn: the flow's.
        finish: called with the turn held when one is ready (None), or why it is not.
    """

    def __init__(self, turn: asyncio.Lock, finish: Finish) -> None:
        self._turn, self._finish = turn, finish
        self._all: dict[str, Late] = {}

    def __contains__(self, process: str) -> bool:
        return process in self._all

    def add(self, process: str, late: Late) -> None:
        """Let this one start on."""
        self._all[process] = late
        late.ending = asyncio.get_running_loop().create_task(self._end(process, late), name=f"start {process}")

    def goes_on(self, plan: ProcessPlan) -> str | None:
        """KEPT or REWIRED when what starts is what this plan wants: it gets the plan's wires. Else None."""
        late = self._all.get(plan.process)
        change = step(late.plan, plan) if late is not None else None
        if late is None or change not in (KEPT, REWIRED):
            return None
        late.plan = plan
        return change

    def waiting(self) -> dict[str, float]:
        """Node -> the seconds that it has been starting; of replicas the longest."""
        waited: dict[str, float] = {}
        for late in self._all.values():
            waited[late.plan.node] = max(late.waited_s, waited.get(late.plan.node, 0.0))
        return waited

    async def take(self, process: str) -> ProcessPlan | None:
        """End this one, if it is starting still; what it was to be."""
        late = self._all.get(process)
        await self.drop([process])
        return late.plan if late is not None else None

    async def drop(self, processes: Iterable[str]) -> None:
        """End those of these that are starting still."""
        dropped = [self._all.pop(name) for name in processes if name in self._all]
        await end(task for late in dropped for task in (late.ending, late.starting) if task is not None)

    async def _end(self, process: str, late: Late) -> None:
        error = None
        try:
            await late.starting
        except StartFailed as e:
            error = e
        async with self._turn:
            if self._all.get(process) is late:
                del self._all[process]
                await self._finish(process, late, error)
