"""A video file as a source, read by OpenCV."""

from pathlib import Path

import cv2
import numpy as np

from flowcore_nodes.vision.sources.frames import Alloc, BreaksOff, Region, Shot, SourceError, cut, shared

_USUAL_FPS = 25.0  # of a file that does not say


class VideoFile:
    """Frames of a video file, decoded into shared memory."""

    def __init__(self, path: Path, region: Region | None) -> None:
        if not path.exists():
            raise SourceError(f"{path}: no such file")
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise SourceError(f"{path}: no video that OpenCV can read")
        self._path, self._region, self._number = path, region, 0
        self._whole: np.ndarray | None = None
        fps, length = self._capture.get(cv2.CAP_PROP_FPS), int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.fps = fps if 0 < fps < 1000 else _USUAL_FPS
        self.length = length if length > 0 else None

    def read(self, alloc: Alloc) -> Shot | None:
        """See `Replayed`."""
        if not self._capture.grab():
            self._check_end()
            return None
        self._number += 1
        if self._region is not None:
            done, self._whole = self._capture.retrieve(self._whole)
            if not done or self._whole is None:
                raise SourceError(f"{self._path}: frame {self._number - 1} can't be decoded")
            return Shot(shared(cut(self._whole, self._region), alloc))
        width, height = self._capture.get(cv2.CAP_PROP_FRAME_WIDTH), self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        tensor = alloc((int(height), int(width), 3))
        target = tensor.numpy()
        done, image = self._capture.retrieve(target)
        if not done:
            raise SourceError(f"{self._path}: frame {self._number - 1} can't be decoded")
        if image is not target:  # of another size than the file says
            del target
            tensor.release()
            tensor = shared(image, alloc)
        return Shot(tensor)

    def skip(self, count: int) -> int:
        """See `Replayed`. Decodes what is between: seeking is exact with few formats."""
        for passed in range(count):
            if not self._capture.grab():
                return passed
            self._number += 1
        return count

    def _check_end(self) -> None:
        if self.length is not None and self._number < self.length * 0.98 - 1:  # what containers say is an estimate
            raise BreaksOff(f"{self._path} breaks off at frame {self._number} of {self.length}")

    def close(self) -> None:
        """See `Replayed`."""
        self._capture.release()
