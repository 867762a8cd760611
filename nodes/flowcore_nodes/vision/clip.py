"""A clip that is being written: frames in, a video file out, whole or not at all."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flowcore_nodes.vision.archive import part_of

_CODES = {".mp4": "mp4v", ".webm": "VP80", ".avi": "MJPG"}
_MEASURED = 10  # frames by whose times the rate is told
_USUAL_FPS = 15.0


class Clip:
    """Frames of one camera around an event.

    Attributes:
        begin_ns, newest_ns: times of its first and newest frame.
        until_ns: it ends with the first frame after that.
        touched_s: when it was last made longer.
        events: what it was made for.
    """

    def __init__(self, path: Path, source: str, time_ns: int) -> None:
        self.path, self.source = path, source
        self.begin_ns, self.newest_ns, self.until_ns, self.touched_s = time_ns, 0, time_ns, 0.0
        self.events: list[dict[str, Any]] = []
        self.frames = 0
        self._waiting: list[tuple[int, np.ndarray]] = []
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def add(self, time_ns: int, coded: np.ndarray) -> None:
        """The next frame, as JPEG. The first ones wait until the rate is known."""
        self.begin_ns, self.newest_ns = min(self.begin_ns, time_ns), time_ns
        if self._writer is None:
            self._waiting.append((time_ns, coded))
            if len(self._waiting) >= _MEASURED:
                self._open()
        else:
            self._write(coded)

    def end(self) -> dict[str, Any]:
        """Close it; says what it is. Without frames there is no file."""
        if self._writer is None and self._waiting:
            self._open()
        if self._writer is not None:
            self._writer.release()
            part_of(self.path).replace(self.path)
        return {
            "path": str(self.path) if self.frames else None,
            "source": self.source,
            "begin_ns": self.begin_ns,
            "end_ns": self.newest_ns,
            "frames": self.frames,
            "events": self.events,
        }

    def _open(self) -> None:
        times = [time_ns for time_ns, _ in self._waiting]
        apart_s = float(np.median(np.diff(times))) / 1e9 if len(times) > 1 else 0
        fps = min(max(1 / apart_s, 1.0), 240.0) if apart_s > 0 else _USUAL_FPS
        first = cv2.imdecode(self._waiting[0][1], cv2.IMREAD_COLOR)
        assert first is not None
        self._size = first.shape[1] & ~1, first.shape[0] & ~1  # what codecs take
        code = cv2.VideoWriter.fourcc(*_CODES[self.path.suffix])
        self._writer = cv2.VideoWriter(str(part_of(self.path)), code, fps, self._size)
        if not self._writer.isOpened():
            raise OSError(f"{self.path}: this OpenCV can't write it")
        waiting, self._waiting = self._waiting, []
        for _, coded in waiting:
            self._write(coded)

    def _write(self, coded: np.ndarray) -> None:
        assert self._writer is not None
        image = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        if image is None:
            return
        if (image.shape[1], image.shape[0]) != self._size:
            image = cv2.resize(image, self._size)
        self._writer.write(image)
        self.frames += 1
