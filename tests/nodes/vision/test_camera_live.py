"""`vision/camera` on live cameras: real servers that stall, end, change size and send rubbish."""

import asyncio
import contextlib
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from aiohttp import web
from flowcore_nodes.vision.camera import Camera

from flowcore.node.testing import drive

DEBIAN_PYTHON = "/usr/bin/python3"


def jpeg(grey: int, width: int = 64, height: int = 48) -> bytes:
    return cv2.imencode(".jpg", np.full((height, width, 3), grey, np.uint8))[1].tobytes()


class MjpegCamera:
    """A camera over HTTP that sends what the test says, to whoever is connected."""

    def __init__(self) -> None:
        self.connections = 0
        self.kind = "multipart/x-mixed-replace; boundary=frame"
        self.with_length = True
        self.login = ""
        self._answers: list[tuple[web.StreamResponse, asyncio.Event]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.login = request.headers.get("Authorization", "")
        self.connections += 1
        if request.path != "/video":
            raise web.HTTPNotFound
        answer = web.StreamResponse(headers={"Content-Type": self.kind})
        await answer.prepare(request)
        await answer.write(b"--frame\r\n")
        ended = asyncio.Event()
        self._answers.append((answer, ended))
        await ended.wait()
        return answer

    async def send(self, content: bytes) -> None:
        """A part to everybody."""
        length = f"Content-Length: {len(content)}\r\n" if self.with_length else ""
        part = f"Content-Type: image/jpeg\r\n{length}\r\n".encode() + content + b"\r\n--frame\r\n"
        for answer, ended in self._answers:
            if not ended.is_set():
                with contextlib.suppress(ConnectionError):
                    await answer.write(part)

    def end(self) -> None:
        """Close the connections there are."""
        for _, ended in self._answers:
            ended.set()


@pytest.fixture
async def mjpeg():
    """The camera, and its address as `.url`."""
    camera = MjpegCamera()
    app = web.Application()
    app.router.add_get("/{path:.*}", camera.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    camera.url = f"http://127.0.0.1:{runner.addresses[0][1]}/video"
    yield camera
    camera.end()
    await runner.cleanup()


def greys(node) -> list[int]:
    return [round(float(one.payload.numpy().mean())) for one in node.messages()]


async def connected(camera: MjpegCamera, count: int = 1) -> None:
    async with asyncio.timeout(10):
        while camera.connections < count:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("with_length", [True, False])
async def test_mjpeg_frames_come_whatever_is_between_them(mjpeg, with_length):
    """Two sizes, rubbish, an empty part and half a JPEG: each good frame is sent, the others are counted."""
    mjpeg.with_length = with_length
    async with drive(Camera, source=mjpeg.url, user="me", password="s3cret") as node:
        await connected(mjpeg)
        good = 0
        for content in (jpeg(40), b"rubbish", jpeg(90, 96, 64), jpeg(120)[:200], b"", jpeg(150, 96, 64), jpeg(200)):
            await mjpeg.send(content)
            good += content.startswith(b"\xff\xd8") and len(content) > 200
            await node.sent(good)
        shapes = [one.payload.shape for one in node.messages()]
        assert np.abs(np.subtract(greys(node), [40, 90, 150, 200])).max() <= 1
        assert shapes == [(48, 64, 3), (64, 96, 3), (64, 96, 3), (48, 64, 3)]
        assert abs(node.messages()[-1].meta["time_ns"] - time.time_ns()) < 10e9
        assert mjpeg.login == "Basic bWU6czNjcmV0" and not node.errors
    assert "s3cret" not in str(node.statuses)


async def test_a_camera_that_stalls_or_ends_is_opened_again(mjpeg):
    """Without a frame for `read_timeout_s`, and at the end of the stream. Numbers go on."""
    async with drive(Camera, source=mjpeg.url, read_timeout_s=0.4, retry_s=0.05) as node:
        await connected(mjpeg)
        await mjpeg.send(jpeg(40))
        await node.sent(1)
        await connected(mjpeg, 2)
        await mjpeg.send(jpeg(90))
        await node.sent(2)
        mjpeg.end()
        await connected(mjpeg, 3)
        await mjpeg.send(jpeg(150))
        await node.sent(3)
        assert [one.meta["number"] for one in node.messages()] == [0, 1, 2]
    said = [text for text, kind in node.statuses if kind == "error"]
    assert "has sent nothing for 0.4 s; opened again in 0.05 s" in said[0] and "no more" in said[1]


async def test_pauses_grow_while_nobody_answers():
    async with drive(Camera, source="http://127.0.0.1:9/", retry_s=0.02, retry_max_s=0.05) as node:
        await node.wait_for(lambda: len(node.errors) >= 4)
    pauses = [text.rpartition(" in ")[2] for text, kind in node.statuses if kind == "error"]
    assert pauses[:3] == ["0.02 s", "0.04 s", "0.05 s"] and "refused" in node.errors[0]["text"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda camera: setattr(camera, "url", camera.url + "2"), "answers 404 Not Found"),
        (lambda camera: setattr(camera, "kind", "text/html"), "sends text/html, not multipart"),
    ],
)
async def test_what_is_no_camera_is_named(mjpeg, change, says):
    change(mjpeg)
    async with drive(Camera, source=mjpeg.url) as node:
        await node.wait_for(lambda: bool(node.errors))
        assert says in node.errors[0]["text"]


