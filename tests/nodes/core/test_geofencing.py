"""Areas against other geometry: winding numbers for polygons, vectors for the sphere, borders walked in steps."""

import json
import math
import random

import pytest
from flowcore_nodes.core.geofencing import EARTH_RADIUS_M, AreaConfig, area_of, areas_of_file, distance_m, judge
from pydantic import ValidationError

YARD = [(13.30, 52.50), (13.42, 52.49), (13.45, 52.55), (13.38, 52.52), (13.31, 52.56)]  # not convex


def by_vectors(a, b):
    """Metres along the great circle, of the angle between two unit vectors."""

    def vector(lon, lat):
        lon, lat = math.radians(lon), math.radians(lat)
        return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)

    (x1, y1, z1), (x2, y2, z2) = vector(*a), vector(*b)
    cross = math.hypot(y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2)
    return EARTH_RADIUS_M * math.atan2(cross, x1 * x2 + y1 * y2 + z1 * z2)


def turns_around(corners, at):
    """The winding number of a polygon, by the sum of angles."""
    angles = [math.atan2(lat - at[1], lon - at[0]) for lon, lat in corners]
    turned = sum(math.remainder(after - before, math.tau) for before, after in zip(angles, angles[1:] + angles[:1]))  # noqa: B905
    return round(turned / math.tau)


def test_distances_are_those_of_a_sphere():
    random_of = random.Random(5)
    for _ in range(500):
        a, b = ((random_of.uniform(-180, 180), random_of.uniform(-90, 90)) for _ in range(2))
        assert distance_m(a, b) == pytest.approx(by_vectors(a, b), rel=1e-9, abs=1e-3)
    assert distance_m((0, 0), (0, 90)) == pytest.approx(math.pi / 2 * EARTH_RADIUS_M)
    assert distance_m((179.999, 0), (-179.999, 0)) == pytest.approx(222.39, abs=0.01)  # over the date line


def test_a_polygon_holds_what_it_winds_around_and_its_border():
    area = area_of(AreaConfig(name="yard", polygon=YARD))
    random_of, inside = random.Random(7), 0
    for _ in range(2000):
        at = (random_of.uniform(13.28, 13.47), random_of.uniform(52.48, 52.57))
        assert area.holds(at) == (turns_around(YARD, at) != 0), at
        inside += area.holds(at)
    assert 500 < inside < 1500
    assert all(area.holds(corner) for corner in YARD)


def test_holes_and_several_polygons_and_the_date_line():
    hole = [[13.36, 52.505], [13.37, 52.505], [13.37, 52.51], [13.36, 52.505]]
    ring = [list(corner) for corner in [*YARD, YARD[0]]]
    island = [[1, 1], [2, 1], [2, 2], [1, 1]]
    area = area_of(AreaConfig(name="a", geojson={"type": "MultiPolygon", "coordinates": [[ring, hole], [island]]}))
    assert area.holds((13.35, 52.507)) and not area.holds((13.368, 52.507)) and area.holds((1.9, 1.5))
    fiji = area_of(AreaConfig(name="fiji", polygon=[(177, -19), (182, -19), (182, -16), (177, -16)]))
    assert fiji.holds((179.9, -17)) and fiji.holds((-178.5, -17)) and not fiji.holds((-177, -17))
    assert fiji.distance_m((-177.99, -17)) == pytest.approx(distance_m((-177.99, -17), (-178, -17)), rel=0.001)


def test_how_far_outside_is_the_nearest_of_the_border():
    area = area_of(AreaConfig(name="yard", polygon=YARD))
    border = [
        (a[0] + (b[0] - a[0]) * k / 2000, a[1] + (b[1] - a[1]) * k / 2000)
        for a, b in zip(YARD, YARD[1:] + YARD[:1])  # noqa: B905
        for k in range(2000)
    ]
    for at in ((13.29, 52.51), (13.38, 52.545), (13.50, 52.50), (13.35, 52.48)):
        assert area.distance_m(at) == pytest.approx(min(by_vectors(at, one) for one in border), rel=0.002), at
    assert area.distance_m((13.35, 52.51)) == 0
    circle = area_of(AreaConfig(name="c", centre=(13.4, 52.5), radius_m=500))
    assert circle.distance_m((13.41, 52.5)) == pytest.approx(by_vectors((13.4, 52.5), (13.41, 52.5)) - 500)


