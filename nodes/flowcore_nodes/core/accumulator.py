"""Statistics of values that come one by one: numerically stable, mergeable, made of plain lists that msgpack holds.

Mean and variance by Welford's method (merged by Chan's), the sum by Neumaier's; none of them needs the values. Only
the median does: then they are kept, to a bound.

Invariant: nothing is changed in place; `add` and `merge` return a new accumulator.
"""

import math
from statistics import median
from typing import Any

# What an accumulator, a list, holds where.
COUNT, MEAN, SQUARES, SUM, REST, LOW, HIGH, FIRST, LAST, BEGAN_S, ENDED_S, IGNORED, VALUES = range(13)

Accumulator = list[Any]
EMPTY: Accumulator = [0, 0.0, 0.0, 0.0, 0.0, None, None, None, None, None, None, 0, None]


def add(kept: Accumulator, value: Any, at_s: float, *, is_number: bool, with_values: bool) -> Accumulator:
    """One value more. Values that are no numbers are only counted and kept as first and last."""
    count = kept[COUNT] + 1
    new = [count, *kept[MEAN:]]
    if is_number:
        mean = kept[MEAN]
        away = value - mean
        new[MEAN] = mean + away / count
        new[SQUARES] = kept[SQUARES] + away * (value - new[MEAN])
        new[SUM], new[REST] = _add(kept[SUM], kept[REST], value)
        new[LOW] = value if count == 1 or value < kept[LOW] else kept[LOW]
        new[HIGH] = value if count == 1 or value > kept[HIGH] else kept[HIGH]
        if with_values:
            new[VALUES] = [*(kept[VALUES] or ()), value]
    if count == 1:
        new[FIRST], new[BEGAN_S] = value, at_s
    new[LAST], new[ENDED_S] = value, at_s
    return new


def ignore(kept: Accumulator) -> Accumulator:
    """One value more that says nothing, such as NaN."""
    new = list(kept)
    new[IGNORED] += 1
    return new


def merge(parts: list[Accumulator]) -> Accumulator:
    """All parts in one; they are given from oldest to newest."""
    merged = EMPTY
    for part in parts:
        merged = _merge_two(merged, part)
    return merged


def _merge_two(a: Accumulator, b: Accumulator) -> Accumulator:
    if not a[COUNT] or not b[COUNT]:
        new = list(a if a[COUNT] else b)
        new[IGNORED] = a[IGNORED] + b[IGNORED]
        return new
    new = list(a)
    count = a[COUNT] + b[COUNT]
    away = b[MEAN] - a[MEAN]
    new[COUNT] = count
    new[MEAN] = a[MEAN] + away * b[COUNT] / count
    new[SQUARES] = a[SQUARES] + b[SQUARES] + away * away * a[COUNT] * b[COUNT] / count
    total, rest = _add(a[SUM], a[REST], b[SUM])
    new[SUM], new[REST] = _add(total, rest, b[REST])
    if a[LOW] is not None and b[LOW] is not None:
        new[LOW], new[HIGH] = min(a[LOW], b[LOW]), max(a[HIGH], b[HIGH])
    new[LAST], new[ENDED_S] = b[LAST], b[ENDED_S]
    new[IGNORED] = a[IGNORED] + b[IGNORED]
    if a[VALUES] is not None or b[VALUES] is not None:
        new[VALUES] = [*(a[VALUES] or ()), *(b[VALUES] or ())]
    return new


def _add(total: float, rest: float, value: float) -> tuple[float, float]:
    """Neumaier: the sum, and what rounding has taken from it."""
    new = total + value
    lost = (total - new) + value if abs(total) >= abs(value) else (value - new) + total
    return new, rest + lost


FUNCTIONS = {
    "avg": lambda kept: kept[MEAN],
    "min": lambda kept: kept[LOW],
    "max": lambda kept: kept[HIGH],
    "sum": lambda kept: kept[SUM] + kept[REST],
    "count": lambda kept: kept[COUNT],
    "stddev": lambda kept: math.sqrt(kept[SQUARES] / (kept[COUNT] - 1)) if kept[COUNT] > 1 else 0.0,
    "median": lambda kept: median(kept[VALUES]) if kept[VALUES] else None,
    "first": lambda kept: kept[FIRST],
    "last": lambda kept: kept[LAST],
}
"""What can be asked of an accumulator; `stddev` is that of a sample."""

OF_NUMBERS = frozenset({"avg", "min", "max", "sum", "stddev", "median"})
