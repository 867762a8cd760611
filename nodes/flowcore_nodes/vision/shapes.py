"""Lines and zones as a flow file says them, and as pixels of a frame."""

from typing import Any, Literal

from pydantic import model_validator

from flowcore.node import NodeConfig, field
from flowcore_nodes.vision.areas import Unit, in_pixels
from flowcore_nodes.vision.detections import Detection, Point

Anchor = Literal["centre", "foot"]


class Line(NodeConfig):
    """A line that things may cross."""

    name: str = field(min_length=1, description="Name of the line, in events and counts")
    start: tuple[float, float] = field(description="x, y where it begins")
    end: tuple[float, float] = field(description="x, y where it ends; in is from its left to its right, seen so")

    @model_validator(mode="after")
    def _is_a_line(self) -> "Line":
        if self.start == self.end:
            raise ValueError(f"line {self.name!r} begins and ends at {list(self.start)}")
        return self

    def pixels(self, unit: Unit, width: int, height: int) -> tuple[Point, Point]:
        """Start and end in pixels of a frame."""
        x1, y1, x2, y2 = in_pixels((*self.start, *self.end), unit, width, height)
        return (x1, y1), (x2, y2)


class Zone(NodeConfig):
    """An area: a polygon, or a rectangle."""

    name: str = field(min_length=1, description="Name of the zone, in events and counts")
    polygon: list[tuple[float, float]] | None = field(None, description="Its corners x, y in order; three or more")
    rectangle: tuple[float, float, float, float] | None = field(
        None, description="In place of corners: x, y, width, height"
    )

    @model_validator(mode="after")
    def _is_an_area(self) -> "Zone":
        if (self.polygon is None) == (self.rectangle is None):
            raise ValueError(f"zone {self.name!r} has a polygon or a rectangle")
        if self.polygon is not None and len(set(self.polygon)) < 3:
            raise ValueError(f"zone {self.name!r}: a polygon has three corners or more")
        if self.rectangle is not None and min(self.rectangle[2:]) <= 0:
            raise ValueError(f"zone {self.name!r}: a rectangle is x, y, width, height, got {list(self.rectangle)}")
        return self

    def pixels(self, unit: Unit, width: int, height: int) -> list[Point]:
        """Corners in pixels of a frame."""
        corners = self.polygon
        if self.rectangle is not None:
            x, y, w, h = self.rectangle
            corners = [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
        flat = in_pixels([value for corner in corners or () for value in corner], unit, width, height)
        return list(zip(flat[::2], flat[1::2], strict=True))


def check_names(shapes: list[Any], what: str) -> None:
    """Refuse two of one name, or none at all.

    Raises:
        ValueError: so it is.
    """
    names = [shape.name for shape in shapes]
    if not names:
        raise ValueError(f"no {what} is set")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two {what}s are called {twice[0]!r}")


def anchor_of(one: Detection, anchor: Anchor) -> Point:
    """The point of a detection that lines and zones look at."""
    return one.foot if anchor == "foot" else one.centre
