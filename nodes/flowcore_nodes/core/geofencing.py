"""Areas on the earth, and what a moving thing does at them: enter, exit, dwell. No clock, no files, no messages.

Positions are longitude and latitude in degrees (WGS 84), in that order, as GeoJSON has them (RFC 7946). The sides of a
polygon are straight in longitude and latitude, as RFC 7946 says; its border belongs to it. Distances are in metres on a
sphere of the earth's mean radius (IUGG: 6,371,008.8 m), which is within 0.6 % of the ellipsoid.

What is known of a thing is a plain map that msgpack holds; `judge` gives a new one and changes nothing in place.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import model_validator

from flowcore.node import NodeConfig, field

EARTH_RADIUS_M = 6_371_008.8
_DEGREE_M = math.radians(1) * EARTH_RADIUS_M

Position = tuple[float, float]
Known = dict[str, Any]
"""Of a thing: `at_s`, and `in`: area -> [since when, whether its dwelling was told]."""


class AreaConfig(NodeConfig):
    """An area: a polygon, a piece of GeoJSON, or a circle."""

    name: str = field(..., min_length=1, max_length=100, description="Name of the area, such as depot")
    polygon: list[Position] = field(
        [],
        max_length=100_000,
        description="Corners as [longitude, latitude] in degrees; the last one may repeat the first",
    )
    geojson: dict[str, Any] | None = field(
        None, description="Polygon, MultiPolygon, or a Feature or FeatureCollection of them, holes included"
    )
    centre: Position | None = field(None, description="Of a circle: [longitude, latitude] in degrees")
    radius_m: float | None = field(None, gt=0, le=20_000_000, description="Of a circle: radius in metres")

    @model_validator(mode="after")
    def _is_one_area(self) -> "AreaConfig":
        if (self.centre is None) != (self.radius_m is None):
            raise ValueError(f"the area {self.name!r} needs both centre and radius_m, or neither")
        ways = [bool(self.polygon), self.geojson is not None, self.centre is not None]
        if sum(ways) != 1:
            raise ValueError(f"the area {self.name!r} is one of polygon, geojson, or centre with radius_m")
        if self.centre is not None:
            check_position(*self.centre)
        else:
            with contextlib.suppress(ImportError):  # then nothing runs anyhow
                area_of(self)
        return self


@dataclass(frozen=True)
class Crossing:
    """What a thing did at an area.

    Attributes:
        event: enter, exit or dwell.
        area: name of the area.
        at_s: when, in seconds.
        for_s: how long it has been, or was, inside.
    """

    event: str
    area: str
    at_s: float
    for_s: float


class Circle:
    """All that is not farther than a radius from a centre, along the earth's surface."""

    def __init__(self, name: str, centre: Position, radius_m: float) -> None:
        self.name, self._centre, self._radius_m = name, centre, radius_m

    def holds(self, at: Position) -> bool:
        """The position is inside or on the border."""
        return distance_m(self._centre, at) <= self._radius_m

    def distance_m(self, at: Position) -> float:
        """How far outside it is, in metres; 0 inside."""
        return max(0.0, distance_m(self._centre, at) - self._radius_m)


class Shape:
    """A polygon, or several, with holes."""

    def __init__(self, name: str, shape: Any) -> None:
        import shapely

        self.name, self._shape = name, shape
        self._low_lon, self._low_lat, self._high_lon, self._high_lat = shape.bounds
        shapely.prepare(shape)
        self._touches = shapely.intersects_xy

    def holds(self, at: Position) -> bool:
        """The position is inside or on the border."""
        lon, lat = at
        if not self._low_lat <= lat <= self._high_lat:
            return False
        # A shape over the date line may be written with longitudes past 180; the position is not.
        return any(
            self._low_lon <= turned <= self._high_lon and bool(self._touches(self._shape, turned, lat))
            for turned in (lon, lon - 360, lon + 360)
        )

    def distance_m(self, at: Position) -> float:
        """How far outside it is, in metres; 0 inside.

        Degrees around the position are taken as a plane whose east-west scale is that of its latitude: right to about
        0.1 % within 10 km, which is what a margin needs.
        """
        import shapely

        lon, lat = at
        if self.holds(at):
            return 0.0
        scale = max(1e-6, math.cos(math.radians(lat))) * _DEGREE_M
        distances = []
        for turned in (lon, lon - 360, lon + 360):
            centre = (turned, lat)
            plane = shapely.transform(self._shape, lambda points, centre=centre: (points - centre) * (scale, _DEGREE_M))
            distances.append(float(shapely.distance(plane, shapely.Point(0, 0))))
        return min(distances)


