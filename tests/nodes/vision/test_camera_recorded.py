"""`vision/camera` on what can be read again: files, folders, the simulated belt."""

import shutil
import time

import cv2
import numpy as np
import pytest
from flowcore_nodes.vision.camera import Camera
from flowcore_nodes.vision.conveyor import Conveyor
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive
from tests.nodes.vision.conftest import bare_loop


def numbers(node) -> list[int]:
    return [message.meta["number"] for message in node.messages()]


async def test_a_video_gives_each_frame_as_opencv_reads_it(video):
    """Bytes, numbers, and times by the video's own rate."""
    frames = bare_loop(video)
    async with drive(Camera, source=str(video), name="gate") as node:
        sent = await node.sent(len(frames))
        assert all(np.array_equal(one.numpy(), frame) for one, frame in zip(sent, frames, strict=True))
        metas = [message.meta for message in node.messages()]
    assert [meta["number"] for meta in metas] == list(range(40))
    assert {meta["time_ns"] - metas[0]["time_ns"] for meta in metas} == {n * 50_000_000 for n in range(40)}
    first = {key: metas[0][key] for key in ("source", "width", "height", "region")}
    assert first == {"source": "gate", "width": 160, "height": 120, "region": [0, 0, 160, 120]}
    assert node.statuses[-1] == (f"{video}: ended after 40 frames", "ok")


async def test_a_region_is_cut_out(video):
    frame = bare_loop(video)[7]
    async with drive(Camera, source=f"file://{video}", region=[10, 20, 60, 50]) as node:
        sent = await node.sent(40)
        assert np.array_equal(sent[7].numpy(), frame[20:70, 10:70])
        assert node.messages()[7].meta["region"] == [10, 20, 60, 50]


async def test_it_reads_on_after_a_restart(video):
    store = MemoryStore()
    async with drive(Camera, store=store, source=str(video), frames=15) as node:
        await node.sent(15)
        began_ns = node.messages()[0].meta["time_ns"]
    async with drive(Camera, store=store, source=str(video)) as node:
        sent = await node.sent(25)
        assert numbers(node) == list(range(15, 40))
        assert np.array_equal(sent[0].numpy(), bare_loop(video)[15])
        assert node.messages()[0].meta["time_ns"] == began_ns + 15 * 50_000_000
    async with drive(Camera, store=store, source=str(video), resume=False, frames=3) as node:
        await node.sent(3)
        assert numbers(node) == [0, 1, 2]


async def test_a_loop_counts_on(video):
    async with drive(Camera, source=str(video), loop=True, frames=95) as node:
        sent = await node.sent(95)
        assert numbers(node) == list(range(95))
        assert np.array_equal(sent[90].numpy(), bare_loop(video)[10])


async def test_a_folder_is_read_in_order_whatever_is_in_it(tmp_path):
    """Images may differ in size; what is none is reported, and the rest is sent."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 30, 3), 1, np.uint8))
    (tmp_path / "b.jpg").write_bytes(b"no image")
    cv2.imwrite(str(tmp_path / "c.png"), np.full((40, 50, 3), 3, np.uint8))
    (tmp_path / "readme.txt").write_text("no image either")
    async with drive(Camera, source=str(tmp_path), fps=10) as node:
        sent = await node.sent(2)
        assert [(one.shape, int(one.numpy()[0, 0, 0])) for one in sent] == [((20, 30, 3), 1), ((40, 50, 3), 3)]
        assert [error["text"] for error in node.errors] == [f"{tmp_path / 'b.jpg'}: no image that OpenCV can read"]
        assert numbers(node) == [0, 2] and node.messages()[1].meta["file"] == "c.png"


async def test_the_belt_comes_with_its_truth():
    source, belt = "sim://conveyor?seed=4&fps=20&width=320&height=240", Conveyor(4, 20, 320, 240)
    async with drive(Camera, source=source, pace="consumer", frames=80, truth=True) as node:
        sent = await node.sent(80)
        image = np.empty(belt.shape, np.uint8)
        truth = [part.asdict() for part in belt.draw(79, image)]
        assert np.array_equal(sent[79].numpy(), image) and truth
        assert node.messages()[79].meta["truth"] == truth


async def test_in_real_time_what_is_late_is_skipped():
    """A flow that takes no frame for a while gets the one that is due then."""
    async with drive(Camera, source="sim://conveyor?fps=100&width=160&height=120", settings={"pool_mb": 1}) as node:
        await node.sent(5)
        began_s = time.monotonic()
        await node.wait_for(lambda: time.monotonic() > began_s + 0.5)  # what was sent is held: no slot is free
        before = numbers(node)
        node.clear()
        await node.sent(3)
        after = numbers(node)
    assert before == sorted(set(before)) and after == sorted(set(after))
    assert after[1] - before[-1] > 20


async def test_a_video_that_breaks_off_says_where(video, tmp_path):
    broken = tmp_path / "broken.avi"
    shutil.copy(video, broken)
    with broken.open("r+b") as file:
        file.truncate(video.stat().st_size // 2)
    async with drive(Camera, source=str(broken)) as node:
        got = len(bare_loop(broken))
        await node.sent(got)
        await node.wait_for(lambda: node.statuses[-1][1] == "warn")
        assert 5 < got < 35
        assert f"breaks off at frame {got} of 40" in node.statuses[-1][0] and node.statuses[-1][1] == "warn"


async def test_a_file_that_is_missing_is_waited_for(video, tmp_path):
    later = tmp_path / "later.avi"
    async with drive(Camera, source=str(later), retry_s=0.05) as node:
        await node.wait_for(lambda: bool(node.errors))
        shutil.copy(video, later)
        assert len(await node.sent(40)) == 40
    assert ("no such file; opened again in 0.05 s" in node.statuses[1][0]) and node.statuses[1][1] == "error"


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"source": ""}, "which source"),
        ({"source": "ftp://host/a.mp4"}, "'ftp' is no source"),
        ({"source": "usb:front"}, "number of a device"),
        ({"source": "rtsp:///stream"}, "names no host"),
        ({"source": "sim://ocean"}, "there is sim://conveyor"),
        ({"source": "sim://conveyor?colour=red"}, "no setting 'colour'"),
        ({"source": "a.mp4", "region": [0, 0, 0, 10]}, "x, y, width, height"),
    ],
)
def test_a_source_that_means_nothing_is_refused(config, says):
    with pytest.raises(ValidationError, match=says):
        Camera.Config.model_validate(config)
