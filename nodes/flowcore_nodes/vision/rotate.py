import math
from typing import Any, Literal

from flowcore.node import GiveUp, Message, NodeConfig, Tensor, field
from flowcore_nodes.vision.images.node import ImageNode


class Rotate(ImageNode):
    """Turn frames by any angle, or mirror them."""

    type = "vision/rotate"
    title = "Rotate"
    icon = "rotate-cw"

    class Config(NodeConfig):
        degrees: float = field(90.0, ge=-360, le=360, description="Clockwise, in degrees; 90, 180 and 270 lose nothing")
        mirror: Literal["no", "left-right", "top-bottom"] = field("no", description="Mirrored before it is turned")
        expand: bool = field(True, description="The new frame is large enough for all of the old one")
        fill: int = field(0, ge=0, le=255, description="Grey level of corners that nothing was in")

    def changed(self, frame: Tensor, message: Message) -> tuple[Tensor, dict[str, Any]]:
        from flowcore_nodes.vision.images import change, on_cpu

        if self.config.mirror != "no":
            mirrored = self.like(frame, *frame.shape[:2])
            change.mirror(frame, mirrored, 1 if self.config.mirror == "left-right" else 0)
            frame = mirrored
        degrees = self.config.degrees % 360
        if not degrees:
            return frame, {}
        height, width = frame.shape[:2]
        if degrees % 90 == 0:
            made = self.like(frame, *((width, height) if degrees % 180 else (height, width)))
            change.turn(frame, made, int(degrees // 90))
            return made, {}
        if frame.device != "cpu":
            raise GiveUp(f"a frame on {frame.device} is turned by 90, 180 or 270 degrees only")
        size = height, width
        if self.config.expand:
            sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
            size = round(height * cosine + width * sine), round(width * cosine + height * sine)
        made = self.like(frame, *size)
        on_cpu.turn_freely(frame.numpy(), made.numpy(), degrees, (self.config.fill,) * 3)
        return made, {}
