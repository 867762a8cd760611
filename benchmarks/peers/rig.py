"""What the bench asks of every contestant: a rig for a piece of work, and measured runs of it."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil

from benchmarks.peers.control import Control, Order, Run
from benchmarks.peers.family import Family

HOPS = 4


@dataclass(frozen=True)
class Work:
    """A piece of work: messages or frames from a source over `hops` wires to a sink.

    `has_busy`: beside it stands a node that joins in nothing, and can be told to keep a core busy.
    """

    name: str
    hops: int
    is_frames: bool = False
    has_busy: bool = False


CHAIN = Work("chain", HOPS)
HOP = Work("hop", 1, has_busy=True)
FRAME = Work("frame", 1, is_frames=True)


class Rig(Protocol):
    """Something that runs."""

    async def run(self, order: Order) -> Run:
        """One measured run."""

    async def be_busy(self, seconds: float) -> None:
        """Keep the busy node's core busy from now on; returns when it has been told."""

    def processes(self) -> list[psutil.Process]:
        """All processes of it."""


class ProgramsRig:
    """A rig of programs that take their orders from a `Control`."""

    def __init__(self, control: Control, family: Family) -> None:
        self._control, self._family = control, family

    async def run(self, order: Order) -> Run:
        """As in `Rig`."""
        return await self._control.run(order)

    async def be_busy(self, seconds: float) -> None:
        """As in `Rig`."""
        await self._control.ask("busy", seconds=seconds)

    def processes(self) -> list[psutil.Process]:
        """As in `Rig`."""
        return self._family.processes()


class Contestant(Protocol):
    """A way of doing the work.

    Attributes:
        name: as it stands in the table.
        versions: of what it is made of.
        settings: what was set, and where that is documented.
    """

    name: str
    versions: Mapping[str, str]
    settings: str

    def rig(self, work: Work, folder: Path) -> AbstractAsyncContextManager[Rig]:
        """Set it up in a new folder; at the end of the block nothing of it is left."""


@dataclass(frozen=True)
class LeftOut:
    """A contestant that could not be measured, and why."""

    name: str
    reason: str
    versions: Mapping[str, str] = field(default_factory=dict)