def drove(areas, way, **options):
    """The crossings of a way: [(at_s, position)]."""
    known, told = None, []
    for at_s, at in way:
        known, crossings = judge(areas, known, at, at_s, **options)
        told += [(one.event, one.area, one.at_s, one.for_s) for one in crossings]
    return told


def test_a_thing_enters_dwells_once_and_leaves():
    depot = area_of(AreaConfig(name="depot", centre=(13.4, 52.5), radius_m=500))
    shop = area_of(AreaConfig(name="shop", centre=(13.42, 52.5), radius_m=500))
    at_depot, at_shop, road = (13.4, 52.5), (13.42, 52.5), (13.41, 52.5)
    way = [(0, road), (10, at_depot), (50, at_depot), (80, at_depot), (200, at_depot), (210, at_shop), (300, road)]
    assert drove([depot, shop], way, dwell_s=60) == [
        ("enter", "depot", 10, 0),
        ("dwell", "depot", 80, 70),
        ("exit", "depot", 210, 200),
        ("enter", "shop", 210, 0),
        ("exit", "shop", 300, 90),
    ]


def test_a_margin_keeps_a_jittering_receiver_from_coming_and_going():
    area = area_of(AreaConfig(name="depot", centre=(13.4, 52.5), radius_m=500))
    random_of = random.Random(3)
    east = [(13.4 + (500 + random_of.gauss(0, 8)) / 67_700, 52.5) for _ in range(200)]
    way = list(enumerate(east))
    assert len(drove([area], way)) > 50
    assert [one[0] for one in drove([area], way, margin_m=50)] == ["enter"]
    assert [one[0] for one in drove([area], [*way, (999, (13.41, 52.5))], margin_m=50)] == ["enter", "exit"]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({}, "one of polygon, geojson, or centre"),
        ({"polygon": YARD, "centre": (1, 2), "radius_m": 3}, "one of polygon, geojson, or centre"),
        ({"centre": (1, 2)}, "both centre and radius_m"),
        ({"centre": (52.5, 113.4), "radius_m": 5}, "latitude is 113.4.*exchanged"),
        ({"centre": (1, float("nan")), "radius_m": 5}, "finite number"),
        ({"polygon": [(1, 1), (2, 2)]}, "at least three corners"),
        ({"polygon": [(1, 1), (2, 2), (3, 3)]}, "no polygon: "),
        ({"polygon": [(0, 0), (1, 1), (1, 0), (0, 1)]}, "no polygon: Self-intersection"),
        ({"geojson": {"type": "Point", "coordinates": [1, 2]}}, "Polygon or MultiPolygon, not 'Point'"),
        ({"geojson": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}}, "ends where it begins"),
        ({"geojson": {"type": "FeatureCollection", "features": []}}, "no polygon in it"),
        ({"geojson": {"type": "Polygon", "coordinates": [[["a", 0]] * 4]}}, "longitude must be a number"),
        ({"geojson": {"type": "Polygon", "coordinates": 5}}, "a Polygon without coordinates|a list of rings"),
    ],
)  # fmt: skip
def test_what_is_no_area_says_why(config, text):
    with pytest.raises(ValidationError, match=text):
        AreaConfig(name="x", **config)


def test_areas_of_a_file_have_the_names_of_their_features():
    ring = [list(corner) for corner in [*YARD, YARD[0]]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    features = [
        {"type": "Feature", "properties": {"name": "yard"}, "geometry": polygon},
        {"type": "Feature", "id": 7, "properties": None, "geometry": polygon},
        {
            "type": "Feature",
            "properties": {"name": "gate", "radius_m": 40},
            "geometry": {"type": "Point", "coordinates": [13.3, 52.5]},
        },
    ]
    areas = areas_of_file(json.dumps({"type": "FeatureCollection", "features": features}))
    assert [area.name for area in areas] == ["yard", "7", "gate"]
    assert [area.holds((13.3003, 52.5001)) for area in areas] == [True, True, True]
    for change, text in (
        ({"properties": {}}, "feature 1 has no name"),
        ({"geometry": {"type": "Point", "coordinates": [1, 2]}}, "is a point: set its property `radius_m`"),
        ({"geometry": None}, "not None"),
    ):
        with pytest.raises(ValueError, match=text):
            areas_of_file(json.dumps({"type": "FeatureCollection", "features": [features[0] | change]}))