async def test_the_newest_frame_is_sent_when_the_flow_is_slow(mjpeg):
    """While no slot is free the camera is read on; then comes the newest one, and the others are counted."""
    async with drive(Camera, source=mjpeg.url, settings={"pool_mb": 1}) as node:
        await connected(mjpeg)
        sent = 0
        async with asyncio.timeout(20):
            while len(node.messages()) == sent or sent < 3:  # until what was sent fills all there is
                sent = len(node.messages())
                await mjpeg.send(jpeg(100, 400, 300))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(node.wait_for(lambda s=sent: len(node.messages()) > s), 0.3)
                if len(node.messages()) == sent and sent:
                    break
        for grey in (10, 60, 110, 210):
            await mjpeg.send(jpeg(grey, 400, 300))
        await asyncio.sleep(0.5)  # the thread reads them; nobody is told
        node.clear()
        await node.sent(1)
        await mjpeg.send(jpeg(250, 400, 300))
        await node.wait_for(lambda: greys(node)[-1] > 240)
        assert 10 not in greys(node) and 60 not in greys(node)


async def test_a_region_of_a_live_camera(mjpeg):
    async with drive(Camera, source=mjpeg.url, region=[10, 20, 30, 15], frames=1) as node:
        await connected(mjpeg)
        await mjpeg.send(jpeg(40))
        (frame,) = await node.sent(1)
        assert frame.shape == (15, 30, 3) and node.messages()[0].meta["region"] == [10, 20, 30, 15]


async def test_cameras_that_are_not_there_are_named():
    """USB, and a pipeline where OpenCV has no GStreamer."""
    async with drive(Camera, source="usb:99") as node:
        await node.wait_for(lambda: bool(node.errors))
        assert "/dev/video99: no such camera; there are: " in node.errors[0]["text"]
    from flowcore_nodes.vision.sources.capture import has_gstreamer

    if not has_gstreamer():
        async with drive(Camera, source="gst:nvarguscamerasrc ! appsink") as node:
            await node.wait_for(lambda: bool(node.errors))
            assert "the installed OpenCV has no GStreamer" in node.errors[0]["text"]


@pytest.fixture
def rtsp():
    """A gst-rtsp-server of Debian; its process, and its address as `.url`."""
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if not shutil.which(DEBIAN_PYTHON) or subprocess.run([DEBIAN_PYTHON, "-c", probe], capture_output=True).returncode:
        pytest.skip(
            "no gst-rtsp-server: apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-good"
        )
    command = [DEBIAN_PYTHON, str(Path(__file__).with_name("rtsp_server.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True) as server:
        server.url = f"rtsp://127.0.0.1:{int(server.stdout.readline())}/ball"
        yield server
        server.kill()


async def test_rtsp_comes_stalls_and_comes_back(rtsp):
    """A real RTSP server: frames, then it stands still and is noticed, then it goes on and so do the frames."""
    async with drive(Camera, source=rtsp.url, read_timeout_s=1, open_timeout_s=5, retry_s=0.1) as node:
        frames = await node.sent(10)
        assert frames[0].shape == (240, 320, 3) and frames[0].numpy().max() > 200
        rtsp.send_signal(signal.SIGSTOP)
        await node.wait_for(lambda: bool(node.errors), 15)
        assert "127.0.0.1" in node.statuses[-1][0] or "no more" in node.statuses[-1][0]
        rtsp.send_signal(signal.SIGCONT)
        sent = len(node.messages())
        await node.wait_for(lambda: len(node.messages()) > sent + 10, 25)
        numbers = [one.meta["number"] for one in node.messages()]
        assert numbers == sorted(set(numbers))


async def test_rtsp_that_nobody_serves_is_told_in_time(rtsp):
    """No such stream, and an address that swallows everything: the node's loop goes on meanwhile."""
    async with drive(Camera, source=rtsp.url + "2", open_timeout_s=5) as node:
        await node.wait_for(lambda: bool(node.errors), 10)
        assert "can't be opened" in node.errors[0]["text"]
    silent = await asyncio.start_server(lambda reader, writer: asyncio.sleep(60), "127.0.0.1", 0)
    url = f"rtsp://me:pw@127.0.0.1:{silent.sockets[0].getsockname()[1]}/x"
    async with drive(Camera, source=url, open_timeout_s=1, read_timeout_s=0.5) as node:
        began_s = time.monotonic()
        await node.wait_for(lambda: bool(node.errors), 10)
        assert 0.5 < time.monotonic() - began_s < 5 and "pw@" not in node.errors[0]["text"]
    silent.close()
