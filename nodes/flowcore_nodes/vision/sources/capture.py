"""Cameras that OpenCV reads: USB (V4L2), RTSP (FFmpeg) and GStreamer pipelines."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from flowcore_nodes.vision.sources.address import Address
from flowcore_nodes.vision.sources.frames import SourceError


@dataclass(frozen=True)
class Wanted:
    """What a camera is asked for; None: as it comes."""

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    open_timeout_s: float = 10.0
    read_timeout_s: float = 5.0
    transport: str = "tcp"


def has_gstreamer() -> bool:
    """Whether the installed OpenCV was built with GStreamer; PyPI's was not."""
    return bool(re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()))


class Capture:
    """A live camera. Every call may block, `open` too: not for the event loop."""

    def __init__(self, address: Address, wanted: Wanted) -> None:
        self._address, self._wanted = address, wanted
        self._capture = cv2.VideoCapture()

    def open(self) -> None:
        """Connect.

        Raises:
            SourceError: there is none, or it does not answer within the time given.
        """
        kind, target, wanted = self._address.kind, self._address.target, self._wanted
        shown = self._address.shown
        if kind == "usb":
            if not Path(target).exists():
                there = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
                raise SourceError(f"{target}: no such camera; there are: {there}")
            self._capture.open(target, cv2.CAP_V4L2)
            for name, value in (("FRAME_WIDTH", wanted.width), ("FRAME_HEIGHT", wanted.height), ("FPS", wanted.fps)):
                if value:
                    self._capture.set(getattr(cv2, f"CAP_PROP_{name}"), value)
        elif kind == "gstreamer":
            if not has_gstreamer():
                raise SourceError(
                    "the installed OpenCV has no GStreamer (PyPI's has not): use one that was built with it, "
                    "such as Debian's python3-opencv or the one of JetPack"
                )
            self._capture.open(target, cv2.CAP_GSTREAMER)
        else:
            os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = f"rtsp_transport;{wanted.transport}"
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(wanted.open_timeout_s * 1000)]
            limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(wanted.read_timeout_s * 1000)]
            self._capture.open(target, cv2.CAP_FFMPEG, limits)
        if not self._capture.isOpened():
            raise SourceError(f"{shown} can't be opened")

    def grab(self) -> bool:
        """Wait for the next frame; False: there is none any more."""
        return self._capture.grab()

    def shape(self) -> tuple[int, int, int]:
        """Of the frame that was grabbed, as the camera says."""
        get = self._capture.get
        return int(get(cv2.CAP_PROP_FRAME_HEIGHT)), int(get(cv2.CAP_PROP_FRAME_WIDTH)), 3

    def retrieve(self, into: np.ndarray | None) -> np.ndarray | None:
        """Decode the frame that was grabbed, into `into` when it has the frame's size; None: it is broken."""
        done, image = self._capture.retrieve() if into is None else self._capture.retrieve(into)
        return image if done else None

    def close(self) -> None:
        """Disconnect."""
        self._capture.release()
