"""What sources have in common: a frame that was read, the part of it that is wanted, and what can go wrong.

SourceError         the source cannot be read (any more): it is opened again later
└── BreaksOff       a recording that ends too early: what there is of it was read
BrokenFrame         one frame cannot be read; the next one may
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from flowcore.node import Tensor

Region = tuple[int, int, int, int]
"""x, y, width, height in pixels of the source."""

Alloc = Callable[[Sequence[int]], Tensor]
"""Gives shared memory for a frame of a shape; waits while there is none."""


class SourceError(Exception):
    """The source can't be read, or not any more."""


class BreaksOff(SourceError):
    """A recording ends before its end."""


class BrokenFrame(Exception):
    """One frame can't be read."""


@dataclass
class Shot:
    """A frame that was read.

    Attributes:
        tensor: (H, W, 3) uint8, BGR, in shared memory.
        truth: what a simulated source drew.
        file: of a folder, the name of the image.
    """

    tensor: Tensor
    truth: list[dict[str, Any]] | None = None
    file: str | None = None


class Replayed(Protocol):
    """A source that waits, and can be read again. Called from one thread, which is not the event loop's.

    Attributes:
        fps: frames a second when it was recorded.
        length: how many frames it has; None: not known, or no end.
    """

    fps: float
    length: int | None

    def read(self, alloc: Alloc) -> Shot | None:
        """The next frame; None: it was the last one.

        Raises:
            BrokenFrame: that frame can't be read; the next call reads on behind it.
            SourceError: nothing can be read any more.
        """

    def skip(self, count: int) -> int:
        """Pass over frames; returns how many there were."""

    def close(self) -> None:
        """Let go of files and devices."""


def cut(image: np.ndarray, region: Region | None) -> np.ndarray:
    """The region of a frame, not copied.

    Raises:
        SourceError: it is not within the frame.
    """
    if region is None:
        return image
    x, y, width, height = region
    if x + width > image.shape[1] or y + height > image.shape[0]:
        size = f"{image.shape[1]} x {image.shape[0]}"
        raise SourceError(f"the region {list(region)} (x, y, width, height) is not within a frame of {size}")
    return image[y : y + height, x : x + width]


def shared(image: np.ndarray, alloc: Alloc) -> Tensor:
    """A copy in shared memory, for what could not be written there in the first place."""
    tensor = alloc(image.shape)
    np.copyto(tensor.numpy(), image)
    return tensor
