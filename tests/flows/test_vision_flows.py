"""The example flows with cameras, on a real host: they do what their description says."""

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path

import aiohttp
import cv2
import numpy as np
from flowcore_nodes.vision.from_message import FromMessage
from flowcore_nodes.vision.line import Line

from benchmarks.vision import bare, flow
from flowcore.bus.envelope import unpack
from flowcore.node.testing import drive
from tests.flows.test_flows import deploy, example, json_lines
from tests.nodes.vision.test_detect import scene
from tests.ports import free_port

BELT = "sim://conveyor?seed=5&fps=30&width=320&height=240&parts_per_s=1.6&crossing_s=2"


async def files(folder: Path, pattern: str, count: int, timeout: float = 40.0) -> list[Path]:
    """Files in a folder, once there are so many."""
    async with asyncio.timeout(timeout):
        while len(found := sorted(folder.rglob(pattern))) < count:  # noqa: ASYNC110 - the file system tells nobody
            await asyncio.sleep(0.05)
    return found


def once(lines: list[dict]) -> list[dict]:
    """Lines that are the same to the last digit once: around a kill of its writer a file has some of them twice."""
    return [json.loads(line) for line in dict.fromkeys(map(json.dumps, lines))]


async def test_detect_single_counts_keeps_pictures_and_clips(host, tmp_path):
    """Parts cross the line in one direction; pictures show the press, and a clip can be watched."""
    await deploy(
        host, example("detect-single", CAMERA="sim://conveyor?seed=5&fps=15&width=320&height=240", FOLDER=str(tmp_path))
    )
    crossings = await json_lines(tmp_path / "crossings.jsonl", lambda lines: len(lines) >= 3)
    assert {one["direction"] for one in crossings} == {"in"} and {one["line"] for one in crossings} == {"end of belt"}
    assert len({one["track"] for one in crossings}) == len(crossings)
    (picture, *_) = await files(tmp_path / "pictures", "*loiter*.jpg", 1)
    about = json.loads(picture.with_suffix(".json").read_text())
    assert about["zone"] == "press" and about["rule"] == "stays at the press"
    assert cv2.imread(str(picture)).shape == (240, 320, 3)
    (clip, *_) = await files(tmp_path / "clips", "*-exit.mp4", 1)
    assert cv2.VideoCapture(str(clip)).read()[0]


async def test_what_the_processor_decides_comes_of_messages_alone_and_each_counts_once(host, tmp_path):
    """By MQTT, QoS 1, with all processes of the processor killed on the way; and beside it by NATS.

    What crossings there are is worked out once more from the messages that the edge sent.
    """
    sent: list[dict] = []
    await host.bus.connection.subscribe(
        "flow.detect-edge.message.out.out",
        lambda subject, data, *_: sent.extend(one["payload"] for one in unpack(data)),
    )
    by_mqtt, by_nats = tmp_path / "mqtt", tmp_path / "nats"
    await deploy(host, example("detect-processor", FOLDER=str(by_mqtt)))
    other = example("detect-processor", FOLDER=str(by_nats)) | {"id": "by-nats", "resources": {}}
    other["nodes"][0] = {"id": "hear", "type": "core/nats-in", "config": {"subject": "detect.>", "format": "json"}}
    await deploy(host, other)
    async with asyncio.timeout(20):
        while "connected" not in str(host.status("detect-processor")) or "listening" not in str(host.status("by-nats")):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    document = example("detect-edge", CAMERA=BELT)
    document["nodes"][0]["config"] |= {"frames": 200, "pace": "consumer"}
    for wire in document["wires"]:  # each frame, however slow the machine is
        wire.pop("delivery", None)
    await deploy(host, document)
    await json_lines(by_mqtt / "crossings.jsonl", lambda lines: len(lines) >= 1)
    for one in host.status("detect-processor")[0].nodes:
        if one.pid:
            os.kill(one.pid, signal.SIGKILL)
    async with asyncio.timeout(40):
        while not sent or sent[-1]["frame"]["number"] < 199:  # noqa: ASYNC110 - as they come
            await asyncio.sleep(0.05)

    line = example("detect-processor")["nodes"][2]["config"]
    async with drive(FromMessage) as read, drive(Line, **line) as node:
        await read.put(*json.loads(json.dumps(sent)))
        await node.put(*await read.sent())
        events = await node.sent(port="event")
    wanted, counts = [(one["number"], one["track"], one["direction"]) for one in events], events[-1]["counts"]
    assert [one["source"]["sequence"] for one in sent] == list(range(1, len(sent) + 1)) and len(wanted) >= 3
    for folder in (by_mqtt, by_nats):
        lines = await json_lines(folder / "crossings.jsonl", lambda lines: len(once(lines)) >= len(wanted))
        assert [(one["number"], one["track"], one["direction"]) for one in once(lines)] == wanted
        assert once(lines)[-1]["counts"] == counts and {one["source"] for one in lines} == {"line-1/belt"}


