"""Reads a live camera in a thread of its own, so that a camera that blocks blocks nothing else.

The thread reads on, whatever the flow does: the newest frame waits here, older ones are overwritten and counted. It
writes into shared memory that the node has put ready; where none is, into memory of its own, which is copied once.
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from flowcore.node import Tensor
from flowcore_nodes.vision.sources.address import Address
from flowcore_nodes.vision.sources.capture import Capture, Wanted
from flowcore_nodes.vision.sources.frames import Region, SourceError, cut
from flowcore_nodes.vision.sources.mjpeg import Mjpeg


class Camera(Protocol):
    """What the thread reads; see `Capture`."""

    def open(self) -> None: ...

    def grab(self) -> bool: ...

    def shape(self) -> tuple[int, int, int]: ...

    def retrieve(self, into: np.ndarray | None) -> np.ndarray | None: ...

    def close(self) -> None: ...


def camera_of(address: Address, wanted: Wanted) -> Camera:
    """The camera that an address names, not yet open."""
    return Mjpeg(address, wanted) if address.kind == "mjpeg" else Capture(address, wanted)


@dataclass
class Taken:
    """A frame as the thread left it: in `tensor`, or in memory of its own when that is None."""

    image: np.ndarray
    tensor: Tensor | None
    time_ns: int
    number: int


class LiveReader:
    """One connection to a camera, and the thread that reads it.

    Attributes:
        dropped: frames that were overwritten before the flow took them.
        broken: frames that could not be decoded.
        shape: of the frames, once there was one; a spare tensor should have it.
    """

    def __init__(self, camera: Camera, region: Region | None, fps: float | None, first: int) -> None:
        self.dropped = self.broken = 0
        self.shape: Sequence[int] | None = None
        self.is_open = False
        self._camera, self._region, self._number = camera, region, first
        self._apart_s = 1 / fps * 0.98 if fps else 0.0
        self._lock = threading.Lock()
        self._newest: Taken | None = None
        self._spare: Tensor | None = None
        self._why: Exception | None = None
        self._is_stopped = False
        self._loop, self._fresh = asyncio.get_running_loop(), asyncio.Event()
        threading.Thread(target=self._read, name="camera", daemon=True).start()

    @property
    def wants_spare(self) -> bool:
        """Whether it could use a tensor of `shape` to write the next frame to."""
        return self._spare is None and self.shape is not None and self._region is None

    def give(self, tensor: Tensor) -> None:
        """A tensor for the next frame."""
        with self._lock:
            self._spare = tensor

    async def next(self) -> Taken:
        """The newest frame, once there is one.

        Raises:
            SourceError: there will be none.
        """
        while True:
            await self._fresh.wait()
            self._fresh.clear()
            with self._lock:
                taken, self._newest = self._newest, None
            if taken is not None:
                return taken
            if self._why is not None:
                raise self._why

    def stop(self) -> None:
        """Let go of the camera as soon as it answers; whoever waits is not kept waiting for that."""
        self._is_stopped = True
        with self._lock:
            self._newest = self._spare = None

    def _read(self) -> None:
        try:
            self._camera.open()
            self.is_open = True
            due_s = 0.0
            while not self._is_stopped:
                if not self._camera.grab():
                    raise SourceError("the camera sends no more")
                self._number += 1
                if time.monotonic() < due_s:
                    continue
                self._take(time.time_ns())
                due_s = time.monotonic() + self._apart_s
        except Exception as e:  # whatever a driver raises: it is told, and the camera opened again
            self._why = e if isinstance(e, SourceError) else SourceError(f"{type(e).__name__}: {e}")
        finally:
            self._camera.close()
            self._tell()

    def _take(self, time_ns: int) -> None:
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None and spare.shape != self._camera.shape():
            spare = None
        target = None if spare is None else spare.numpy()
        image = self._camera.retrieve(target)
        if image is None:
            self.broken += 1
        else:
            if image is not target and target is not None and target.shape == image.shape:
                np.copyto(target, image)  # a camera that can't write there itself
                image = target
            is_there = target is not None and image is target
            seen = cut(image, self._region)
            self.shape = tuple(seen.shape)
            taken = Taken(seen, spare if is_there else None, time_ns, self._number - 1)
            spare = None if is_there else spare
            with self._lock:
                if self._is_stopped:
                    return
                missed, self._newest = self._newest, taken
            if missed is not None:
                self.dropped += 1
                spare = missed.tensor or spare
            self._tell()
        if spare is not None:
            with self._lock:
                self._spare = self._spare or (None if self._is_stopped else spare)

    def _tell(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._fresh.set)
        except RuntimeError:  # the node has ended
            self._is_stopped = True
