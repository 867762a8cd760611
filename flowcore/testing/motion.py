"""Time that is moved by hand for all nodes of a flow, and the question whether the flow is at rest.

A flow is at rest when every process says so twice, with the same marks, and each time after the bus had taken all that
it had said and had given it all that there was for it. Between the two looks nothing had happened anywhere, so nothing
was under way. Durable wires are looked at besides: what is in their streams is under way, too.

    Restless    the flow does not come to rest
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from flowcore.bus import storage
from flowcore.node.clock import SharedTime
from flowcore.runtime.host import Host
from flowcore.runtime.link import LinkClosed, RequestFailed
from flowcore.runtime.supervise import Supervised

_ANSWER_S = 5.0
_LOOKS = 2
_MOST_AT_ONCE = 2000  # calls due at the same time, one asked for by the other


class Restless(AssertionError):
    """The flow does not come to rest."""


class Motion:
    """Of one flow that runs on a host.

    Attributes:
        due_s: when a node wants to be called next, as it was at the last rest; None: none does.
        due_node: which node that is.
    """

    def __init__(self, host: Host, flow: str, time: SharedTime) -> None:
        self._host, self._flow, self._time = host, flow, time
        self.due_s: float | None = None
        self.due_node = ""
        self._due_of: dict[Supervised, float] = {}
        self._is_at_rest = False
        self._streams: list[tuple[str, str]] = []

    @property
    def now_s(self) -> float:
        """Where time stands."""
        return self._time.now_s

    def processes(self) -> list[Supervised]:
        """Those of the flow that are meant to run: failed and stopped ones are at rest."""
        run = self._host.reconciler.runs.get(self._flow)
        everyone = run.processes.values() if run is not None else ()
        return [one for one in everyone if one.state not in ("failed", "stopped")]

    def set_streams(self, wires: Iterable[dict[str, Any]]) -> None:
        """The durable wires of the flow."""
        found = (storage.wire_stream(self._flow, wire) for wire in wires)
        self._streams = [(one.stream, one.consumer) for one in found]

    # -- at rest ------------------------------------------------------------------------------------------------

    def stir(self) -> None:
        """Something was done to the flow: it may not be at rest."""
        self._is_at_rest = False

    async def settle(self) -> None:
        """Wait until the flow is at rest, and all that was due has happened."""
        for _ in range(_MOST_AT_ONCE):
            if not self._is_at_rest:
                await self._rest()
            if self.due_s is None or self.due_s > self.now_s:
                return
            await self._fire()
        raise Restless(f"'{self.due_node}' asks to be called at once, again and again")

    async def _rest(self) -> None:
        before: list[Any] | None = None
        while True:
            marks = await self._look()
            if marks is None:
                before = None
                await asyncio.sleep(0.001)
            elif marks == before and await self._are_streams_done():
                await self._host.bus.connection.flush()  # what they sent has come to us
                self._is_at_rest = True
                return
            else:
                before = marks

    async def _look(self) -> list[Any] | None:
        """The marks of all processes; None when one of them is not at rest."""
        processes = self.processes()
        answers = await asyncio.gather(*(_ask(one, True) for one in processes))
        self._due_of.clear()
        marks = []
        for one, answer in zip(processes, answers, strict=True):
            if answer is None or not answer["is_at_rest"]:
                return None
            marks.append((one.plan.process, one.inc, answer["mark"]))
            self._note(one, answer)
        self._find_due()
        return marks

    def _note(self, one: Supervised, answer: dict[str, Any]) -> None:
        self._due_of.pop(one, None)
        if answer["due_s"] is not None:
            self._due_of[one] = answer["due_s"]

    def _find_due(self) -> None:
        first = min(self._due_of, key=lambda one: self._due_of[one], default=None)
        self.due_s, self.due_node = (None, "") if first is None else (self._due_of[first], first.plan.node)

    async def _are_streams_done(self) -> bool:
        if not self._streams:
            return True
        jetstream = self._host.bus.connection.jetstream()
        found = await asyncio.gather(*(jetstream.consumer_info(*one) for one in self._streams))
        is_held = any(one.state == "paused" for one in self.processes())
        return all(not one.num_pending and (is_held or not one.num_ack_pending) for one in found)

    # -- time ---------------------------------------------------------------------------------------------------

    async def advance(self, seconds: float) -> None:
        """Move the time; what falls due happens in its order, and comes to rest before the next."""
        until_s = self.now_s + seconds
        await self.settle()
        while await self.step(until_s):
            pass

    async def step(self, until_s: float) -> bool:
        """Move to the next time at which something is due, `until_s` at most; False: nothing was, time stands there."""
        if self.due_s is None or self.due_s > until_s:
            self._time.now_s = max(self.now_s, until_s)
            return False
        self._time.now_s = max(self.now_s, self.due_s)
        await self._fire()
        await self.settle()
        return True

    async def _fire(self) -> None:
        """Let happen what is due now. Where that sent nothing, as most do not, the rest of the flow is as it was."""
        due = [one for one, due_s in self._due_of.items() if due_s <= self.now_s]
        for one in due:
            before = await _ask(one, False)
            await _fire(one)
            answer = await _ask(one, False)
            for _ in range(_LOOKS):  # what it wakes may come to its point a little later
                last, answer = answer, await _ask(one, False)
                if answer is None or answer != last:
                    break
            if answer is None or before is None or not answer["is_at_rest"] or answer["sent"] != before["sent"]:
                self._is_at_rest = False
            else:
                self._note(one, answer)
        self._find_due()


async def _ask(one: Supervised, with_flush: bool) -> dict[str, Any] | None:
    """What a process says of itself; None while it is between two incarnations."""
    try:
        return await one.request("rest?", "rest", _ANSWER_S, flush=with_flush)
    except (LinkClosed, RequestFailed, TimeoutError):
        return None


async def _fire(one: Supervised) -> None:
    try:
        await one.request("fire", "fired", _ANSWER_S)
    except (LinkClosed, RequestFailed, TimeoutError):
        return  # the next process begins at this time
