from typing import Any, Literal

from pydantic import ValidationError, model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Tensor, field
from flowcore_nodes.vision.areas import Unit, check_region, inside, region_in
from flowcore_nodes.vision.detections import Detections


class Blur(Node):
    """Make regions of frames unrecognisable: fixed ones, or those of detections, such as people.

    A frame gives a frame, detections with their frame give detections with another one. `pixelate` can't be undone;
    `blur` looks softer, and with a small `strength` might.
    """

    type = "vision/blur"
    title = "Blur regions"
    category = "vision"
    icon = "eye-off"
    needs = ("cv2",)
    install = "pip install 'flowcore[vision]'"

    class Config(NodeConfig):
        regions: list[tuple[float, float, float, float]] = field([], description="Fixed ones: x, y, width, height each")
        unit: Unit = field("percent", description="Of the regions: pixels, or percent of the frame")
        classes: list[str] = field([], description="Detections of these classes; none: all")
        margin: float = field(0.1, ge=0, le=5, description="Around a detection, as a share of its size")
        method: Literal["pixelate", "blur"] = field("pixelate", description="How")
        strength: int = field(16, ge=2, le=200, description="Size of a cell, or radius of the blur, in pixels")

        @model_validator(mode="after")
        def _are_regions(self) -> "Blur.Config":
            for region in self.regions:
                check_region(region, self.unit)
            return self

    in_ = In(description="a frame, or detections with their frame")
    out = Out(description="the same with another frame")

    def on_message(self, message: Message) -> Any:
        if isinstance(message.payload, Tensor):
            return message.derive(self._blurred(message.payload, []))
        try:
            seen = Detections.model_validate(message.payload)
        except ValidationError as e:
            raise GiveUp(f"neither a frame nor detections: {e.errors()[0]['msg']}") from None
        if not isinstance(seen.frame, Tensor):
            raise GiveUp("these detections come without their frame")
        boxes = []
        for one in seen.detections:
            if not self.config.classes or one.class_ in self.config.classes:
                x1, y1, x2, y2 = one.box
                dx, dy = (x2 - x1) * self.config.margin, (y2 - y1) * self.config.margin
                boxes.append((x1 - dx, y1 - dy, x2 + dx, y2 + dy))
        return message.derive(seen.model_copy(update={"frame": self._blurred(seen.frame, boxes)}))

    def _blurred(self, frame: Tensor, boxes: list[tuple[float, float, float, float]]) -> Tensor:
        from flowcore_nodes.vision.images import change, on_cpu, on_gpu

        height, width = frame.shape[:2]
        areas = [region_in(region, self.config.unit, width, height) for region in self.config.regions]
        areas += [area for box in boxes if (area := inside(box, width, height)) is not None]
        made = self.alloc(frame.shape, frame.dtype, frame.device)
        change.copy(frame, made)
        if made.device != "cpu":
            import cupy

            for x1, y1, x2, y2 in areas:
                on_gpu.coarsen(cupy, made.cupy()[y1:y2, x1:x2], self.config.strength)
            return made
        image = made.numpy()
        for x1, y1, x2, y2 in areas:
            if self.config.method == "pixelate":
                on_cpu.coarsen(image[y1:y2, x1:x2], self.config.strength)
            else:
                on_cpu.soften(image[y1:y2, x1:x2], self.config.strength)
        return made
