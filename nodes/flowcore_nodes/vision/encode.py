import base64
from typing import Any, Literal

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field


class Encode(Node):
    """Make the bytes of an image file of a frame: JPEG, PNG or WebP."""

    type = "vision/encode"
    title = "Encode image"
    category = "vision"
    icon = "file-image"
    needs = ("cv2",)
    install = "pip install 'flowcore[vision]'"

    class Config(NodeConfig):
        format: Literal["jpeg", "png", "webp"] = field("jpeg", description="Of the file")
        quality: int = field(85, ge=1, le=100, description="Of JPEG and WebP: 1 to 100; PNG loses nothing")
        text: Literal["no", "base64", "data-uri"] = field("no", description="Send text in place of bytes")

    in_ = In("frame", "BGR or grey")
    out = Out(description="bytes, or text; meta.content_type says of what")

    def on_message(self, message: Message) -> Any:
        import cv2

        kind = self.config.format
        settings = {
            "jpeg": [cv2.IMWRITE_JPEG_QUALITY, self.config.quality],
            "png": [cv2.IMWRITE_PNG_COMPRESSION, 3],
            "webp": [cv2.IMWRITE_WEBP_QUALITY, self.config.quality],
        }
        image = message.payload.numpy() if message.payload.device == "cpu" else message.payload.copy()
        try:
            done, coded = cv2.imencode(f".{kind}", image, settings[kind])
        except cv2.error as e:
            raise GiveUp(f"a frame of {tuple(image.shape)} can't be {kind}: {e.err}") from None
        if not done:
            raise GiveUp(f"a frame of {tuple(image.shape)} can't be {kind}")
        payload: bytes | str = coded.tobytes()
        if self.config.text != "no":
            payload = base64.b64encode(payload).decode()  # type: ignore[arg-type]
            if self.config.text == "data-uri":
                payload = f"data:image/{kind};base64,{payload}"
        return message.derive(payload, meta={**message.meta, "content_type": f"image/{kind}"})