Area = Circle | Shape


def area_of(config: AreaConfig) -> Area:
    """The area that a config describes.

    Raises:
        ValueError: a polygon that is none; says why.
    """
    if config.centre is not None and config.radius_m is not None:
        return Circle(config.name, config.centre, config.radius_m)
    try:
        if config.polygon:
            return _shape(config.name, [{"type": "Polygon", "coordinates": [_closed(config.polygon)]}])
        return _shape(config.name, _geometries(config.geojson))
    except ValueError as e:
        raise ValueError(f"the area {config.name!r}: {e}") from None


def areas_of_file(text: str | bytes) -> list[Area]:
    """The areas of a GeoJSON file: a feature each, called by its property `name`, or else by its `id`.

    Raises:
        ValueError: no GeoJSON; a feature without a name, or that is no polygon. Points with a property `radius_m` are
            circles.
    """
    import json

    collection = json.loads(text)
    features = collection.get("features") if isinstance(collection, dict) else None
    if not isinstance(features, list) or not features:
        raise ValueError("a FeatureCollection with features is needed")
    return [_area_of_feature(number, feature) for number, feature in enumerate(features, 1)]


def _area_of_feature(number: int, feature: Any) -> Area:
    about = feature.get("properties") if isinstance(feature, dict) else None
    about = about if isinstance(about, dict) else {}
    name = about.get("name") or (feature.get("id") if isinstance(feature, dict) else None)
    if not isinstance(name, (str, int)) or name == "":
        raise ValueError(f"feature {number} has no name: set its property `name`")
    geometry = feature.get("geometry")
    if isinstance(geometry, dict) and geometry.get("type") == "Point":
        radius_m = about.get("radius_m")
        if isinstance(radius_m, bool) or not isinstance(radius_m, (int, float)) or not radius_m > 0:
            raise ValueError(f"feature {number}, {name!r}, is a point: set its property `radius_m`, in metres")
        return Circle(str(name), _position(geometry.get("coordinates")), float(radius_m))
    try:
        return _shape(str(name), _geometries(feature))
    except ValueError as e:
        raise ValueError(f"feature {number}, {name!r}: {e}") from None


def _geometries(value: Any) -> Iterator[dict[str, Any]]:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind in ("Polygon", "MultiPolygon"):
        yield value
    elif kind == "Feature":
        yield from _geometries(value.get("geometry"))
    elif kind in ("FeatureCollection", "GeometryCollection"):
        for one in value.get("features" if kind == "FeatureCollection" else "geometries") or []:
            yield from _geometries(one)
    else:
        raise ValueError(f"an area is a Polygon or MultiPolygon, not {kind!r}")


def _shape(name: str, geometries: Iterable[dict[str, Any]]) -> Shape:
    import shapely

    parts = []
    for geometry in geometries:
        coordinates = geometry.get("coordinates")
        polygons = [coordinates] if geometry["type"] == "Polygon" else coordinates
        if not isinstance(polygons, list) or not polygons:
            raise ValueError(f"a {geometry['type']} without coordinates")
        for rings in polygons:
            if not isinstance(rings, list) or not rings:
                raise ValueError("a polygon is a list of rings, the first its border, the others holes")
            outer, *holes = [_ring(ring) for ring in rings]
            polygon = shapely.Polygon(outer, holes)
            if not polygon.is_valid:
                raise ValueError(f"no polygon: {shapely.is_valid_reason(polygon)}")
            if not polygon.area:
                raise ValueError("no polygon: it has no area")
            parts.append(polygon)
    if not parts:
        raise ValueError("there is no polygon in it")
    return Shape(name, parts[0] if len(parts) == 1 else shapely.union_all(parts))


