from typing import Any, Literal

from pydantic import model_validator

from flowcore.node import In, Message, Node, NodeConfig, Out, field
from flowcore_nodes.vision.areas import Unit, check_region, region_in
from flowcore_nodes.vision.detections import Detections, describe


class Motion(Node):
    """Find what moves before a background that stands still.

    The background is learned from the frames of each camera and forgotten at a restart; the first `warm_up` frames find
    nothing. Parts of one thing that are close together are one box. `share` says how much of the frame moves, 0 to 1.
    """

    type = "vision/motion"
    title = "Motion"
    category = "vision"
    icon = "activity"
    needs = ("cv2",)
    install = "pip install 'flowcore[vision]'"

    class Config(NodeConfig):
        method: Literal["mog2", "knn"] = field("mog2", description="How the background is modelled")
        history: int = field(200, ge=2, le=100_000, description="Frames that make the background")
        threshold: float = field(
            25.0, gt=0, le=10_000, description="How different is moving, in squared distance; more finds less"
        )
        min_area: float = field(0.1, ge=0, le=100, description="Least size of a box, in percent of the frame")
        join: int = field(7, ge=1, le=99, description="Parts so close are one thing, in pixels")
        shadows: bool = field(False, description="Tell shadows apart and leave them out; slower")
        warm_up: int = field(10, ge=0, le=10_000, description="Frames at the beginning that find nothing")
        region: tuple[float, float, float, float] | None = field(
            None, description="Look only here: x, y, width, height"
        )
        unit: Unit = field("percent", description="Of the region: pixels, or percent of the frame")
        frame: bool = field(True, description="Send the frame along")

        @model_validator(mode="after")
        def _is_region(self) -> "Motion.Config":
            if self.region is not None:
                check_region(self.region, self.unit)
            return self

    in_ = In("frame", "BGR or grey")
    out = Out(Detections, "class motion, each with `filled`, how much of its box moves; and `share`")

    def on_start(self) -> None:
        self._cameras: dict[tuple, list] = {}  # source and shape -> [background, frames so far]

    def on_message(self, message: Message) -> Any:
        import cv2

        config, frame = self.config, message.payload
        height, width = frame.shape[:2]
        image = frame.numpy() if frame.device == "cpu" else frame.copy()
        left, top = 0, 0
        if config.region is not None:
            left, top, right, bottom = region_in(config.region, config.unit, width, height)
            image = image[top:bottom, left:right]
        about = describe(frame, message.meta) | ({} if config.frame else {"frame": None})
        camera = self._cameras.setdefault((about.get("source", ""), image.shape), [None, 0])
        if camera[0] is None:
            camera[0] = self._background()
        mask = camera[0].apply(image)
        camera[1] += 1
        found: list[dict[str, Any]] = []
        share = 0.0
        if camera[1] > config.warm_up:
            moving = cv2.threshold(mask, 200, 255, cv2.THRESH_BINARY)[1]  # shadows are 127
            moving = cv2.morphologyEx(moving, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
            share = cv2.countNonZero(moving) / moving.size
            near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (config.join, config.join))
            joined = cv2.morphologyEx(moving, cv2.MORPH_CLOSE, near)
            contours, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            least = config.min_area / 100 * width * height
            for contour in contours:
                x, y, w, h = cv2.boundingRect(contour)
                if w * h >= least:
                    box = (left + x, top + y, left + x + w, top + y + h)
                    filled = cv2.countNonZero(moving[y : y + h, x : x + w]) / (w * h)
                    found.append({"class": "motion", "class_id": 0, "confidence": 1.0, "box": box, "filled": filled})
        found.sort(key=lambda one: one["box"])
        return message.derive(Detections.model_validate({**about, "detections": found, "share": share}))

    def _background(self) -> Any:
        import cv2

        config = self.config
        if config.method == "knn":
            return cv2.createBackgroundSubtractorKNN(config.history, config.threshold * 16, config.shadows)
        return cv2.createBackgroundSubtractorMOG2(config.history, config.threshold, config.shadows)
