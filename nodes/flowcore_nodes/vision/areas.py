"""Rectangles and points of a config: in pixels, or in percent of the frame. Pure; needs no library."""

from collections.abc import Sequence
from typing import Literal

from flowcore.node import GiveUp

Unit = Literal["pixels", "percent"]


def in_pixels(values: Sequence[float], unit: Unit, width: int, height: int) -> list[float]:
    """x, y, x, y ... in pixels of a frame."""
    if unit == "pixels":
        return [float(value) for value in values]
    sizes = (width, height)
    return [value * sizes[k % 2] / 100 for k, value in enumerate(values)]


def inside(box: Sequence[float], width: int, height: int) -> tuple[int, int, int, int] | None:
    """x1, y1, x2, y2 in whole pixels, cut at the frame's edges; None: nothing of it is in the frame."""
    x1, y1, x2, y2 = round(box[0]), round(box[1]), round(box[2]), round(box[3])
    x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def region_in(region: Sequence[float], unit: Unit, width: int, height: int) -> tuple[int, int, int, int]:
    """A region x, y, width, height as x1, y1, x2, y2 in whole pixels.

    Raises:
        GiveUp: it is not within the frame.
    """
    x, y, w, h = in_pixels(region, unit, width, height)
    found = inside((x, y, x + w, y + h), width, height)
    if found is None or x < 0 or y < 0 or round(x + w) > width or round(y + h) > height:
        raise GiveUp(f"the region {list(region)} ({unit}) is not within a frame of {width} x {height}")
    return found


def check_region(region: Sequence[float], unit: Unit) -> None:
    """Refuse what is no region in any frame.

    Raises:
        ValueError: it is none.
    """
    x, y, width, height = region
    if min(x, y) < 0 or min(width, height) <= 0 or (unit == "percent" and (x + width > 100 or y + height > 100)):
        raise ValueError(f"a region is x, y, width, height in {unit} of the frame, got {list(region)}")
