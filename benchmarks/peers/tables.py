"""The tables: medians over the rounds, with the smallest and largest in brackets, as Markdown."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.peers.rig import Work
from benchmarks.peers.rounds import Entry
from flowcore.bench.figures import percentile, shown

Column = tuple[str, Callable[[Entry], str]]


def table(entries: Sequence[Entry], columns: Sequence[Column]) -> str:
    """One row for each contestant that was measured."""
    lines = [
        "| | " + " | ".join(heading for heading, _ in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for entry in entries:
        if entry.rounds:
            cells = " | ".join(cell(entry) for _, cell in columns)
            lines.append(f"| {entry.contestant.name} | {cells} |")
    return "\n".join(lines)


def rate(name: str) -> Callable[[Entry], str]:
    """A figure."""
    return lambda entry: spread(entry.figures(name))


def steady(entry: Entry) -> str:
    """The rate without a loss or a growing queue; "none found" where every rate that was tried had one."""
    values = entry.figures("steady_hz")
    return spread(values) if any(values) else "none found"


def lost(name: str, sent: str) -> Callable[[Entry], str]:
    """How many of those sent in all rounds were lost, in percent."""

    def cell(entry: Entry) -> str:
        gone, of = sum(entry.figures(name)), sum(entry.figures(sent))
        return "0" if not gone else f"{100 * gone / of:.2g} %"

    return cell


def count(*names: str) -> Callable[[Entry], str]:
    """A count over all rounds."""
    return lambda entry: f"{sum(sum(entry.figures(name)) for name in names):,.0f}"


def p50(name: str) -> Callable[[Entry], str]:
    """Milliseconds: median of the rounds' medians."""
    return lambda entry: spread([percentile(sorted(one), 50) for one in entry.ages_ms(name)])


def pooled(name: str, share: float) -> Callable[[Entry], str]:
    """Milliseconds: a percentile over the messages of all rounds."""
    return lambda entry: shown(percentile(sorted(age for one in entry.ages_ms(name) for age in one), share))


def processes(entry: Entry) -> str:
    """How many it took."""
    return str(sum(entry.processes.values()))


def spread(values: Sequence[float]) -> str:
    """The median, and between which values it lies."""
    if not values:
        return "-"
    middle = shown(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({shown(min(values))}-{shown(max(values))})"


def statement(machine: dict[str, Any], entries: Iterable[Entry]) -> str:
    """On what it was measured, and what others took of it meanwhile."""
    beside = sorted(cores for entry in entries for cores in entry.beside)
    memory_gb = machine["memory_bytes"] / 1e9
    return (
        f"{machine['cores']} cores of {machine['cpu']}, {memory_gb:.0f} GB, {machine['system']}, kernel "
        f"{machine['kernel']}. Meanwhile other programs took {percentile(beside, 50):.2f} cores (median of the "
        f"measurements; at most {beside[-1]:.2f})."
    )


def about(found: Mapping[Work, Sequence[Entry]]) -> str:
    """Settings, versions and processes of the contestants; those that share them share a line."""
    said: dict[tuple[str, str], tuple[dict[str, None], dict[str, None]]] = {}
    for work, entries in found.items():
        for entry in entries:
            one = entry.contestant
            versions = ", ".join(f"{name} {version}" for name, version in one.versions.items())
            names, processes = said.setdefault((one.settings, versions), ({}, {}))
            ran = ", ".join(f"{number} x {name}" if number > 1 else name for name, number in entry.processes.items())
            names[one.name] = processes[f"{ran} ({work.name})"] = None
    return "\n".join(
        f"- **{' / '.join(names)}**: {settings}. Versions: {versions}. Processes: {'; '.join(processes)}."
        for (settings, versions), (names, processes) in said.items()
    )
