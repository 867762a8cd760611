"""The simulated conveyor as a source."""

from dataclasses import replace

import numpy as np

from flowcore_nodes.vision.conveyor import Conveyor
from flowcore_nodes.vision.sources.frames import Alloc, Region, Shot, cut, shared


class Belt:
    """Frames of a `Conveyor`, drawn into shared memory; without an end."""

    length: int | None = None

    def __init__(self, conveyor: Conveyor, region: Region | None) -> None:
        self.fps = conveyor.fps
        self._conveyor, self._region, self._number = conveyor, region, 0

    def read(self, alloc: Alloc) -> Shot | None:
        """See `Replayed`."""
        number, self._number = self._number, self._number + 1
        if self._region is None:
            tensor = alloc(self._conveyor.shape)
            parts = self._conveyor.draw(number, tensor.numpy())
            return Shot(tensor, [part.asdict() for part in parts])
        whole = np.empty(self._conveyor.shape, np.uint8)
        parts = self._conveyor.draw(number, whole)
        left, top, width, height = self._region
        seen = []
        for part in parts:
            x1, y1, x2, y2 = part.box
            area = (x2 - x1) * (y2 - y1)
            x1, x2 = max(x1 - left, 0), min(x2 - left, width)
            y1, y2 = max(y1 - top, 0), min(y2 - top, height)
            if x1 < x2 and y1 < y2:
                visible = part.visible * (x2 - x1) * (y2 - y1) / area
                seen.append(replace(part, box=(x1, y1, x2, y2), visible=visible).asdict())
        return Shot(shared(cut(whole, self._region), alloc), seen)

    def skip(self, count: int) -> int:
        """See `Replayed`."""
        self._number += count
        return count

    def close(self) -> None:
        """See `Replayed`."""
