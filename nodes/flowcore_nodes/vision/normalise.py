from typing import Any, Literal

from pydantic import model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore_nodes.vision.images.node import letterboxed


class Normalise(Node):
    """Make the tensor that a model wants of a frame: layout, type, scale, mean.

    Each value is (pixel * scale - mean) / std, for each channel in the order in which the model has them. With `width`
    and `height` the frame is fitted into that size first, as vision/letterbox does it, and `meta.letterbox` says how.
    """

    type = "vision/normalise"
    title = "Normalise"
    category = "vision"
    icon = "sliders"
    needs = ("cv2",)
    install = "pip install 'flowcore[vision]'"

    class Config(NodeConfig):
        layout: Literal["NCHW", "NHWC", "CHW", "HWC"] = field(
            "NCHW", description="Order of the dimensions: N is 1, C channels, H rows, W columns"
        )
        dtype: Literal["float32", "float16"] = field("float32", description="Type of the values")
        channels: Literal["rgb", "bgr", "as they are"] = field(
            "rgb", description="Order of the channels; cameras send BGR"
        )
        scale: float = field(1 / 255, gt=0, le=1e6, description="What each pixel, 0 to 255, is multiplied by first")
        mean: list[float] = field([0.0], description="Subtracted then; one number, or one for each channel")
        std: list[float] = field([1.0], description="Divided by in the end; one number, or one for each channel")

        width: int | None = field(None, ge=1, le=16384, description="Fitted into this width first, in pixels")
        height: int | None = field(None, ge=1, le=16384, description="And into this height, in pixels")
        fill: int = field(114, ge=0, le=255, description="Grey level of what is filled then")
        with_frame: bool = field(
            False,
            description="Send a map: tensor, and the frame that came as frame, so that it travels through a model",
        )

        @model_validator(mode="after")
        def _fits(self) -> "Normalise.Config":
            for name in ("mean", "std"):
                if len(getattr(self, name)) not in (1, 3, 4):
                    raise ValueError(f"{name} has one number, or one for each channel, got {len(getattr(self, name))}")
            if (self.width is None) != (self.height is None):
                raise ValueError("give width and height, or none of them")
            if 0 in self.std:
                raise ValueError("std may not be 0")
            return self

    in_ = In("frame", "a frame, in host memory or on a GPU")
    out = Out(description="the tensor, where the frame was; or a map with it and the frame")

    def on_message(self, message: Message) -> Any:
        from flowcore_nodes.vision.images import change

        config, frame = self.config, message.payload
        meta: dict[str, Any] = {}
        if config.width and config.height:
            frame, meta = letterboxed(self, frame, config.width, config.height, config.fill)
        height, width = frame.shape[:2]
        channels = frame.shape[2] if len(frame.shape) == 3 else 1
        mean, std = self._each("mean", channels), self._each("std", channels)
        is_chw = config.layout.endswith("CHW")
        shape = (channels, height, width) if is_chw else (height, width, channels)
        made = self.alloc((1, *shape) if config.layout.startswith("N") else shape, config.dtype, frame.device)
        factor = [config.scale / one for one in std]
        shift = [m / s for m, s in zip(mean, std, strict=True)]
        swap = config.channels == "rgb" and channels == 3
        change.normalise(frame, made, factor, shift, is_chw, swap)
        payload = {"tensor": made, "frame": message.payload} if config.with_frame else made
        return message.derive(payload, meta={**message.meta, "width": width, "height": height, **meta})

    def _each(self, name: str, channels: int) -> list[float]:
        values = getattr(self.config, name)
        if len(values) not in (1, channels):
            raise GiveUp(f"{name} has {len(values)} numbers, and the frame {channels} channels")
        return values * channels if len(values) == 1 else values
