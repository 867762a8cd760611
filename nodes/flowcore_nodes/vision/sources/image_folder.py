"""A folder of images as a source."""

from pathlib import Path

import cv2

from flowcore_nodes.vision.sources.frames import Alloc, BrokenFrame, Region, Shot, SourceError, cut, shared

_ENDINGS = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class ImageFolder:
    """The images of a folder in order of their names; each may have a size of its own."""

    def __init__(self, path: Path, region: Region | None, fps: float = 1.0) -> None:
        self._paths = sorted(one for one in path.iterdir() if one.suffix.lower() in _ENDINGS)
        if not self._paths:
            raise SourceError(f"{path}: no images in it; {', '.join(sorted(_ENDINGS))} are read")
        self.fps = fps
        self.length: int | None = len(self._paths)
        self._region, self._number = region, 0

    def read(self, alloc: Alloc) -> Shot | None:
        """See `Replayed`."""
        if self._number >= len(self._paths):
            return None
        path = self._paths[self._number]
        self._number += 1
        try:
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        except cv2.error as e:  # larger than OpenCV takes, for one
            raise BrokenFrame(f"{path}: {e.err}") from None
        if image is None:
            raise BrokenFrame(f"{path}: no image that OpenCV can read")
        try:
            wanted = cut(image, self._region)
        except SourceError as e:  # of this image; others may be larger
            raise BrokenFrame(f"{path}: {e}") from None
        return Shot(shared(wanted, alloc), file=path.name)

    def skip(self, count: int) -> int:
        """See `Replayed`."""
        passed = min(count, len(self._paths) - self._number)
        self._number += passed
        return passed

    def close(self) -> None:
        """See `Replayed`."""
