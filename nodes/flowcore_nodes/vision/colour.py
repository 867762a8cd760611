from typing import Any, Literal

from flowcore.node import Message, NodeConfig, Tensor, field
from flowcore_nodes.vision.images.node import ImageNode, check_channels


class Colour(ImageNode):
    """Change the colours of frames: order of channels, grey, HSV, Lab."""

    type = "vision/colour"
    title = "Colour"
    icon = "palette"

    class Config(NodeConfig):
        convert: Literal[
            "bgr-to-rgb",
            "rgb-to-bgr",
            "bgr-to-grey",
            "rgb-to-grey",
            "grey-to-bgr",
            "bgr-to-hsv",
            "hsv-to-bgr",
            "bgr-to-lab",
            "lab-to-bgr",
        ] = field("bgr-to-grey", description="From which colours to which; cameras send BGR")

    def changed(self, frame: Tensor, message: Message) -> tuple[Tensor, dict[str, Any]]:
        from flowcore_nodes.vision.images import change

        wanted = self.config.convert
        check_channels(frame, 1 if wanted.startswith("grey") else 3, wanted)
        made = self.like(frame, frame.shape[0], frame.shape[1], 0 if wanted.endswith("grey") else 3)
        change.colour(frame, made, wanted)
        return made, {}
