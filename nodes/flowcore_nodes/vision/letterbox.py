from typing import Any

from flowcore.node import Message, NodeConfig, Tensor, field
from flowcore_nodes.vision.images.node import ImageNode


class Letterbox(ImageNode):
    """Fit frames into a size without changing their proportions; the rest is filled.

    `meta.letterbox` says `scale`, `x` and `y`: a point of the new frame is (p - (x, y)) / scale in the old one, whose
    size is in `meta.letterbox.width` and `.height`.
    """

    type = "vision/letterbox"
    title = "Letterbox"
    icon = "ratio"

    class Config(NodeConfig):
        width: int = field(640, ge=1, le=16384, description="New width, in pixels")
        height: int = field(640, ge=1, le=16384, description="New height, in pixels")
        fill: int = field(114, ge=0, le=255, description="Grey level of what is filled")

    def changed(self, frame: Tensor, message: Message) -> tuple[Tensor, dict[str, Any]]:
        from flowcore_nodes.vision.images import change

        height, width = frame.shape[:2]
        scale = min(self.config.width / width, self.config.height / height)
        w, h = max(1, round(width * scale)), max(1, round(height * scale))
        x, y = (self.config.width - w) // 2, (self.config.height - h) // 2
        made = self.like(frame, self.config.height, self.config.width)
        change.paste(frame, made, x, y, w, h, self.config.fill, "linear")
        return made, {"letterbox": {"scale": scale, "x": x, "y": y, "width": width, "height": height}}
