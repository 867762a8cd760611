"""Where nodes stand: Node-RED's places, spread, since its nodes are as wide as their names and given by their middle.

A node that is made besides one of theirs gets a column of its own, so that wires still run from left to right.
"""

from __future__ import annotations

from typing import Any

_WIDER, _HIGHER = 1.6, 1.5  # theirs are some 100 by 30 with 160 from one to the next, ours 160 by 34 and a line below
_HALF_WIDTH, _HALF_HEIGHT = 80, 17
_HALF_JUNCTION = 10
_COLUMN = 220
_SAME_COLUMN = 60  # theirs that stand no farther apart are one column, of which nothing is moved away


class Columns:
    """Where further columns come in, and with it the new place for each old one."""

    def __init__(self) -> None:
        self._behind: list[tuple[float, int]] = []  # x, how many
        self._before: list[tuple[float, int]] = []

    def make(self, raw: dict[str, Any], before: int, behind: int) -> None:
        """Make room for further nodes in front of and behind one of theirs."""
        if before:
            self._before.append((_number(raw.get("x")), before))
        if behind:
            self._behind.append((_number(raw.get("x")), behind))

    def node(self, raw: dict[str, Any], at: int = 0) -> dict[str, int]:
        """Where one of theirs stands now, or the one that was made `at` places behind it."""
        x, y = _number(raw.get("x")), _number(raw.get("y"))
        half = _HALF_JUNCTION if raw.get("type") == "junction" else _HALF_WIDTH
        return {"x": round(self._across(x) - half + at * _COLUMN), "y": round(y * _HIGHER - _HALF_HEIGHT)}

    def frame(self, raw: dict[str, Any]) -> dict[str, int]:
        """A group's frame."""
        x, y, w, h = (_number(raw.get(key)) for key in ("x", "y", "w", "h"))
        left = self._across(x)
        sizes = {"w": round(self._across(x + w) - left), "h": round(h * _HIGHER)}
        return {"x": round(left), "y": round(y * _HIGHER)} | {key: sizes[key] for key in ("w", "h") if key in raw}

    def _across(self, x: float) -> float:
        behind = sum(most for last, most in _grouped(self._behind, max) if last + _SAME_COLUMN < x)
        before = sum(most for first, most in _grouped(self._before, min) if first - _SAME_COLUMN <= x)
        return x * _WIDER + (behind + before) * _COLUMN


def _grouped(columns: list[tuple[float, int]], edge: Any) -> list[tuple[float, int]]:
    """Those that stand in one column as one: its edge, and the most further nodes of any of them."""
    grouped: list[list[tuple[float, int]]] = []
    for one in sorted(columns):
        if grouped and one[0] - grouped[-1][0][0] <= _SAME_COLUMN:
            grouped[-1].append(one)
        else:
            grouped.append([one])
    return [(edge(x for x, _ in group), max(many for _, many in group)) for group in grouped]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