async def test_a_video_through_five_processes_gives_the_boxes_of_a_bare_loop(host, tmp_path):
    """Frame by frame; `python -m benchmarks.vision` compares the rates, too."""
    video = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (320, 240))
    for x in range(80, 240, 20):
        writer.write(scene(x))
    writer.release()
    _, wanted = bare(video, 8)
    _, found = await flow(host, video, 8)
    assert found == wanted and sum(map(len, wanted)) >= 8


async def test_watch_raises_an_alarm_and_hides_who_it_was(host, tmp_path):
    """Somebody walks through the room: one alarm, one end of it, and pictures on which nobody is to be told."""
    video = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (320, 240))
    walk = [40] * 5 + list(range(40, 280, 10)) + [280] * 20
    for x in walk:
        writer.write(scene(x))
    writer.release()
    document = example("watch", CAMERA=str(video), FOLDER=str(tmp_path))
    document["nodes"][1]["config"]["width"] = 320
    for wire in document["wires"]:  # each frame, however slow the machine is
        wire.pop("delivery", None)
    await deploy(host, document)
    alarms = await json_lines(tmp_path / "alarms.jsonl", lambda lines: len(lines) >= 2)
    assert [(one["event"], one["zone"]) for one in alarms] == [("raised", "room"), ("cleared", "room")]
    pictures = await files(tmp_path / "pictures", "*.jpg", len(walk))
    image, was = cv2.imread(str(pictures[15])).astype(int), scene(walk[15]).astype(int)
    person, wall = np.s_[60:180, walk[15] - 15 : walk[15] + 15], np.s_[:20, :20]
    assert np.abs(image[person] - was[person]).mean() > 15 > 3 > np.abs(image[wall] - was[wall]).mean()


async def test_photos_are_answered_with_who_is_on_them(host):
    port = free_port()
    await deploy(host, example("photos", PORT=port))
    url, picture = f"http://127.0.0.1:{port}/people", cv2.imencode(".jpg", scene(160))[1].tobytes()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as http, asyncio.timeout(40):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectorError):
                async with http.post(url, data=picture) as answer:
                    seen = await answer.json()
                    break
            await asyncio.sleep(0.05)
    assert (seen["width"], seen["height"]) == (320, 240)
    (person,) = seen["detections"]
    assert person["class"] == "person" and person["box"][0] < 160 < person["box"][2]


async def test_thumbnails_are_made_of_each_picture(host, tmp_path):
    for number, (width, height) in enumerate(((400, 300), (200, 300), (64, 64))):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((height, width, 3), 60 * number + 60, np.uint8))
    await deploy(host, example("thumbnails", PICTURES=str(tmp_path), THUMBNAILS=str(tmp_path / "out")))
    made = await files(tmp_path / "out", "*.webp", 3)
    async with asyncio.timeout(10):
        while any((image := cv2.imread(str(path), cv2.IMREAD_UNCHANGED)) is None for path in made):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    images = [cv2.imread(str(path)) for path in made]
    assert [path.name for path in made] == ["0.webp", "1.webp", "2.webp"] and image is not None
    assert {one.shape for one in images} == {(160, 160, 3)}
    assert [round(int(one[80, 80].mean()), -1) for one in images] == [60, 120, 180]