def _ring(ring: Any) -> list[Position]:
    if not isinstance(ring, list) or len(ring) < 4:
        raise ValueError("a ring has at least four positions, the last the same as the first")
    positions = [_position(one, longest=540) for one in ring]
    if positions[0] != positions[-1]:
        raise ValueError("a ring ends where it begins: its last position is the same as the first")
    return positions


def _closed(corners: list[Position]) -> list[list[float]]:
    found = [list(corner) for corner in corners]
    if len(found) < 3:
        raise ValueError("a polygon has at least three corners")
    return found if found[0] == found[-1] else [*found, found[0]]


def _position(value: Any, longest: float = 180) -> Position:
    if not isinstance(value, (list, tuple)) or len(value) < 2:
        raise ValueError(f"a position is [longitude, latitude], got {str(value)[:60]}")
    lon, lat = value[:2]
    check_position(lon, lat, longest)
    return float(lon), float(lat)


def check_position(lon: Any, lat: Any, longest: float = 180) -> None:
    """Check a position.

    Raises:
        ValueError: they are no numbers, or not on the earth.
    """
    for what, value, most in (("longitude", lon, longest), ("latitude", lat, 90)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"the {what} must be a number in degrees, got {str(value)[:40]!r}")
        if abs(value) > most:
            hint = "; are longitude and latitude exchanged?" if what == "latitude" and abs(value) <= 180 else ""
            raise ValueError(f"the {what} is {value:g}, from -{most:g} to {most:g} degrees there is an earth{hint}")


def distance_m(a: Position, b: Position) -> float:
    """Metres between two positions along the great circle, by the haversine formula.

    R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (1984), 159: well conditioned for short ways.
    """
    lon_a, lat_a, lon_b, lat_b = (math.radians(one) for one in (*a, *b))
    half = math.sin((lat_b - lat_a) / 2) ** 2
    half += math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(half)))


def judge(
    areas: Iterable[Area],
    known: Known | None,
    at: Position,
    at_s: float,
    *,
    margin_m: float = 0.0,
    dwell_s: float = 0.0,
) -> tuple[Known, list[Crossing]]:
    """What a thing did when it came to a position.

    Args:
        areas: all areas.
        known: what was known of it before; None for a new thing.
        at: where it is.
        at_s: when, in seconds; not before `known["at_s"]`.
        margin_m: it has left an area only when it is farther than this from it: a receiver that jitters at a border
            would come and go all the time.
        dwell_s: after so long inside its dwelling is told, once; 0: never.
    Returns:
        What is known of it now, and the crossings: those that were left first.
    """
    before: dict[str, list] = known["in"] if known else {}
    inside: dict[str, list] = {}
    found: list[Crossing] = []
    for area in areas:
        stay = before.get(area.name)
        if area.holds(at) or (stay is not None and margin_m and area.distance_m(at) <= margin_m):
            inside[area.name] = stay if stay is not None else [at_s, False]
            if stay is None:
                found.append(Crossing("enter", area.name, at_s, 0.0))
        elif stay is not None:
            found.append(Crossing("exit", area.name, at_s, at_s - stay[0]))
    # What was an area before, and is none any more, is left without a word.
    found.sort(key=lambda crossing: crossing.event == "enter")
    now, dwelling = dwelt({"at_s": at_s, "in": inside}, at_s, dwell_s)
    return now, found + dwelling


def dwelt(known: Known, now_s: float, dwell_s: float) -> tuple[Known, list[Crossing]]:
    """Whose dwelling is to be told by now: what is known then, and the crossings."""
    inside, found = {}, []
    for name, (since_s, was_told) in known["in"].items():
        is_due = bool(dwell_s) and not was_told and now_s - since_s >= dwell_s
        inside[name] = [since_s, was_told or is_due]
        if is_due:
            found.append(Crossing("dwell", name, now_s, now_s - since_s))
    return {**known, "in": inside}, found


def dwell_due_s(known: Known, dwell_s: float) -> float | None:
    """When the next dwelling of a thing is to be told, if it stays; None: there is none."""
    times = [since_s + dwell_s for since_s, was_told in known["in"].values() if not was_told]
    return min(times, default=None) if dwell_s else None
