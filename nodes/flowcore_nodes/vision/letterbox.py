from typing import Any

from flowcore.node import Message, NodeConfig, Tensor, field
from flowcore_nodes.vision.images.node import ImageNode, letterboxed


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
        return letterboxed(self, frame, self.config.width, self.config.height, self.config.fill)
