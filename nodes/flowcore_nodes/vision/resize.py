from typing import Any, Literal

from pydantic import model_validator

from flowcore.node import GiveUp, Message, NodeConfig, Tensor, field
from flowcore_nodes.vision.images.node import ImageNode


class Resize(ImageNode):
    """Make frames larger or smaller.

    With one of width and height the other follows, so that proportions stay. `letterbox` fits a frame into a size
    without stretching it.
    """

    type = "vision/resize"
    title = "Resize"
    icon = "scaling"

    class Config(NodeConfig):
        width: int | None = field(None, ge=1, le=16384, description="New width, in pixels")
        height: int | None = field(None, ge=1, le=16384, description="New height, in pixels")
        scale: float | None = field(None, gt=0, le=64, description="In place of both: how many times as large")
        method: Literal["auto", "nearest", "linear", "area", "cubic"] = field(
            "auto", description="auto: area when it becomes smaller, else linear"
        )

        @model_validator(mode="after")
        def _says_how_large(self) -> "Resize.Config":
            if (self.scale is None) == (self.width is None and self.height is None):
                raise ValueError("give width, height or both, or else scale")
            return self

    def changed(self, frame: Tensor, message: Message) -> tuple[Tensor, dict[str, Any]]:
        from flowcore_nodes.vision.images import change

        config = self.config
        height, width = frame.shape[:2]
        if config.scale is not None:
            size = round(width * config.scale), round(height * config.scale)
        elif config.width and config.height:
            size = config.width, config.height
        elif config.width:
            size = config.width, round(height * config.width / width)
        else:
            size = round(width * config.height / height), config.height
        if min(size) < 1 or max(size) > 32768:
            raise GiveUp(f"a frame of {width} x {height} would become {size[0]} x {size[1]}")
        made = self.like(frame, size[1], size[0])
        change.resize(frame, made, config.method)
        return made, {}
