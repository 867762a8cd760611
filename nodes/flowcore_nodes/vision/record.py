from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flowcore.node import In, Message, Node, NodeConfig, Out, Tensor, field

if TYPE_CHECKING:
    from flowcore_nodes.vision.clip import Clip

SECOND_NS = 1_000_000_000


@dataclass
class _Camera:
    """The newest frames of a camera as (time, JPEG), and the clip that is being written."""

    frames: deque
    size_bytes: int = 0
    clip: "Clip | None" = None
    about: Message | None = None


class Record(Node):
    """Write clips of what happened: some seconds before an event, and some after it.

    The newest frames of each camera wait here as JPEG, in this process's memory: no slot of the camera is held.
    An event (any message on `event`, of the same `source`) starts a clip; another one while it is written makes it
    longer. After a kill the clip that was being written is lost, those before are whole.
    """

    type = "vision/record"
    title = "Record"
    category = "vision"
    icon = "circle-dot"
    needs = ("cv2",)
    install = "pip install 'flowcore[vision]'"
    outside = True

    class Config(NodeConfig):
        folder: str = field(min_length=1, description="Where the clips go; a relative path begins at the runtime")
        before_s: float = field(5.0, ge=0, le=120, description="Of the clip, before the event, in seconds")
        after_s: float = field(5.0, ge=0, le=600, description="Of the clip, after the last event, in seconds")
        longest_s: float = field(120.0, gt=0, le=3600, description="A clip ends after so long, in seconds")
        format: Literal["mp4", "webm", "avi"] = field(
            "mp4", description="mp4: MPEG-4; webm: VP8, which browsers play; avi: MJPEG, the least work"
        )
        quality: int = field(85, ge=1, le=100, description="Of the frames that wait, 1 to 100")
        buffer_mb: float = field(64.0, gt=0, le=4096, description="Of the frames that wait for each camera, in MB")
        max_age_h: float | None = field(24 * 7, gt=0, description="Older clips are deleted, in hours; none: never")
        max_mb: float | None = field(10_000, gt=0, description="Of all clips together, in MB; the oldest are deleted")

    image = In("frame", "the camera's frames")
    event = In(description="what starts a clip: its `time_ns` and `source`, in the payload or in meta")
    saved = Out(dict, "path, source, begin_ns, end_ns, frames, events; when a clip is whole")

    def on_start(self) -> None:
        from flowcore_nodes.vision.archive import Archive

        config = self.config
        self._archive = Archive(
            Path(config.folder),
            None if config.max_age_h is None else config.max_age_h * 3600,
            None if config.max_mb is None else int(config.max_mb * 1e6),
        )
        self._cameras: dict[str, _Camera] = {}

    def on_go(self) -> None:
        self._archive.folder.mkdir(parents=True, exist_ok=True)
        self._archive.forget_parts()
        self._archive.prune(self.now_s())
        self.every(1.0, self._end_those_without_frames)

    def on_message(self, message: Message) -> Iterator[Any]:
        yield from self._frame(message) if message.port == "image" else self._event(message)

    def on_stop(self) -> None:
        for camera in self._cameras.values():
            if camera.clip is not None:
                camera.clip.end()

    def _frame(self, message: Message) -> Iterator[Any]:
        import cv2

        source, frame = str(message.meta.get("source", "")), message.payload
        time_ns = int(message.meta.get("time_ns") or self.now_s() * 1e9)
        camera = self._cameras.setdefault(source, _Camera(deque()))
        image = frame.numpy() if frame.device == "cpu" else frame.copy()
        done, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.config.quality])
        if not done:
            return
        if camera.clip is not None:
            if time_ns > camera.clip.until_ns:
                yield self._ended(camera)
            else:
                camera.clip.add(time_ns, coded)
        camera.frames.append((time_ns, coded))
        camera.size_bytes += coded.nbytes
        oldest_ns = time_ns - int(self.config.before_s * SECOND_NS)
        while camera.frames[0][0] < oldest_ns or camera.size_bytes > self.config.buffer_mb * 1e6:
            camera.size_bytes -= camera.frames.popleft()[1].nbytes
            if not camera.frames:
                break

    def _event(self, message: Message) -> Iterator[Any]:
        from flowcore_nodes.vision.clip import Clip

        payload = message.payload if isinstance(message.payload, dict) else {}
        known = {**message.meta, **payload}
        source = str(known.get("source", ""))
        if source not in self._cameras and len(self._cameras) == 1 and not source:
            source = next(iter(self._cameras))  # of the only camera that there is
        camera = self._cameras.setdefault(source, _Camera(deque()))
        newest_ns = camera.frames[-1][0] if camera.frames else int(self.now_s() * 1e9)
        time_ns = int(known.get("time_ns") or newest_ns)
        if camera.clip is not None and time_ns > camera.clip.until_ns:
            yield self._ended(camera)
        if camera.clip is None:
            path = self._archive.new(source, time_ns, str(known.get("event") or "event"), self.config.format)
            camera.clip, camera.about = Clip(path, source, time_ns), message
            begin_ns = time_ns - int(self.config.before_s * SECOND_NS)
            for taken_ns, coded in camera.frames:
                if taken_ns >= begin_ns:
                    camera.clip.add(taken_ns, coded)
            self.set_status(f"recording {path.name}", "busy")
        longest_ns = camera.clip.begin_ns + int(self.config.longest_s * SECOND_NS)
        camera.clip.until_ns = min(time_ns + int(self.config.after_s * SECOND_NS), longest_ns)
        camera.clip.touched_s = self.now_s()
        camera.clip.events.append({key: value for key, value in payload.items() if not isinstance(value, Tensor)})

    def _end_those_without_frames(self) -> Iterator[Any]:
        patience_s = self.config.after_s + 5
        for camera in self._cameras.values():
            if camera.clip is not None and self.now_s() - camera.clip.touched_s > patience_s:
                newest_ns = camera.frames[-1][0] if camera.frames else 0
                if newest_ns <= camera.clip.newest_ns:  # nothing more has come
                    yield self._ended(camera)

    def _ended(self, camera: _Camera) -> Any:
        clip, about = camera.clip, camera.about
        assert clip is not None and about is not None
        camera.clip = camera.about = None
        made = clip.end()
        self._archive.prune(self.now_s())
        self.set_status(f"{made['frames']} frames in {clip.path.name}" if made["frames"] else "an event without frames")
        return about.derive(made)
