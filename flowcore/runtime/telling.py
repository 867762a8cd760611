"""What a node process tells: badges, errors and logs to its host, events to the bus, in the page what a handler has.

The `Around` of the engine. Says what it is given, and no more of it than its host can take; which errors there are and
what becomes of their messages is the engine's. A value that the bus cannot carry is sent as its text.

Invariant: the host hears of ten errors a second at most; `flow.<flow>.<node>.error` has all that the node reports.
"""

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

from flowcore.bus import subjects
from flowcore.bus.connection import Connection
from flowcore.bus.envelope import pack
from flowcore.runtime.link import Link
from flowcore.runtime.page import Page
from flowcore.runtime.store import GivenUp

STUCK_STATUS = 75
_ERRORS_PER_S = 10  # summaries that go to the host


class Telling:
    """Speaks for one process.

    Args:
        flow, node_id: for whom.
        link: to the host.
        page: that the host reads.
        connection: of this process, connected or not: what is said while the bus is away is lost.

    Attributes:
        said: badges, errors, values shown so far.
    """

    def __init__(self, flow: str, node_id: str, link: Link, page: Page, connection: Connection) -> None:
        self.said = 0
        self.on_active: Callable[[], None] = lambda: None  # something other than statistics is said
        self._flow, self._node_id = flow, node_id
        self._link, self._page, self._connection = link, page, connection
        self._given_up = GivenUp(connection, flow, node_id)
        self._error_budget = float(_ERRORS_PER_S)
        self._error_at_s = time.monotonic()

    # -- events ---------------------------------------------------------------------------------------------------

    def status(self, text: str, kind: str) -> None:
        """Show a badge."""
        self._link.send("status", text=text, kind=kind)
        self.publish("status", {"node": self._node_id, "text": text, "kind": kind, "ts": time.time_ns()})

    def event(self, kind: str, body: dict) -> None:
        """Publish on `.error` or `.debug`; of an error the host hears, too."""
        if kind == "error":
            self._summary(body)
        self.publish(kind, body)

    def publish(self, kind: str, body: dict) -> None:
        """Publish on `flow.<flow>.<node>.<kind>`."""
        if kind != "stats":
            self.said += 1
            self.on_active()
        try:
            data = pack(body)
        except (TypeError, ValueError):
            data = pack(
                {key: value if isinstance(value, (str, int)) else repr(value)[:8192] for key, value in body.items()}
            )
        self._connection.publish(subjects.event(self._flow, self._node_id, kind), data)

    def refused(self, text: str) -> None:
        """The bus does not let this process publish or subscribe something."""
        if self._may_say():
            self._link.send("refused", subject=text)
            self.status(f"refused by the bus: {text}", "error")

    def malformed(self, subject: str, why: str) -> None:
        """Something came that cannot be read."""
        self._summary({"error": "Malformed", "text": f"{subject}: {why}"})
        if self._error_budget >= 1:
            body = {"flow": self._flow, "node": self._node_id, "error": "Malformed", "text": why, "subject": subject}
            self.publish("error", body | {"ts": time.time_ns()})

    async def give_up(self, body: dict) -> None:
        """Store a message that was given up; returns when it is stored."""
        await self._given_up.keep(body)

    def _summary(self, body: dict) -> None:
        """Tell the host of an error."""
        if self._may_say():
            error, text, traceback = body.get("error"), body.get("text"), body.get("traceback", "")
            self._link.send("error", error=error, text=text, traceback=traceback)

    def _may_say(self) -> bool:
        """True ten times a second at most: a node that fails at each message must not fill the host's log."""
        now_s = time.monotonic()
        self._error_budget = min(_ERRORS_PER_S, self._error_budget + (now_s - self._error_at_s) * _ERRORS_PER_S)
        self._error_at_s = now_s
        if self._error_budget < 1:
            return False
        self._error_budget -= 1
        return True

    # -- what a handler has ---------------------------------------------------------------------------------------

    def enter(self, work: Any) -> int | None:
        """A handler gets this work."""
        hashed = work.wire.page_hash
        return self._page.enter(hashed, work.epoch, work.seq) if hashed else None

    def move(self, slot: int | None, work: Any) -> int | None:
        """The same handler goes on to this work. Returns the slot it has then."""
        hashed = work.wire.page_hash
        if slot is None or not hashed:
            self._page.leave(slot, 0)
            return self.enter(work)
        self._page.move(slot, hashed, work.epoch, work.seq)
        return slot

    def noter(self, slot: int | None) -> Callable[[int, int, int], Any]:
        """What moves this slot on to another message of the same wire."""
        return self._page.noter(slot)

    def leave(self, slot: int | None, handled: int = 1) -> None:
        """It has it no longer; so many were handled since `enter`."""
        self._page.leave(slot, handled)

    def stuck(self, message: Any) -> None:
        """A sync handler does not come back: say so, and end the process, which can't go on."""
        which = f" ({message.id})" if message is not None else ""
        self._link.send("log", level="error", text=f"the handler does not come back from its time-out{which}")
        asyncio.get_running_loop().create_task(self._end_at_once(STUCK_STATUS))

    async def _end_at_once(self, status: int) -> None:
        await self._link.flush()  # the loop writes what was sent at its next turn only
        os._exit(status)  # a thread that hangs keeps the interpreter from ending
