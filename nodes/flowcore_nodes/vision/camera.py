import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator, model_validator

from flowcore.node import Node, NodeConfig, Out, field
from flowcore_nodes.vision.sources.address import Address, address_of

if TYPE_CHECKING:
    from flowcore_nodes.vision.sources.frames import Replayed, Shot
    from flowcore_nodes.vision.sources.live import LiveReader

_SAY_EVERY_S = 1.0


class Camera(Node):
    """Send the frames of a camera, a video file, a folder of images or a simulated conveyor.

    Each frame is a tensor (H, W, 3) uint8 in BGR, in shared memory; `meta` says `source`, `number`, `time_ns` (when it
    was taken, nanoseconds UTC), `width`, `height` and `region`. Files are read as fast as the flow takes them, after a
    restart from where they were; a live camera is read in its own time: when the flow is slower, the newest frame is
    sent and the others are counted. A camera that stalls, ends or cannot be reached is closed and opened again, with
    growing pauses.
    """

    type = "vision/camera"
    title = "Camera"
    category = "vision"
    icon = "camera"
    needs = ("cv2",)
    install = "pip install 'flowcore[vision]'"

    class Config(NodeConfig):
        source: str = field(
            description="A video file or a folder of images, usb:0, rtsp://.., http://.. (MJPEG), gst:PIPELINE, "
            "or sim://conveyor?seed=1&fps=30"
        )
        name: str = field("", description="What frames say they come from; empty: the node's id")
        user: str = field("", description="User of a network camera")
        password: str = field("", secret=True, description="Password of a network camera")
        pace: Literal["auto", "real-time", "consumer"] = field(
            "auto",
            description="Of what can be read again: in real time, skipping what is late, or each frame, as fast as "
            "the flow takes them; auto: a simulation in real time, files as fast as the flow takes them",
        )
        fps: float | None = field(
            None, gt=0, le=1000, description="Frames a second in place of the source's own; of a camera: at most"
        )
        loop: bool = field(False, description="Begin again at the end of a file or folder")
        frames: int = field(0, ge=0, description="End after so many frames; 0: never")
        region: tuple[int, int, int, int] | None = field(
            None, description="Region of interest: x, y, width, height in pixels; what is outside is not sent"
        )
        width: int | None = field(None, ge=16, le=16384, description="Width that a USB camera is asked for, in pixels")
        height: int | None = field(
            None, ge=16, le=16384, description="Height that a USB camera is asked for, in pixels"
        )
        truth: bool = field(False, description="Put what a simulation drew into meta.truth")
        resume: bool = field(True, description="Read a file on after a restart; off: from the beginning each time")
        transport: Literal["tcp", "udp"] = field("tcp", description="How RTSP sends its frames")
        open_timeout_s: float = field(
            10.0, gt=0, le=300, description="How long a camera may take to answer, in seconds"
        )
        read_timeout_s: float = field(
            5.0, gt=0, le=300, description="After so long without a frame it is opened again, in seconds"
        )
        retry_s: float = field(
            1.0, gt=0, le=3600, description="First pause before it is opened again, in seconds; it doubles"
        )
        retry_max_s: float = field(
            30.0, gt=0, le=3600, description="Longest pause before it is opened again, in seconds"
        )

        @field_validator("region")
        @classmethod
        def _is_region(cls, region: tuple[int, int, int, int] | None) -> tuple[int, int, int, int] | None:
            if region is not None and (min(region[:2]) < 0 or min(region[2:]) < 1):
                raise ValueError(f"x, y, width, height in pixels, got {list(region)}")
            return region

        @model_validator(mode="after")
        def _is_source(self) -> "Camera.Config":
            address = address_of(self.source)
            if address.kind == "sim":
                with contextlib.suppress(ImportError):  # then nothing runs anyhow
                    from flowcore_nodes.vision.conveyor import Conveyor

                    Conveyor.of(dict(address.settings))
            return self

    out = Out(
        "frame",
        "the frame; meta: source, number, time_ns, width, height, region; file of a folder's image, truth if wanted",
    )

    def on_start(self) -> None:
        config = self.config
        self._address: Address = address_of(config.source, config.user, config.password)
        self._name = config.name or self.id
        self._sent = self._dropped = self._broken = 0
        self._number = 0  # of the next frame of a live camera
        self._begin_again: tuple[int, int, int] | None = None  # as `_resumed`, for the next time through
        self._said_s, self._counted = 0.0, (0, 0.0)

    async def run(self) -> None:
        from flowcore_nodes.vision.sources.frames import BreaksOff, SourceError

        pause_s = self.config.retry_s
        read = self._read_live if self._address.is_live else self._read_replayed
        while True:
            sent = self._sent
            self.set_status(f"opening {self._address.shown}", "busy")
            try:
                await read()
                self.set_status(f"{self._address.shown}: ended after {self._sent} frames", "ok")
                return
            except BreaksOff as e:
                self.report(e)
                self.set_status(f"{e}; {self._sent} frames were sent", "warn")
                return
            except SourceError as e:
                pause_s = self.config.retry_s if self._sent > sent else pause_s
                self.report(e)
                self.set_status(f"{e}; opened again in {pause_s:g} s", "error")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, self.config.retry_max_s)

    # -- what can be read again ---------------------------------------------------------------------------------------

    async def _read_replayed(self) -> None:
        """Send what there is, to its end. Reading is done in a thread: a disk may be slow, too."""
        thread = ThreadPoolExecutor(1, "camera")
        try:
            while await self._replay(thread) and self.config.loop:
                pass
        finally:
            thread.shutdown(wait=False)

    async def _replay(self, thread: ThreadPoolExecutor) -> bool:
        """One time through; returns whether there was anything, and more is wanted."""
        from flowcore_nodes.vision.sources.frames import BrokenFrame
        from flowcore_nodes.vision.sources.replayed import open_replayed

        loop, config = asyncio.get_running_loop(), self.config
        source: Replayed = await loop.run_in_executor(thread, open_replayed, self._address, config.region, config.fps)
        try:
            number, offset, began_ns = self._resumed()
            if offset and await loop.run_in_executor(thread, source.skip, offset) < offset:
                return False  # it was read to its end before
            is_real_time = config.pace == "real-time" or (config.pace == "auto" and self._address.kind == "sim")
            began_s = loop.time() - number / source.fps
            while not config.frames or number < config.frames:
                if is_real_time and (
                    skipped := await self._wait_until_due(began_s + number / source.fps, source, thread)
                ):
                    number, offset = number + skipped, offset + skipped
                    continue
                shot: Shot | None = None
                try:
                    shot = await loop.run_in_executor(thread, source.read, self.alloc)
                except BrokenFrame as e:
                    self._broken += 1
                    self.report(e)
                else:
                    if shot is None:
                        self._begin_again = (number, 0, began_ns)
                        return number > 0
                number, offset = number + 1, offset + 1
                if shot is not None:
                    media_ns = began_ns + int((number - 1) / source.fps * 1e9)
                    time_ns = time.time_ns() if is_real_time else media_ns
                    position = [config.source, number, offset, began_ns]
                    about: dict[str, Any] = {"file": shot.file} if shot.file else {}
                    if shot.truth is not None and self.config.truth:
                        about = {"truth": shot.truth}
                    await self._send(shot.tensor, number - 1, time_ns, about, position)
                    del shot
            return False
        finally:
            await loop.run_in_executor(thread, source.close)

    def _resumed(self) -> tuple[int, int, int]:
        """Frames sent before, how many of them in this run through the source, and when its frame 0 was."""
        if self._begin_again is not None:
            return self._begin_again
        saved = self.position
        if self.config.resume and isinstance(saved, list) and len(saved) == 4 and saved[0] == self.config.source:
            return saved[1], saved[2], saved[3]
        return 0, 0, time.time_ns()

    async def _wait_until_due(self, due_s: float, source: "Replayed", thread: ThreadPoolExecutor) -> int:
        """Wait for a frame's time; returns how many frames were skipped because theirs was over."""
        loop = asyncio.get_running_loop()
        ahead_s = due_s - loop.time()
        if ahead_s > 0:
            await asyncio.sleep(ahead_s)
            return 0
        late = int(-ahead_s * source.fps)
        skipped = await loop.run_in_executor(thread, source.skip, late) if late else 0
        self._dropped += skipped
        return skipped

    # -- live cameras -------------------------------------------------------------------------------------------------

    async def _read_live(self) -> None:
        from flowcore_nodes.vision.sources.capture import Wanted
        from flowcore_nodes.vision.sources.frames import SourceError
        from flowcore_nodes.vision.sources.live import LiveReader, camera_of

        config = self.config
        wanted = Wanted(
            config.width, config.height, config.fps, config.open_timeout_s, config.read_timeout_s, config.transport
        )
        reader = LiveReader(camera_of(self._address, wanted), config.region, config.fps, self._number)
        try:
            while not config.frames or self._sent < config.frames:
                limit_s = config.read_timeout_s if reader.is_open else config.open_timeout_s + config.read_timeout_s
                try:
                    taken = await asyncio.wait_for(reader.next(), limit_s)
                except TimeoutError:
                    raise SourceError(f"{self._address.shown} has sent nothing for {limit_s:g} s") from None
                tensor = taken.tensor
                if tensor is None:
                    tensor = await self.alloc_when_free(taken.image.shape)
                    tensor.numpy()[:] = taken.image
                number, time_ns = taken.number, taken.time_ns
                taken.tensor = None
                del taken
                self._number = number + 1
                self._count(reader)
                await self._send(tensor, number, time_ns, {}, None)
                del tensor
                if reader.wants_spare:
                    reader.give(await self.alloc_when_free(reader.shape or ()))
        finally:
            reader.stop()
            self._count(reader)

    def _count(self, reader: "LiveReader") -> None:
        self._dropped, reader.dropped = self._dropped + reader.dropped, 0
        self._broken, reader.broken = self._broken + reader.broken, 0

    # -- both ---------------------------------------------------------------------------------------------------------

    async def _send(self, tensor: Any, number: int, time_ns: int, about: dict[str, Any], position: Any) -> None:
        region = self.config.region
        height, width = tensor.shape[:2]
        meta = {
            "source": self._name,
            "number": number,
            "time_ns": time_ns,
            "width": width,
            "height": height,
            "region": list(region) if region else [0, 0, width, height],
            **about,
        }
        await self.send(tensor, topic=self._name, meta=meta, position=position)
        self._sent += 1
        self._show(width, height)

    def _show(self, width: int, height: int) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s < _SAY_EVERY_S:
            return
        before, before_s = self._counted
        rate = f", {(self._sent - before) / (now_s - before_s):.1f}/s" if before_s else ""
        self._said_s, self._counted = now_s, (self._sent, now_s)
        lost = "".join(
            f", {count} {what}" for count, what in ((self._dropped, "skipped"), (self._broken, "broken")) if count
        )
        self.set_status(f"{width} x {height}{rate}{lost}", "warn" if self._broken else "ok")
