"""What the processes of a node leave to the next one: what was un-acked, which messages may have killed them, a count.

A process that ends in order hands over what it sent and was not acked for. One that crashes hands over nothing; its
page says which messages were in its handlers, and those are suspects: the next process is told how often each was there
when one died, and gives up what has been there too often.

Reads pages, and knows no process. What a crash means for the node is decided by `intensity` and `supervise`.

Invariant: a hand-over is given to one process; it comes back only when that one died before it had taken over.
"""

from collections.abc import Iterable
from typing import Any

from flowcore.runtime.intensity import Suspects
from flowcore.runtime.page import RUNNING, Page
from flowcore.runtime.process import Bye


class Estate:
    """Of one node process, over all its incarnations.

    Attributes:
        handover: for the next process that goes, None when there is none.
        handled: the messages that those that are gone had handled.
    """

    def __init__(self) -> None:
        self.handover: bytes | None = None
        self.handled = 0
        self._given: bytes | None = None  # what the current one was given when it went
        self._suspects = Suspects()

    def give(self, wires: Iterable[str]) -> tuple[list[dict[str, Any]], bytes | None]:
        """The suspects on these wires and the hand-over, for a process that goes now."""
        self._given, self.handover = self.handover, None
        return self._suspects.of(wires), self._given

    def gave_up(self, wire: str, epoch: int, seq: int) -> None:
        """The process has given up a message: it is no suspect any more."""
        self._suspects.forget(wire, epoch, seq)

    def stopped(self, page: Page | None, bye: Bye) -> None:
        """A process that was asked to stop is gone."""
        self._count(page)
        if bye.clean:
            self._suspects.clear()
            self.handover = bye.handover

    def crashed(self, page: Page | None) -> int:
        """A process died; returns the most tries of a message that was in its handlers, 0 when none was."""
        if page is not None and page.state < RUNNING:
            self.handover = self._given
        return self._count(page)

    def _count(self, page: Page | None) -> int:
        if page is None:
            return 0
        self.handled += page.progress
        return self._suspects.add(page.in_handlers())
