"""The pattern machine finds a match exactly when there is one: compared with a search through all combinations."""

import random
from itertools import combinations

import pytest
from flowcore_nodes.core.event_pattern import EVENTS, STARTED_S, Pattern, advance, expire, first_due_s


def fits(pattern: Pattern, times: list[float]) -> bool:
    """A choice of events is in time."""
    if pattern.within_s is not None and times[-1] - times[0] > pattern.within_s:
        return False
    pairs = zip(times, times[1:], pattern.gaps_s[1:], strict=False)
    return all(gap_s is None or after - before <= gap_s for before, after, gap_s in pairs)


def searched(pattern: Pattern, steps: str, events: list[tuple[float, str]]) -> list[int]:
    """Numbers of the events that complete a match; `!` is what must not come."""
    found, since = [], 0
    for at, (_, kind) in enumerate(events):
        if kind == "!":
            since = at + 1
        elif kind == steps[-1]:
            for chosen in combinations(range(since, at), len(steps) - 1):
                whole = [events[one] for one in (*chosen, at)]
                if [one for _, one in whole] == list(steps) and fits(pattern, [time for time, _ in whole]):
                    found.append(at)
                    since = at + 1
                    break
    return found


def run(pattern: Pattern, steps: str, events: list[tuple[float, str]]) -> list[int]:
    found, runs = [], []
    for at, (time, kind) in enumerate(events):
        runs, _ = expire(pattern, runs, time)
        if kind == "!":
            runs = []
            continue
        runs, match = advance(pattern, runs, {n for n, step in enumerate(steps) if step == kind}, time, at)
        assert len(runs) < len(steps)
        if match:
            assert [events[one][1] for one in match[EVENTS]] == list(steps)
            assert fits(pattern, [events[one][0] for one in match[EVENTS]])
            found.append(at)
    return found


@pytest.mark.parametrize("seed", range(40))
def test_it_finds_what_a_search_finds(seed):
    random_of = random.Random(seed)
    steps = random_of.choice(["AB", "ABC", "AAB", "ABA", "AA", "ABCA", "A"])
    gaps = [None, *(random_of.choice([None, 2.0, 4.0]) for _ in steps[1:])]
    pattern = Pattern(random_of.choice([None, 5.0, 9.0]), gaps)
    time, events = 0.0, []
    for _ in range(60):
        time += random_of.choice([0.0, 1.0, 1.0, 2.0])
        events.append((time, random_of.choice("AABBCCx!" if seed % 2 else "AABBCCx")))
    assert run(pattern, steps, events) == searched(pattern, steps, events)


def test_what_ran_out_is_told_once_with_what_had_come():
    pattern = Pattern(10, [None, 4, None])
    runs, _ = advance(pattern, [], {0}, 0, "a")
    assert first_due_s(pattern, runs) == 4
    runs, _ = advance(pattern, runs, {1}, 3, "b")
    runs, over = expire(pattern, runs, 9)  # that no other b came in time is no matter: one had come
    assert over == [] and first_due_s(pattern, runs) == 10
    runs, over = expire(pattern, runs, 10)
    assert over == []  # on time is in time
    runs, over = expire(pattern, runs, 10.001)
    assert runs == [] and over == [[0, 3, ["a", "b"]]]


def test_the_first_beginning_counts_when_that_is_asked():
    """A door that says again and again that it is open was opened once."""
    for begin, started_s in (("first", 0), ("latest", 8)):
        pattern = Pattern(10, [None, None], begin)
        runs = []
        for time in (0, 4, 8):
            runs, _ = advance(pattern, runs, {0}, time, time)
        assert [one[STARTED_S] for one in runs] == [started_s]
