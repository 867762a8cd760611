from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError, model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Tensor, field
from flowcore_nodes.vision.areas import Unit, check_region, inside, region_in
from flowcore_nodes.vision.detections import Detections


class Crop(Node):
    """Cut a region out of frames, or one frame for each detection.

    A frame gives its `region`. Detections with their frame give one frame each, with the detection in `meta.detection`;
    `classes` and `margin` say of which and how wide. `meta.region` is where it was in the camera's own frame.
    """

    type = "vision/crop"
    title = "Crop"
    category = "vision"
    icon = "crop"
    needs = ("cv2",)
    install = "pip install 'flowcore[vision]'"

    class Config(NodeConfig):
        region: tuple[float, float, float, float] | None = field(
            None, description="x, y, width, height; needed when frames come, not for detections"
        )
        unit: Unit = field("pixels", description="Of the region: pixels, or percent of the frame")
        classes: list[str] = field([], description="Only detections of these classes; none: all")
        margin: float = field(0.0, ge=0, le=5, description="Around a detection, as a share of its size")

        @model_validator(mode="after")
        def _is_region(self) -> "Crop.Config":
            if self.region is not None:
                check_region(self.region, self.unit)
            return self

    in_ = In(description="a frame, or detections with their frame")
    out = Out("frame", "what was cut out")

    def on_message(self, message: Message) -> Iterator[Message]:
        if isinstance(message.payload, Tensor):
            if self.config.region is None:
                raise GiveUp("a frame came, and no region is set")
            height, width = message.payload.shape[:2]
            box = region_in(self.config.region, self.config.unit, width, height)
            yield self._cut(message, message.payload, box, {})
            return
        try:
            seen = Detections.model_validate(message.payload)
        except ValidationError as e:
            raise GiveUp(f"neither a frame nor detections: {e.errors()[0]['msg']}") from None
        if not isinstance(seen.frame, Tensor):
            raise GiveUp("these detections come without their frame")
        for one in seen.detections:
            if self.config.classes and one.class_ not in self.config.classes:
                continue
            x1, y1, x2, y2 = one.box
            dx, dy = (x2 - x1) * self.config.margin, (y2 - y1) * self.config.margin
            box_cut = inside((x1 - dx, y1 - dy, x2 + dx, y2 + dy), *reversed(seen.frame.shape[:2]))
            if box_cut is not None:
                yield self._cut(message, seen.frame, box_cut, {"detection": one.model_dump(exclude_none=True)})

    def _cut(self, message: Message, frame: Tensor, box: tuple[int, int, int, int], meta: dict[str, Any]) -> Message:
        from flowcore_nodes.vision.images import change

        x1, y1, x2, y2 = box
        made = self.alloc((y2 - y1, x2 - x1, *frame.shape[2:]), frame.dtype, frame.device)
        change.copy(frame, made, (slice(y1, y2), slice(x1, x2)))
        left, top = (message.meta.get("region") or (0, 0))[:2]
        region = [left + x1, top + y1, x2 - x1, y2 - y1]
        return message.derive(
            made, meta={**message.meta, "width": x2 - x1, "height": y2 - y1, "region": region, **meta}
        )
