"""What an engine needs of the process around it.

Only the form is here: `flowcore.runtime.runner` is that process on the bus, `flowcore.node.testing` in a test. The
engine says through it what happens in its node, and never asks where that goes: to the host, the bus, a test's list.
"""

from collections.abc import Callable
from typing import Any, Protocol

from flowcore.node.message import Message


class Around(Protocol):
    """The process around an engine."""

    def status(self, text: str, kind: str) -> None:
        """Show a badge."""

    def event(self, kind: str, body: dict) -> None:
        """Publish on `.error` or `.debug`."""

    async def give_up(self, body: dict) -> None:
        """Store a message that was given up; returns when it is stored."""

    def stuck(self, message: Message | None) -> None:
        """A sync handler does not come back from its time-out: this process can't go on."""

    def enter(self, work: Any) -> int | None:
        """A handler gets this work (for the supervisor's page)."""

    def move(self, slot: int | None, work: Any) -> int | None:
        """The same handler goes on to this work. Returns the slot it has then."""

    def noter(self, slot: int | None) -> Callable[[int, int, int], Any]:
        """What moves this slot on to another message of the same wire: a function of its epoch, seq and the time."""

    def leave(self, slot: int | None, handled: int = 1) -> None:
        """It has it no longer; so many were handled since `enter`."""
