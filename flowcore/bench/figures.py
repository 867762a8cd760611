"""Figures: a value for each run with its spread, percentiles over all messages, and the target it is judged by."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

PERCENTILES = {"p50": 50.0, "p99": 99.0, "p99.9": 99.9}


@dataclass(frozen=True)
class Target:
    """What a figure should reach: at most (`is_ceiling`) or at least `value`; `text` says where that comes from."""

    value: float
    is_ceiling: bool
    text: str = ""

    def is_reached(self, measured: float) -> bool:
        """True when `measured` is as good."""
        return measured <= self.value if self.is_ceiling else measured >= self.value

    def __str__(self) -> str:
        sign = "<=" if self.is_ceiling else ">="
        return f"{sign} {shown(self.value)}{f' ({self.text})' if self.text else ''}"


def at_most(value: float, text: str = "") -> Target:
    """A target that is a ceiling."""
    return Target(value, True, text)


def at_least(value: float, text: str = "") -> Target:
    """A target that is a floor."""
    return Target(value, False, text)


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        values: one for each run, in order; what is told is their median, smallest and largest.
        percentiles: of `messages` single messages of all runs together, where the figure is a latency.
        of: what was varied, for machines and plots: {"hops": 4, "bytes": 1024}.
    """

    name: str
    unit: str
    values: Sequence[float]
    target: Target | None = None
    percentiles: dict[str, float] = field(default_factory=dict)
    messages: int | None = None
    of: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """The figure that is told."""
        return statistics.median(self.values)

    @property
    def is_reached(self) -> bool | None:
        """Whether the target is reached; None without one."""
        return None if self.target is None else self.target.is_reached(self.median)

    def asdict(self) -> dict[str, Any]:
        """For `--json`."""
        row: dict[str, Any] = {"name": self.name, "unit": self.unit, "median": self.median}
        row |= {"min": min(self.values), "max": max(self.values), "values": list(self.values), "of": self.of}
        if self.percentiles:
            row |= {"percentiles": self.percentiles, "messages": self.messages}
        if self.target is not None:
            kind = "at_most" if self.target.is_ceiling else "at_least"
            row["target"] = {kind: self.target.value, "text": self.target.text, "reached": self.is_reached}
        return row


def latency(name: str, runs: Sequence[Sequence[float]], target: Target | None = None, **of: Any) -> Row:
    """A row of latencies: the ages (ms) of the single messages of each run."""
    everything = sorted(age for run in runs for age in run)
    return Row(
        name,
        "ms p50",
        [percentile(sorted(run), 50) for run in runs],
        target,
        {key: percentile(everything, share) for key, share in PERCENTILES.items()},
        len(everything),
        of,
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of these that `share` percent of them do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)]


def shown(value: float) -> str:
    """A number with three figures: 21,300 or 0.412."""
    if value and abs(value) < 100:
        digits = 2 - math.floor(math.log10(abs(value)))
        return f"{value:.{min(digits, 4)}f}"
    return f"{value:,.0f}"
