import base64
import binascii
import re
from typing import Any, Literal

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field

_LARGEST_PIXELS = 1 << 27


class Decode(Node):
    """Make a frame of an image file's bytes: JPEG, PNG, WebP, BMP, TIFF.

    Takes bytes, base64 text, or a `data:` URI.
    """

    type = "vision/decode"
    title = "Decode image"
    category = "vision"
    icon = "image"
    needs = ("cv2",)
    install = "pip install 'flowcore[vision]'"

    class Config(NodeConfig):
        colour: Literal["bgr", "grey"] = field("bgr", description="Channels of the frame")

    in_ = In(description="bytes, base64 text or a data: URI")
    out = Out("frame")

    def on_message(self, message: Message) -> Any:
        import cv2
        import numpy as np

        how = cv2.IMREAD_COLOR if self.config.colour == "bgr" else cv2.IMREAD_GRAYSCALE
        coded = self._bytes_of(message.payload)
        try:
            image = cv2.imdecode(np.frombuffer(coded, np.uint8), how) if coded else None
        except cv2.error as e:
            raise GiveUp(f"no image that OpenCV can read: {e.err}") from None
        if image is None:
            raise GiveUp(f"no image that OpenCV can read: {len(coded)} bytes that begin with {coded[:8]!r}")
        if image.size > _LARGEST_PIXELS * 3:
            raise GiveUp(f"an image of {image.shape[1]} x {image.shape[0]} is too large")
        made = self.alloc(image.shape)
        made.numpy()[...] = image
        height, width = image.shape[:2]
        return message.derive(made, meta={**message.meta, "width": width, "height": height})

    @staticmethod
    def _bytes_of(payload: Any) -> bytes:
        if isinstance(payload, bytes):
            return payload
        if not isinstance(payload, str):
            raise GiveUp(f"takes bytes or base64 text, got {type(payload).__name__}")
        text = re.sub(r"^data:[^,]{0,100},", "", payload)
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise GiveUp(f"no base64 text: {text[:20]!r}") from None
