"""What a drill is: a function that makes trouble and says what it found, in a short and in a long form."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Function = Callable[..., Awaitable["Findings"]]
DRILLS: list["Drill"] = []


class Skipped(Exception):
    """This machine lacks what the drill needs; the text says what."""


@dataclass
class Findings:
    """What a drill saw.

    Attributes:
        figures: for the reader; name -> number or text, in order.
        faults: what was promised and not kept; empty: the drill passed.
    """

    figures: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def expect(self, kept: bool, fault: str) -> None:
        """Note a fault unless the promise was kept."""
        if not kept:
            self.faults.append(fault)

    def add(self, **figures: Any) -> None:
        """Note figures."""
        self.figures |= figures

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in self.figures.items())


@dataclass(frozen=True)
class Drill:
    """One drill and its two forms; `what` says what is done, for the table."""

    name: str
    what: str
    function: Function
    short: dict[str, Any]
    long: dict[str, Any]

    async def run(self, folder: Path, *, is_long: bool) -> Findings:
        """Run one form in an empty folder.

        Raises:
            Skipped: this machine lacks what it needs.
            TimeoutError: something did not happen; notes say what the log of the runtime has.
        """
        return await self.function(folder, **(self.long if is_long else self.short))


def drill(what: str, *, short: dict[str, Any], long: dict[str, Any]) -> Callable[[Function], Function]:
    """Enter `async def name(folder, ...) -> Findings` among the drills, under its name."""

    def enter(function: Function) -> Function:
        DRILLS.append(Drill(function.__name__.replace("_", " "), what, function, short, long))
        return function

    return enter


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
