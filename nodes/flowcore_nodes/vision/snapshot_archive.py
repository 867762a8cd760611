import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Tensor, field
from flowcore_nodes.vision.detections import Detections

_PRUNE_EVERY = 50


class SnapshotArchive(Node):
    """Keep pictures of what happened, each with what is known about it as JSON, for so long and up to such a size.

    Takes events with their frame (`frame` = true at the line or zone), whole detections, or plain frames. Pictures lie
    in a folder for each camera and day; the box is drawn where there is one.
    """

    type = "vision/snapshot-archive"
    title = "Snapshot archive"
    category = "vision"
    icon = "images"
    needs = ("cv2",)
    install = "pip install 'flowcore[vision]'"
    outside = True

    class Config(NodeConfig):
        folder: str = field(min_length=1, description="Where the pictures go; a relative path begins at the runtime")
        quality: int = field(85, ge=1, le=100, description="Of the JPEG, 1 to 100")
        draw: bool = field(True, description="Draw the boxes")
        max_age_h: float | None = field(24 * 7, gt=0, description="Older pictures are deleted, in hours; none: never")
        max_mb: float | None = field(1000, gt=0, description="Of all pictures together, in MB; the oldest are deleted")

    in_ = In(description="an event or detections with their frame, or a frame")
    out = Out(dict, "path, and the event without its frame")

    def on_start(self) -> None:
        from flowcore_nodes.vision.archive import Archive

        config = self.config
        age_s = None if config.max_age_h is None else config.max_age_h * 3600
        self._archive = Archive(Path(config.folder), age_s, None if config.max_mb is None else int(config.max_mb * 1e6))
        self._saved = 0

    def on_go(self) -> None:
        self._archive.folder.mkdir(parents=True, exist_ok=True)
        self._archive.forget_parts()
        self._archive.prune(self.now_s())

    def on_message(self, message: Message) -> Any:
        import cv2

        from flowcore_nodes.vision.images import drawing

        frame, about, boxes = self._parts(message)
        image = frame.copy()
        if self.config.draw and image.ndim == 3:
            for text, box, number in boxes:
                drawing.box(image, box, drawing.colour_of(number))
                drawing.label(image, text, box[0], box[1], drawing.colour_of(number))
        done, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.config.quality])
        if not done:
            raise GiveUp(f"a frame of {tuple(image.shape)} can't be a JPEG")
        time_ns = about.get("time_ns") or int(self.now_s() * 1e9)
        what = "-".join(str(about[key]) for key in ("event", "rule", "zone", "line") if about.get(key)) or "frame"
        path = self._archive.new(str(about.get("source", "")), time_ns, what, "jpg")
        self._archive.write(path, coded.tobytes())
        self._archive.write(path.with_suffix(".json"), json.dumps(about, default=str, indent=1).encode())
        if self._saved % _PRUNE_EVERY == 0:
            self._archive.prune(self.now_s())
        self._saved += 1
        self.set_status(f"{self._saved} kept")
        return message.derive({"path": str(path), **about})

    def _parts(self, message: Message) -> tuple[Tensor, dict[str, Any], list]:
        """The frame, what is known about it, and the boxes on it."""
        payload = message.payload
        if isinstance(payload, Tensor):
            known = {key: message.meta[key] for key in ("source", "number", "time_ns") if key in message.meta}
            return payload, known, []
        if not isinstance(payload, dict) or not isinstance(payload.get("frame"), Tensor):
            raise GiveUp("no frame: an event has one with `frame` = true at the line or zone that sends it")
        about = {key: value for key, value in payload.items() if key != "frame"}
        if "detections" in payload:
            try:
                seen = Detections.model_validate(payload)
            except ValidationError as e:
                raise GiveUp(f"no detections: {e.errors()[0]['msg']}") from None
            return payload["frame"], about, [(one.class_, one.box, one.class_id) for one in seen.detections]
        box = payload.get("box")
        return payload["frame"], about, [(str(payload.get("class", "")), box, 0)] if box else []
