"""Clips and pictures: the right frames, whole files, within their bounds."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from flowcore_nodes.vision.record import Record
from flowcore_nodes.vision.snapshot_archive import SnapshotArchive

from flowcore.node.testing import drive

BEGIN_NS = 1_750_000_000_000_000_000


def picture(number: int) -> np.ndarray:
    """A frame whose grey level is three times its number."""
    return np.full((64, 96, 3), number * 3 % 256, np.uint8)


def meta(number: int, source: str = "gate") -> dict:
    """10 frames a second."""
    return {"source": source, "number": number, "time_ns": BEGIN_NS + number * 100_000_000}


def numbers_in(path: str) -> list[int]:
    """The numbers of the frames in a clip."""
    capture, found = cv2.VideoCapture(path), []
    while (frame := capture.read())[0]:
        found.append(round(float(frame[1].mean()) / 3))
    return found


async def play(node, first: int, last: int, events=(), source: str = "gate") -> None:
    """Frames `first` up to `last`, events at those numbers."""
    for number in range(first, last):
        await node.put(picture(number), port="image", meta=meta(number, source))
        if number in events:
            payload = {"event": "enter", "source": source, "time_ns": meta(number)["time_ns"]}
            await node.put(payload, port="event")


@pytest.mark.parametrize("kind", ["avi", "mp4", "webm"])
async def test_a_clip_begins_before_the_event_and_ends_after_it(tmp_path, kind):
    async with drive(Record, folder=str(tmp_path), before_s=1, after_s=2, format=kind) as node:
        await play(node, 0, 80, events=(30,))
        (saved,) = await node.sent()
        assert saved["frames"] == 31 and saved["events"][0]["event"] == "enter"
        assert saved["begin_ns"] == meta(20)["time_ns"] and saved["end_ns"] == meta(50)["time_ns"]
        assert (
            np.abs(np.subtract(numbers_in(saved["path"]), range(20, 51))).max() <= 1
        )  # as far as codecs keep grey levels
    assert cv2.VideoCapture(saved["path"]).get(cv2.CAP_PROP_FPS) == pytest.approx(10, abs=0.1)
    assert not [path for path in tmp_path.rglob("*") if "part" in path.name]


async def test_events_close_together_are_one_clip_and_cameras_are_apart(tmp_path):
    async with drive(Record, folder=str(tmp_path), before_s=1, after_s=1, format="avi") as node:
        await play(node, 0, 30, source="yard")
        await play(node, 0, 80, events=(20, 28, 60))
        saved = await node.sent()
    assert [(one["frames"], len(one["events"]), one["source"]) for one in saved] == [(29, 2, "gate"), (21, 1, "gate")]
    assert numbers_in(saved[0]["path"]) == list(range(10, 39))


async def test_a_clip_is_ended_when_frames_stop_and_when_the_node_does(tmp_path):
    """A camera that dies in the middle leaves a clip that can be watched; so does a flow that is stopped."""
    async with drive(Record, folder=str(tmp_path), before_s=1, after_s=1, format="avi") as node:
        await play(node, 0, 25, events=(20,))
        await node.advance(10)
        (saved,) = await node.sent()
        assert numbers_in(saved["path"]) == list(range(10, 25))
        await play(node, 30, 45, events=(40,))
    (other,) = [path for path in tmp_path.rglob("*.avi") if str(path) != saved["path"]]
    assert numbers_in(str(other)) == list(range(30, 45))


async def test_what_a_killed_one_left_is_taken_away_and_nothing_else(tmp_path):
    folder = tmp_path / "gate" / "2025-06-15"
    folder.mkdir(parents=True)
    for name in ("120000.000-enter.part.avi", "120000.000-enter.avi", "mine.avi"):
        (folder / name).write_bytes(b"x")
    os.utime(folder / "120000.000-enter.avi", (0, 0))
    async with drive(Record, folder=str(tmp_path), max_age_h=1):
        assert [path.name for path in folder.iterdir()] == ["mine.avi"]


async def test_a_frame_of_another_size_and_an_event_without_frames(tmp_path):
    """The clip goes on in its first size; an event of a camera that sent nothing is no error."""
    async with drive(Record, folder=str(tmp_path), before_s=1, after_s=1, format="avi") as node:
        await play(node, 0, 25, events=(20,))
        for number in range(25, 40):
            await node.put(np.full((32, 48, 3), number * 3, np.uint8), port="image", meta=meta(number))
        await node.put({"event": "enter", "source": "nowhere"}, port="event")
        await node.advance(10)
        gate, nowhere = await node.sent()
        assert numbers_in(gate["path"]) == list(range(10, 31))
        assert nowhere["path"] is None and nowhere["frames"] == 0 and not node.errors


async def test_a_snapshot_is_kept_with_what_is_known(tmp_path):
    event = {"event": "enter", "zone": "room", "source": "a/../b", "time_ns": BEGIN_NS, "box": [10, 10, 40, 40]}
    async with drive(SnapshotArchive, folder=str(tmp_path / "kept")) as node:
        await node.put({**event, "frame": picture(30)})
        await node.put(
            {"width": 96, "height": 64, "frame": picture(50), "detections": [{"class": "a", "box": [1, 1, 9, 9]}]}
        )
        await node.put(picture(60), meta=meta(3))
        first, second, third = await node.sent()
    path = Path(first["path"])
    assert path.parts[-3:] == ("a-..-b", "2025-06-15", "150640.000-enter-room.jpg") and path.is_relative_to(tmp_path)
    image = cv2.imread(str(path))
    assert image.shape == (64, 96, 3) and abs(int(image[50, 60].mean()) - 90) <= 2 and np.ptp(image[5:12, 8:14]) > 40
    assert json.loads(path.with_suffix(".json").read_text()) == event
    assert Path(second["path"]).exists() and Path(third["path"]).name == "150640.300-frame.jpg"


async def test_the_archive_stays_within_its_size(tmp_path):
    """The oldest go first; a hundred pictures of about 1 KB in 20 KB."""
    async with drive(SnapshotArchive, folder=str(tmp_path), max_mb=0.02) as node:
        for number in range(101):
            await node.put(picture(number), meta=meta(number))
        paths = [Path(one["path"]) for one in await node.sent()]
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.*") if path.is_file())
    assert size <= 20_000 and paths[-1].exists() and not paths[0].exists()


async def test_what_has_no_frame_is_refused(tmp_path):
    async with drive(SnapshotArchive, folder=str(tmp_path)) as node:
        await node.put({"event": "enter"}, "text")
        assert len(node.errors) == 2 and "`frame` = true at the line or zone" in node.errors[0]["text"]


async def test_a_folder_that_can_not_be_made_stops_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        async with drive(SnapshotArchive, folder=str(tmp_path / "file" / "x")):
            pass
