"""The detectors that need no model, and what is drawn of what they find."""

import cv2
import numpy as np
import pytest
from flowcore_nodes.vision.annotate import Annotate
from flowcore_nodes.vision.camera import Camera
from flowcore_nodes.vision.motion import Motion
from flowcore_nodes.vision.people import People

from flowcore.node.testing import drive
from tests.nodes.vision.conftest import bare_loop


def scene(x: int) -> np.ndarray:
    """A street with somebody upright on it: what the HOG detector was trained on, roughly drawn."""
    image = np.full((240, 320, 3), 150, np.uint8)
    cv2.ellipse(image, (x, 70), (11, 14), 0, 0, 360, (60, 60, 70), -1)
    cv2.ellipse(image, (x, 115), (20, 36), 0, 0, 360, (40, 40, 50), -1)
    for side in (-1, 1):
        cv2.line(image, (x + 7 * side, 140), (x + 12 * side, 205), (45, 45, 45), 12)
        cv2.line(image, (x + 16 * side, 95), (x + 22 * side, 140), (45, 45, 45), 8)
    return cv2.GaussianBlur(image, (5, 5), 0)


async def test_people_are_those_that_opencv_finds():
    """The same boxes, frame by frame, as a bare OpenCV loop."""
    hog = cv2.HOGDescriptor()
    hog.setSVMDetector(np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector()))
    frames, wanted = [scene(x) for x in range(80, 240, 40)], []
    for frame in frames:
        boxes, _ = hog.detectMultiScale(frame, winStride=(8, 8), padding=(8, 8), scale=1.05)
        wanted.append(sorted([x, y, x + w, y + h] for x, y, w, h in np.asarray(boxes).reshape(-1, 4).tolist()))
    async with drive(People, overlap=1) as node:
        await node.put(*frames)
        sent = await node.sent()
    assert [sorted(one["box"] for one in each["detections"]) for each in sent] == wanted and any(wanted)
    async with drive(People) as node:
        await node.put(frames[1], meta={"number": 4, "source": "street"})
        (each,) = await node.sent()
    assert len(each["detections"]) == 1 and each["detections"][0]["class"] == "person"
    assert 0.5 <= each["detections"][0]["confidence"] <= 1 and (each["number"], each["source"]) == (4, "street")
    assert np.array_equal(each["frame"].numpy(), frames[1])


@pytest.mark.parametrize("method", ["mog2", "knn"])
async def test_what_moves_is_found_where_it_is(video, method):
    frames = bare_loop(video)
    async with drive(Motion, method=method, warm_up=5, join=9) as node:
        for number, frame in enumerate(frames):
            await node.put(frame, meta={"source": "hall", "number": number})
        sent = await node.sent()
    assert all(not each["detections"] for each in sent[:5])
    found = 0
    for number, each in enumerate(sent[10:], 10):
        for one in each["detections"]:
            x1, y1, x2, y2 = one["box"]
            found += 1
            assert 42 <= y1 < y2 <= 78 and x1 >= -1 and x2 <= 3 * number + 28, (number, one)
    assert found >= 25


async def test_motion_looks_only_where_it_shall(video):
    async with drive(Motion, region=[0, 0, 100, 30], warm_up=3) as node:
        for frame in bare_loop(video):
            await node.put(frame)
        assert not any(each["detections"] for each in await node.sent())


async def test_a_drawing_leaves_the_frame_as_it_is():
    """Box, label, trace, line and zone change a copy, where they are."""
    frame = np.full((240, 320, 3), 100, np.uint8)
    config = {
        "trace": 5,
        "lines": [{"name": "door", "start": [50, 0], "end": [50, 100]}],
        "zones": [{"name": "room", "rectangle": [70, 60, 20, 30]}],
    }
    async with drive(Annotate, **config) as node:
        for x in (40, 60):
            one = {"class": "person", "track": 3, "box": [x, 60, x + 40, 160], "confidence": 0.9}
            counts = {"lines": {"door": {"in": 1, "out": 2}}, "zones": {"room": {"count": 1, "tracks": [3]}}}
            await node.put({"width": 320, "height": 240, "frame": frame, "detections": [one], **counts})
        first, second = [image.numpy() for image in await node.sent()]
    assert (frame == 100).all()
    for image, x in ((first, 40), (second, 60)):
        assert (image[100, x] != 100).any() and (image[159, x + 20] != 100).any() and (image[200, 160] != 100).any()
        assert (image[180, 230] != 100).any() and (image[230, 20] == 100).all()
    assert (second[110, 70] != 100).any() and (first[110, 70] == 100).all()  # where it came from


@pytest.mark.parametrize(
    ("node_class", "payload", "says"),
    [
        (People, np.zeros((60, 40, 3), np.uint8), "smaller than the least person"),
        (People, np.zeros((240, 320, 4), np.uint8), "takes BGR or grey, got 4 channels"),
        (Motion, "text", "takes frame"),
        (Annotate, {"width": 3, "height": 3, "detections": []}, "without their frame"),
    ],
)
async def test_what_can_not_be_looked_at_is_refused(node_class, payload, says):
    async with drive(node_class) as node:
        await node.put(payload)
        assert says in node.errors[0]["text"]


async def test_a_label_that_can_not_be_filled_in_stops_the_start():
    with pytest.raises(ValueError, match=r"label '\{colour\}' is no text to fill in"):
        async with drive(Annotate, label="{colour}"):
            pass


async def test_the_belt_is_seen_moving():
    """Camera to motion, as the example flow has it: most parts in view are found."""
    async with drive(Camera, source="sim://conveyor?seed=3&fps=10", pace="consumer", frames=60, truth=True) as camera:
        frames, metas = await camera.sent(60), [message.meta for message in camera.messages()]
        async with drive(Motion, warm_up=5, region=[0, 15, 100, 70]) as node:
            for frame, meta in zip(frames, metas, strict=True):
                await node.put(frame.copy(), meta=meta)
            sent = await node.sent()
    parts = [one for meta in metas[30:] for one in meta["truth"] if one["visible"] == 1]
    seen = sum(len(each["detections"]) for each in sent[30:])
    assert parts and seen >= len(parts) / 2
