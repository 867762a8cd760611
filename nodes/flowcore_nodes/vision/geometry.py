"""Points, lines and zones on a frame. Pure: no library, no clock.

y grows downwards, so looking from the start of a line to its end, what is to the right has a positive side. With whole
numbers below 2,000 every test is exact.
"""

import math
from collections.abc import Sequence

Point = Sequence[float]


def side(start: Point, end: Point, point: Point) -> float:
    """Positive to the right of the line, looking from start to end; 0 on it."""
    return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])


def crossing(start: Point, end: Point, before: Point, now: Point) -> str | None:
    """Whether a move goes over a line between its ends: "in" from its left to its right, "out" the other way.

    A point on the line counts as to its right, so that a move that stops on it and goes on counts once. The ends belong
    to the line.
    """
    was, is_ = side(start, end, before), side(start, end, now)
    if (was >= 0) == (is_ >= 0):
        return None
    along = (end[0] - start[0], end[1] - start[1])
    from_start = (before[0] - start[0]) * along[0] + (before[1] - start[1]) * along[1]
    moved = (now[0] - before[0]) * along[0] + (now[1] - before[1]) * along[1]
    # Where the move meets the line, as a share of the line: (from_start + was / (was - is_) * moved) / |along|^2.
    share, whole = from_start * (was - is_) + was * moved, was - is_
    if whole < 0:
        share, whole = -share, -whole
    if not 0 <= share <= (along[0] ** 2 + along[1] ** 2) * whole:
        return None
    return "in" if was < 0 else "out"


def contains(polygon: Sequence[Point], point: Point) -> bool:
    """Whether a point is in a polygon (even-odd where it crosses itself); its edges belong to it."""
    x, y = point
    is_in = False
    for (x1, y1), (x2, y2) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        turn = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
        if turn == 0 and min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2):
            return True
        if (y1 > y) != (y2 > y) and (turn > 0) == (y2 > y1):
            is_in = not is_in
    return is_in


def distance(one: Point, other: Point) -> float:
    """In pixels."""
    return math.hypot(other[0] - one[0], other[1] - one[1])
