"""Lines and zones against brute force: fractions that know no rounding, and OpenCV's own test of polygons."""

from fractions import Fraction

import cv2
import numpy as np
from flowcore_nodes.vision.geometry import contains, crossing
from flowcore_nodes.vision.line import Line
from flowcore_nodes.vision.zone import Zone

from flowcore.node.testing import drive

FRAMES, TRACKS, SIZE = 12, 1000, 200
LINES = [
    {"name": "across", "start": [100, 0], "end": [100, 200]},
    {"name": "slanted", "start": [20, 180], "end": [180, 30]},
    {"name": "short", "start": [60, 60], "end": [90, 60]},
]
ZONES = [
    {"name": "room", "rectangle": [40, 40, 80, 60]},
    {"name": "star", "polygon": [[100, 10], [130, 190], [10, 70], [190, 70], [60, 190]]},
    {"name": "bent", "polygon": [[150, 20], [190, 20], [190, 150], [120, 150], [120, 110], [160, 110]]},
]


def walks(seed: int) -> np.ndarray:
    """(tracks, frames, 2) whole pixels: walks of small and large steps that stop on lines, corners and edges, too."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-12, 13, (TRACKS, FRAMES, 2)) * rng.choice([0, 1, 1, 5], (TRACKS, FRAMES, 1))
    places = rng.integers(0, SIZE + 1, (TRACKS, 1, 2)) + np.cumsum(steps, axis=1)
    places = np.clip(places, 0, SIZE)
    corners = np.array([[100, 100], [40, 40], [120, 70], [60, 60], [160, 110], [75, 60]])
    there = rng.random((TRACKS, FRAMES)) < 0.1
    places[there] = corners[rng.integers(0, len(corners), there.sum())]
    return places


def crossed(start, end, before, now) -> str | None:
    """By the parameters of both segments, solved with fractions; a point on the line is to its right."""
    (ax, ay), (bx, by), (px, py), (qx, qy) = start, end, before, now

    def is_right(x, y):
        # the line's normal, to the right when y grows downwards
        return (x - ax) * -(by - ay) + (y - ay) * (bx - ax) >= 0

    if is_right(px, py) == is_right(qx, qy):
        return None
    determinant = (bx - ax) * -(qy - py) + (by - ay) * (qx - px)
    assert determinant != 0
    on_line = Fraction((px - ax) * -(qy - py) + (py - ay) * (qx - px), determinant)
    if not 0 <= on_line <= 1:
        return None
    return "in" if is_right(qx, qy) else "out"


def is_in(polygon, point) -> bool:
    """OpenCV's test; its edges belong to a polygon."""
    return cv2.pointPolygonTest(polygon, (float(point[0]), float(point[1])), False) >= 0


def frames_of(places: np.ndarray):
    """Detections of each frame, all tracks on each; boxes of 2 x 2 pixels around the places."""
    for frame in range(FRAMES):
        yield {
            "width": SIZE,
            "height": SIZE,
            "number": frame,
            "time_ns": (frame + 1) * 100_000_000,
            "source": "gate",
            "detections": [
                {"class": "a", "track": track, "box": [x - 1, y - 1, x + 1, y + 1]}
                for track, (x, y) in enumerate(places[:, frame].tolist())
            ],
        }


def test_points_and_moves_one_by_one():
    """Where it is decided: on the line, at its ends, on edges and corners."""
    line = ((10, 10), (20, 10))
    moves = {
        ((15, 5), (15, 15)): "in",
        ((15, 15), (15, 5)): "out",
        ((15, 5), (15, 10)): "in",
        ((15, 10), (15, 15)): None,
    }
    moves |= {
        ((10, 5), (10, 15)): "in",
        ((21, 5), (21, 15)): None,
        ((5, 10), (25, 10)): None,
        ((20, 5), (21, 15)): None,
    }
    for (before, now), wanted in moves.items():
        assert crossing(*line, before, now) == wanted, (before, now)
    square = [(0, 0), (10, 0), (10, 10), (0, 10)]
    points = {(0, 0): True, (10, 5): True, (5, 10): True, (10.01, 5): False, (5, 5): True, (-1, 10): False}
    assert {point: contains(square, point) for point in points} == points


async def test_line_events_equal_brute_force():
    """1,000 random tracks: who crossed what, when, in which direction, and the counts."""
    places = walks(1)
    walk = places.tolist()
    wanted = {
        (frame, track, line["name"], found)
        for line in LINES
        for track in range(TRACKS)
        for frame in range(1, FRAMES)
        if (found := crossed(line["start"], line["end"], walk[track][frame - 1], walk[track][frame]))
    }
    async with drive(Line, lines=LINES, unit="pixels") as node:
        await node.put(*frames_of(places))
        events = await node.sent(port="event")
        last = (await node.sent(port="out"))[-1]
    got = [(one["number"], one["track"], one["line"], one["direction"]) for one in events]
    assert len(got) == len(set(got)) and set(got) == wanted and len(wanted) > 1500
    for line in LINES:
        for direction in ("in", "out"):
            count = sum(1 for one in wanted if one[2:] == (line["name"], direction))
            assert last["lines"][line["name"]][direction] == count


async def test_zone_events_equal_brute_force():
    """1,000 random tracks: who came and went, when, how long it stayed, and how many are in."""
    places = walks(2)
    corners = {"room": [[40, 40], [120, 40], [120, 100], [40, 100]]}
    corners |= {zone["name"]: zone["polygon"] for zone in ZONES[1:]}
    wanted, counts = set(), {}
    for name, polygon in corners.items():
        contour = np.array(polygon, np.int32)
        inside = np.array([[is_in(contour, point) for point in walk] for walk in places.tolist()])
        counts[name] = int(inside[:, -1].sum())
        for track in range(TRACKS):
            since = None
            for frame in range(FRAMES):
                if inside[track, frame] and since is None:
                    since = frame
                    wanted.add((frame, track, name, "enter", None))
                elif not inside[track, frame] and since is not None:
                    wanted.add((frame, track, name, "exit", round((frame - since) * 0.1, 6)))
                    since = None
    async with drive(Zone, zones=ZONES, unit="pixels", anchor="centre") as node:
        await node.put(*frames_of(places))
        events = await node.sent(port="event")
        last = (await node.sent(port="out"))[-1]
    got = [
        (one["number"], one["track"], one["zone"], one["event"], round(one["dwell_s"], 6) if "dwell_s" in one else None)
        for one in events
    ]
    assert len(got) == len(set(got)) and set(got) == wanted and len(wanted) > 1500
    assert {name: zone["count"] for name, zone in last["zones"].items()} == counts
