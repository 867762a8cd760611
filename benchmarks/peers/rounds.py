"""All contestants, round after round: one after the other, in another order each round, each on a rig of its own."""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from benchmarks.peers.beside import Beside
from benchmarks.peers.control import Order
from benchmarks.peers.measure import MEASURES, Found, Times
from benchmarks.peers.rig import Contestant, Work

_WARM_UP = Order(0.5, 0.0, 100)  # routes are made, code is compiled: what a peer loses here is not held against it


@dataclass
class Entry:
    """What a contestant did in one piece of work: figures and ages of all its rounds, and its processes.

    Attributes:
        beside: cores that other programs took, for each round.
    """

    contestant: Contestant
    rounds: list[Found] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    processes: Mapping[str, int] = field(default_factory=dict)

    def figures(self, name: str) -> list[float]:
        """One for each round."""
        return [one.figures[name] for one in self.rounds]

    def ages_ms(self, name: str) -> list[list[float]]:
        """Those of single messages, a list for each round that saw any."""
        return [one.ages_ms[name] for one in self.rounds if one.ages_ms[name]]


async def play(
    work: Work, contestants: Sequence[Contestant], rounds: int, times: Times, say: Callable[[str], None]
) -> list[Entry]:
    """Measure this work with all of them.

    A round in which a contestant fails is a fault in its entry, and the others go on.
    """
    entries = [Entry(one) for one in contestants]
    for number in range(rounds):
        first = number % len(entries)
        for entry in [*entries[first:], *entries[:first]]:
            name = entry.contestant.name
            with tempfile.TemporaryDirectory(prefix="peers-") as folder:
                try:
                    async with entry.contestant.rig(work, Path(folder)) as rig:
                        await rig.run(replace(_WARM_UP, frames=work.is_frames))
                        entry.processes, beside = _counted(rig.processes()), Beside(rig.processes())
                        found = await MEASURES[work](rig, times)
                        entry.beside.append(beside.cores())
                except Exception as error:
                    fault = f"{work.name}, round {number + 1}: {type(error).__name__}: {error}"
                    entry.faults.append(fault)
                    say("\n".join([f"{name}: {fault}", *_last_words(error, Path(folder))]))
                    continue
            entry.rounds.append(found)
            said = ", ".join(f"{key} {value:,.0f}" for key, value in found.figures.items())
            say(f"{work.name} {number + 1}/{rounds}, {name}: {said} (others took {entry.beside[-1]:.2f} cores)")
    return entries


def _counted(processes: Iterable[psutil.Process]) -> dict[str, int]:
    """Name -> how many; a Node.js main thread goes by the name of its program."""
    counts: dict[str, int] = {}
    for one in processes:
        try:
            name = Path(one.exe()).name if one.name() == "MainThread" else one.name()
        except psutil.Error:
            continue
        counts[name] = counts.get(name, 0) + 1
    return counts


def _last_words(error: Exception, folder: Path) -> list[str]:
    """What the log of its programs, or of its runtime, ends with."""
    log = folder / "programs.log"
    lines = log.read_text(errors="replace").splitlines()[-8:] if log.exists() else []
    return [*getattr(error, "__notes__", []), *lines]
