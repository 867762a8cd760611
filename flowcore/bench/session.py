"""Parts of the bench, one after the other, each on a fresh runtime of its own; what they found is one report."""

import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from flowcore.bench.figures import Row
from flowcore.bench.line import Line, Run
from flowcore.bench.machine import machine, surroundings, versions
from flowcore.bench.plugin import write_plugin
from flowcore.bench.runtime import Runtime


@dataclass(frozen=True)
class Options:
    """How long and how often: `runs` of `seconds` each; `is_quick` also makes flows and sweeps smaller."""

    seconds: float = 3.0
    runs: int = 3
    is_quick: bool = False

    @classmethod
    def quick(cls) -> "Options":
        """To see that it works; its figures say little."""
        return cls(seconds=0.5, runs=2, is_quick=True)

    def either(self, full: Any, quick: Any) -> Any:
        """One of two, by `is_quick`."""
        return quick if self.is_quick else full


@dataclass
class Trial:
    """One part at work: what it is given, and where it puts what it finds.

    Attributes:
        faults: what was promised and not kept (messages missing); empty, or the bench has failed.
        notes: what a reader must know of the figures.
        processes: what ran while it was measured.
    """

    runtime: Runtime
    options: Options
    say: Callable[[str], None]
    rows: list[Row] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    processes: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """A figure."""
        self.rows.append(row)
        self.say(f"{row.name}: {row.median:.4g} {row.unit}")

    def expect(self, kept: bool, fault: str) -> None:
        """Note a fault unless the promise was kept."""
        if not kept:
            self.faults.append(fault)

    async def run(self, line: Line, what: str, **order: Any) -> list[Run]:
        """One run of a line, as long as the options say; what did not arrive once and whole is a fault."""
        runs = await line.run(self.options.seconds, **order)
        self.faults += [f"{what}: {run.fault}" for run in runs if run.fault]
        return runs

    def look(self, *others: int) -> None:
        """Note the processes that run now; `others` are pids that are not the runtime's."""
        self.processes = [_seen(one) for one in (psutil.Process(), *self.runtime.processes())]
        self.processes += [_seen(psutil.Process(pid)) for pid in others]


@dataclass(frozen=True)
class Part:
    """Something that can be measured by itself; `what` tells a reader how."""

    name: str
    what: str
    measure: Callable[[Trial], Awaitable[None]]


def statement(options: Options) -> dict[str, Any]:
    """What every report begins with: when, on what, with what, beside what."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "surroundings": surroundings(),
        "options": {"seconds": options.seconds, "runs": options.runs, "quick": options.is_quick},
    }


async def run_part(part: Part, options: Options, folder: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure one part; returns its share of the report, with `rows` as `Row`s.

    Everything it makes lies in a temporary folder (in `folder`, else where the system has them), which it removes.

    Raises:
        RuntimeFailed, TimeoutError: it could not be measured; notes say what the runtime's log has.
    """
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="flowcore-bench-", dir=folder) as name:
        place = Path(name)
        runtime = Runtime(place, "--drain", "0", plugins=[write_plugin(place / "plugin")])
        async with runtime:
            trial = Trial(runtime, options, lambda text: say(f"{part.name}: {text}"))
            await part.measure(trial)
    return {
        "part": part.name,
        "what": part.what,
        "took_s": time.monotonic() - begun_s,
        "rows": trial.rows,
        "faults": trial.faults,
        "notes": trial.notes,
        "processes": trial.processes,
    }


def as_json(report: dict[str, Any]) -> dict[str, Any]:
    """A report with its rows as plain data."""
    return {**report, "parts": [{**part, "rows": [row.asdict() for row in part["rows"]]} for part in report["parts"]]}


def process_line(processes: Iterable[dict[str, Any]]) -> str:
    """The processes of a part on one line; names that differ only in the number at their end are told as one."""
    names: dict[str, list[str]] = {}
    for one in processes:
        names.setdefault(one["name"].rstrip("0123456789"), []).append(one["name"])
    return ", ".join(map(_told, names.values()))


def _told(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    if len(set(names)) == 1:
        return f"{len(names)} x {names[0]}"
    ordered = sorted(names, key=lambda name: (len(name), name))
    return f"{ordered[0]} to {ordered[-1]}"


def faults(report: dict[str, Any]) -> Sequence[str]:
    """All faults of a report, each with its part."""
    return [f"{part['part']}: {fault}" for part in report["parts"] for fault in part["faults"]]


def _seen(process: psutil.Process) -> dict[str, Any]:
    command = process.cmdline()
    name = process.name()
    if name.startswith("python") and "-m" in command:  # a node's process has its node's name
        module = command.index("-m") + 1
        name = " ".join(["python -m", *command[module : module + 2][: 2 if command[module] == "flowcore.cli" else 1]])
    return {"pid": process.pid, "name": name, "command": " ".join(command)[:200]}
