import base64
from typing import Any

from pydantic import ValidationError

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Tensor, field
from flowcore_nodes.vision.edge_message import EdgeMessage, read


class FromMessage(Node):
    """Make detections of the messages that edge devices send, each once, whatever comes twice.

    `source` of the detections is DEVICE/CAMERA. What comes again, as it may around a crash, is dropped and counted;
    what is missing is counted and told. Which messages were had is kept over restarts.
    """

    type = "vision/from-message"
    title = "Message to detections"
    category = "vision"
    icon = "inbox"
    needs = ("cv2",)
    install = "pip install 'flowcore[vision]'"
    stateful = True

    class Config(NodeConfig):
        frame: bool = field(True, description="Decode the frame where a message has one")

    in_ = In(dict, "a message of version 1, as vision/to-message makes it")
    out = Out(description="the detections")

    def on_start(self) -> None:
        self._again = self._missing = 0

    def on_message(self, message: Message) -> Any:
        version = message.payload.get("version")
        if version != 1:
            raise GiveUp(f"takes messages of version 1, this one has {version!r}")
        try:
            got = EdgeMessage.model_validate(message.payload)
        except ValidationError as e:
            first = e.errors()[0]
            raise GiveUp(f"no message of an edge: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        source = got.source
        key = f"{source.device}/{source.camera}"
        session, last = self.state.get(key) or ("", 0)
        if session == source.session and source.sequence <= last:
            self._again += 1
            self._tell()
            return None
        if session == source.session and source.sequence > last + 1:
            self._missing += source.sequence - last - 1
            self._tell()
        frame = self._frame(got) if self.config.frame else None
        seen = read(got, frame)
        self.state[key] = [source.session, source.sequence]
        return message.derive(seen)

    def _frame(self, got: EdgeMessage) -> Any:
        if got.frame.reference is not None:
            if not isinstance(got.frame.reference, Tensor):
                raise GiveUp("frame.reference is no tensor: it comes so only over wires of flowcore")
            return got.frame.reference
        if got.frame.jpeg is None:
            return None
        import cv2
        import numpy as np

        try:
            coded = base64.b64decode(got.frame.jpeg, validate=True)
            image = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR) if coded else None
        except (ValueError, cv2.error):
            image = None
        if image is None:
            raise GiveUp("frame.jpeg is no JPEG in base64")
        made = self.alloc(image.shape)
        made.numpy()[...] = image
        return made

    def _tell(self) -> None:
        self.set_status(f"{self._again} came again, {self._missing} are missing", "warn" if self._missing else "ok")
