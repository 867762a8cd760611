import base64
import secrets
from typing import Any, Literal

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Tensor, field
from flowcore_nodes.vision.detections import Detections
from flowcore_nodes.vision.edge_message import written


class ToMessage(Node):
    """Make the message by which an edge device tells a processor what it has seen: version 1, plain JSON.

    The edge reads, detects and tracks; lines, zones and rules are the processor's. Messages are counted for each
    camera, over restarts, so that the processor knows what it has had. The topic is DEVICE/CAMERA.
    """

    type = "vision/to-message"
    title = "Detections to message"
    category = "vision"
    icon = "send"
    needs = ("cv2",)
    install = "pip install 'flowcore[vision]'"
    stateful = True

    class Config(NodeConfig):
        device: str = field(
            min_length=1, max_length=200, pattern=r"^[^/+#\s]+$", description="Name of this device, without / + #"
        )
        frame: Literal["none", "jpeg", "reference"] = field(
            "none", description="Pixels: none; jpeg in the message; or a reference, which flowcore itself resolves"
        )
        quality: int = field(80, ge=1, le=100, description="Of the JPEG, 1 to 100")
        empty: bool = field(True, description="Send frames on which nothing was seen, too: zones end by them")

    in_ = In(Detections, "tracked detections")
    out = Out(dict, "the message")

    def on_message(self, message: Message) -> Any:
        seen: Detections = message.payload
        if not seen.detections and not self.config.empty:
            return None
        key = f"camera/{seen.source}"
        session, sequence = self.state.get(key) or (secrets.token_hex(8), 0)
        self.state[key] = [session, sequence + 1]
        source = {
            "device": self.config.device,
            "camera": seen.source,
            "time_ns": seen.time_ns,
            "session": session,
            "sequence": sequence + 1,
        }
        made = written(seen, source, self._pixels(seen.frame))
        return message.derive(made, topic=f"{self.config.device}/{seen.source}")

    def _pixels(self, frame: Any) -> dict[str, Any]:
        if self.config.frame == "none" or frame is None:
            return {}
        if not isinstance(frame, Tensor):
            raise GiveUp(f"the frame of these detections is no tensor, but {type(frame).__name__}")
        if self.config.frame == "reference":
            return {"reference": frame}
        import cv2

        image = frame.numpy() if frame.device == "cpu" else frame.copy()
        done, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.config.quality])
        if not done:
            raise GiveUp(f"a frame of {tuple(image.shape)} can't be a JPEG")
        return {"jpeg": base64.b64encode(coded.tobytes()).decode()}
