"""Patterns of events: A, then B within so many seconds, no C between. No clock, no messages.

A caller says of each event which steps it can be and whether it is one that must not come; the events of one key come
in order of time. Runs are plain lists that msgpack holds; nothing is changed in place.

Between the events of a match others may come, and a run that could go on with an event also waits for a later one
(skip till any match). Of the runs that wait for the same step the one that came there last stands for all: it began
last, too, so its time ends last, and it needs the same events. Hence there are never more runs than steps, and with
`begin="latest"` a match is found exactly when there is one. A match ends all runs of its key: matches do not overlap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

STARTED_S, LAST_S, EVENTS = range(3)
Run = list[Any]
"""When it began, when its last event was, and what the caller gave as its events, one a step that is done."""

Begin = Literal["latest", "first"]


@dataclass(frozen=True)
class Pattern:
    """What is looked for.

    Attributes:
        within_s: from the first event to the last, at most so many seconds; None: however long.
        gaps_s: for each step, at most so many seconds after the step before; None: however long.
        begin: latest: an event that can be the first step begins anew while one is waited for. first: the first one
            counts, as is needed when it is told that nothing followed.
    """

    within_s: float | None
    gaps_s: Sequence[float | None]
    begin: Begin = "latest"

    def due_s(self, run: Run) -> float | None:
        """Until when the next event of a run may come; None: for ever."""
        gap_s = self.gaps_s[len(run[EVENTS])]
        ends = [run[STARTED_S] + self.within_s] if self.within_s is not None else []
        ends += [run[LAST_S] + gap_s] if gap_s is not None else []
        return min(ends, default=None)


def first_due_s(pattern: Pattern, runs: list[Run]) -> float | None:
    """When the first of the runs ends if nothing comes; None: none does."""
    return min((due for run in runs if (due := pattern.due_s(run)) is not None), default=None)


def expire(pattern: Pattern, runs: list[Run], now_s: float) -> tuple[list[Run], list[Run]]:
    """The runs that go on at a time, and those whose time was over before it.

    Of those that began with the same event it is the one that got furthest, and none while another of them goes on.
    """
    going: list[Run] = []
    over: list[Run] = []
    for run in runs:
        due_s = pattern.due_s(run)
        (going if due_s is None or due_s >= now_s else over).append(run)
    if not over:
        return going, over
    begun = {run[STARTED_S] for run in going}
    return going, [run for run in furthest(over) if run[STARTED_S] not in begun]


def furthest(runs: list[Run]) -> list[Run]:
    """Of the runs that began with the same event the one that got furthest; those that began first come first."""
    by_beginning: dict[float, Run] = {}
    for run in sorted(runs, key=lambda run: len(run[EVENTS])):
        by_beginning[run[STARTED_S]] = run
    return [by_beginning[started_s] for started_s in sorted(by_beginning)]


def advance(
    pattern: Pattern, runs: list[Run], can_be: set[int], at_s: float, event: Any
) -> tuple[list[Run], Run | None]:
    """The runs after an event, and the one that it completes.

    Args:
        pattern: what is looked for.
        runs: those that `expire` has left at `at_s`.
        can_be: numbers of the steps that the event can be, from 0.
        at_s: when it was.
        event: what a run keeps of it.
    """
    if not can_be:
        return runs, None
    last = len(pattern.gaps_s) - 1
    by_step = {len(run[EVENTS]): run for run in runs}  # the step that is waited for
    for step in sorted(by_step, reverse=True):  # from the end, so that no event counts twice
        if step in can_be:
            run = by_step[step]
            moved = [run[STARTED_S], at_s, [*run[EVENTS], event]]
            if step == last:
                return [], moved
            by_step[step + 1] = moved
    if 0 in can_be and (pattern.begin == "latest" or not runs):
        if last == 0:
            return [], [at_s, at_s, [event]]
        by_step[1] = [at_s, at_s, [event]]
    return list(by_step.values()), None
