"""A report as a picture, with matplotlib (the extra `flowcore[bench]`): figures with their spread, latency by size.

CannotDraw   matplotlib is not installed, or the file cannot be written; `do` says what to do
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flowcore.bench.figures import Row

KINDS = (".png", ".svg", ".pdf")
_OURS, _MISSED = "#2f6db5", "#c8553d"
_TAIL = {"p99": "x", "p99.9": "+"}  # the bar is the median
_SHORTEST_MS = 0.1


class CannotDraw(Exception):
    """No picture can be made, and what to do."""

    def __init__(self, text: str, do: str) -> None:
        super().__init__(text)
        self.do = do


def check(file: Path) -> None:
    """See before anything is measured that it can be drawn.

    Raises:
        CannotDraw: see the module.
    """
    if file.suffix not in KINDS:
        raise CannotDraw(
            f"{file}: no kind of picture", f"Name it {' or '.join(f'{file.stem}{kind}' for kind in KINDS)}"
        )
    if not file.parent.is_dir():
        raise CannotDraw(f"{file.parent}: no such folder", f"Make it: mkdir -p {file.parent}")
    if find_spec("matplotlib") is None:
        raise CannotDraw("matplotlib is not installed", "Install it: pip install 'flowcore[bench]'")


def draw(report: dict[str, Any], file: Path) -> None:
    """Draw every part below the other; the kind of file is what its name says."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    panels = [(part, unit, rows) for part in report["parts"] for unit, rows in _panels(part["rows"])]
    heights = [0.9 + 0.32 * len(rows) for _, _, rows in panels]
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(10, sum(heights) + 0.8), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for (part, unit, rows), axis in zip(panels, axes[:, 0], strict=True):
        _draw_panel(axis, part["part"], unit, rows)
    on = report["machine"]
    what = f"flowcore {report['versions']['flowcore']}: {on['cpu']}, {on['cores']} cores, {report['when'][:10]}"
    figure.suptitle(f"{what}\n(bars: medians with their spread; black lines: what is to be reached)", fontsize=10)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def _panels(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    """Rows of one unit belong into one panel; those without a unit are counts, which a table tells better."""
    units = dict.fromkeys(row.unit for row in rows if row.unit)
    return [(unit, [row for row in rows if row.unit == unit]) for unit in units]


def _draw_panel(axis: Any, part: str, unit: str, rows: list[Row]) -> None:
    names = [row.name for row in rows]
    medians = [row.median for row in rows]
    below = [row.median - min(row.values) for row in rows]
    above = [max(row.values) - row.median for row in rows]
    colours = [_MISSED if row.is_reached is False else _OURS for row in rows]
    axis.barh(names, medians, xerr=[below, above], color=colours, height=0.6, ecolor="#555555", capsize=2)
    for place, row in enumerate(rows):
        if row.target is not None:
            axis.plot([row.target.value] * 2, [place - 0.4, place + 0.4], color="black", linewidth=1.5)
    places = [place for place, row in enumerate(rows) if row.percentiles]
    if places:
        for name, mark in _TAIL.items():
            axis.plot([rows[place].percentiles[name] for place in places], places, mark, color="black", label=name)
        axis.set_xscale("log")
        axis.set_xlim(left=_SHORTEST_MS)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.legend(fontsize=7, frameon=False, loc="upper right")
    axis.invert_yaxis()
    axis.set_title(f"{part}, {unit}", fontsize=9, loc="left")
    axis.tick_params(labelsize=7)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
