"""`vision/jpeg-frames`: JPEGs one by one, in bursts, in pieces, in uploads; broken ones are told and cost no other."""

import base64
import random

import cv2
import numpy as np
import pytest
from flowcore_nodes.vision.jpeg_frames import JpegFrames
from flowcore_nodes.vision.jpeg_stream import look
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive


def picture(number: int, width: int = 160, height: int = 120) -> bytes:
    """A JPEG whose grey level is told by its number."""
    image = np.full((height, width, 3), number * 10, np.uint8)
    cv2.circle(image, (width // 2, height // 2), 20, (0, 255, 0), -1)
    noise = np.random.default_rng(number).integers(0, 6, image.shape, np.uint8)
    return cv2.imencode(".jpg", image + noise, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def with_thumbnail(coded: bytes) -> bytes:
    """With an EXIF segment that holds a whole JPEG of its own."""
    small = picture(1, 32, 24)
    segment = b"Exif\x00\x00" + small
    return coded[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + coded[2:]


PICTURES = [picture(number) for number in range(6)]


def levels(frames) -> list[int]:
    """The numbers that the pictures were made with."""
    return [round(float(frame.numpy()[:10].mean() - 2.5) / 10) for frame in frames]


def test_pictures_are_found_in_a_stream_of_bytes_with_what_is_between():
    progressive = cv2.imencode(".jpg", np.zeros((50, 70, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    restarts = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8), [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes()
    all_of_them = [PICTURES[0], with_thumbnail(PICTURES[1]), progressive, restarts]
    stream = b"--part\r\n\r\n" + b"\x00\x00junk\r\n".join(all_of_them) + b"\x00" * 9
    found = look(stream)
    assert [jpeg.coded for jpeg in found.whole] == all_of_them
    assert [(jpeg.width, jpeg.height) for jpeg in found.whole] == [(160, 120), (160, 120), (70, 50), (64, 64)]
    assert found.broken == [] and found.rest == len(stream)
    for end in range(len(PICTURES[0])):  # cut anywhere it goes on
        found = look(b"x" + PICTURES[0][:end])
        assert found.whole == [] and found.broken == [] and found.rest <= 1 + max(0, end), end


@pytest.mark.parametrize("seed", range(20))
def test_rubbish_never_breaks_the_search(seed):
    random_of = random.Random(seed)
    data = bytearray(b"".join(PICTURES[:3]))
    for _ in range(random_of.randint(1, 40)):
        data[random_of.randrange(len(data))] = random_of.choice([0xFF, 0xD8, 0xD9, 0x00, random_of.randrange(256)])
    del data[random_of.randrange(len(data)) :]
    found = look(bytes(data))
    assert 0 <= found.rest <= len(data) and len(found.whole) <= 4


async def test_frames_are_as_those_of_a_camera():
    async with drive(JpegFrames) as node:
        await node.put(PICTURES[2], topic="door")
        await node.put(base64.b64encode(PICTURES[3]).decode(), PICTURES[1] + PICTURES[4], topic="door")
        await node.put(PICTURES[5], topic="gate")
        assert levels(await node.sent()) == [2, 3, 1, 4, 5]
        first = node.messages()[0]
        assert first.payload.shape == (120, 160, 3) and first.topic == "door"
        assert first.meta == {
            "source": "door", "number": 0, "time_ns": first.origin_ns, "width": 160, "height": 120,
            "region": [0, 0, 160, 120],
        }  # fmt: skip
        assert [(m.meta["source"], m.meta["number"]) for m in node.messages()[1:]] == [
            ("door", 1), ("door", 2), ("door", 3), ("gate", 0),
        ]  # fmt: skip
        assert node.statuses[-1] == ("1 frames", "ok")  # told once a second


async def test_uploads_and_what_a_camera_says_of_its_frames():
    upload = {"filename": "a.jpg", "type": "image/jpeg", "content": PICTURES[1]}
    config = {"source": "meta.http.params.camera", "time": "payload.at", "unit": "ms", "number": "payload.n"}
    async with drive(JpegFrames, **config) as node:
        body = {"at": 1_772_359_260_500, "n": 41, "image": upload, "more": [upload | {"content": PICTURES[2]}]}
        await node.put(body, meta={"http": {"params": {"camera": "hall"}}})
        assert levels(await node.sent()) == [1, 2]
        about = [(m.meta["source"], m.meta["number"], m.meta["time_ns"]) for m in node.messages()]
        assert about == [("hall", 41, 1_772_359_260_500_000_000)] * 2


@pytest.mark.parametrize("size", [1, 97, 512, 4000])
async def test_pieces_in_order_from_two_cameras_and_over_a_restart(size):
    burst = PICTURES[1] + PICTURES[2] + PICTURES[3]
    pieces = [burst[at : at + size] for at in range(0, len(burst), size)]
    half, store, seen = len(pieces) // 2, MemoryStore(), []
    for part in (pieces[:half], pieces[half:]):
        async with drive(JpegFrames, store=store) as node:
            for camera in ("a", "b"):
                await node.put(*part, topic=camera)
            assert node.errors == []
            seen += [(m.topic, m.meta["number"], *levels([m.payload])) for m in node.messages()]
    assert sorted(seen) == [(camera, n, n + 1) for camera in "ab" for n in range(3)]


async def test_numbered_pieces_come_in_any_order_and_a_lost_one_is_told():
    config = {"image": "data", "piece": "i", "pieces": "of", "frame": "frame"}

    def pieces(frame, order, size=1500):
        parts = [PICTURES[frame][at : at + size] for at in range(0, len(PICTURES[frame]), size)]
        return [{"data": parts[i], "i": i, "of": len(parts), "frame": frame} for i in order(len(parts))]

    async with drive(JpegFrames, **config) as node:
        await node.put(*pieces(1, lambda count: [*reversed(range(count))]))
        await node.put(*pieces(2, lambda count: [0, 0, *range(count)]))  # sent again
        await node.put(*pieces(3, lambda count: range(1, count)))
        await node.put(*pieces(4, range))
        assert levels(await node.sent()) == [1, 2, 4]
        assert [m.meta["number"] for m in node.messages()] == [0, 1, 3]
        (error,) = node.errors
        assert error["error"] == "BrokenJpeg" and "did not come whole" in error["text"]
        await node.put({"data": b"", "i": 5, "of": 5, "frame": 9}, {"data": b"", "i": "0", "of": 5, "frame": 9})
        assert "numbered from 0" in node.errors[1]["text"] and "whole number" in node.errors[2]["text"]


async def test_broken_ones_are_counted_and_told_and_the_next_is_decoded():
    torn = bytearray(PICTURES[1])
    torn[torn.index(b"\xff\xc0") + 1] = 0xC3  # says that it is lossless, which it is not
    async with drive(JpegFrames, max_pixels=200_000, gap_s=5) as node:
        await node.put(PICTURES[2][:900], PICTURES[3])  # cut off: the next one begins
        await node.put(b"hello", b"", bytes(torn), picture(1, 600, 600) + PICTURES[4])
        await node.put("no base64!", 5, {}, [])
        assert levels(await node.sent()) == [3, 4]
        texts = [error["text"] for error in node.errors]
        assert "is cut off after 900 bytes" in texts[0] and "no JPEG: 5 bytes" in texts[1] and "no JPEG" in texts[2]
        assert "can't be decoded" in texts[3] and "too large: 600 x 600" in texts[4]
        assert "no base64" in texts[-4] and all("must be bytes" in text for text in texts[-3:])
        assert node.statuses[-1][0].endswith("broken") and node.statuses[-1][1] == "warn"
        await node.put(PICTURES[5][:700])
        await node.advance(4)
        before = len(node.errors)
        await node.advance(2)
        assert "did not come whole: 1 pieces, 700 bytes" in node.errors[before]["text"]
        await node.put(PICTURES[5])
        assert levels(await node.sent())[-1] == 5


async def test_limits_hold_before_anything_is_decoded():
    async with drive(JpegFrames, max_pixels=1000, max_bytes=3000) as node:
        await node.put(picture(1, 40, 30))
        assert "too large: 40 x 30 pixels" in node.errors[0]["text"]
        endless = PICTURES[1][:1500]
        await node.put(endless, b"\x00" * 1400, b"\x00" * 1400)
        assert "longer than max_bytes = 3000" in node.errors[1]["text"]
        assert [key for key in node.node.state if key.startswith("c:")] == []


def test_numbered_pieces_need_both_paths():
    for config in ({"piece": "i"}, {"pieces": "n"}, {"frame": "f"}):
        with pytest.raises(ValidationError, match="need both piece and pieces"):
            JpegFrames.Config(**config)
