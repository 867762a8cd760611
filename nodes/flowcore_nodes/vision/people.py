from typing import Any

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore_nodes.vision.detections import Detections, describe


class People(Node):
    """Find upright people on frames, by OpenCV's own HOG detector: no model file, no GPU.

    Finds people from about 100 pixels in height on who stand or walk; a trained model (`ai/model`) finds more. Its
    confidence is the detector's score between 0 and 1; 0.5 is its own limit.
    """

    type = "vision/people"
    title = "People"
    category = "vision"
    icon = "person-standing"
    needs = ("cv2",)
    install = "pip install 'flowcore[vision]'"

    class Config(NodeConfig):
        stride: int = field(8, ge=4, le=64, multiple_of=4, description="Step of the search, in pixels; more is faster")
        scale: float = field(1.05, gt=1.0, le=2.0, description="Step between sizes; 1.2 is three times as fast as 1.05")
        padding: int = field(8, ge=0, le=64, multiple_of=8, description="Searched around the frame, in pixels")
        min_confidence: float = field(0.5, ge=0.5, le=1, description="Least confidence, 0.5 to 1")
        overlap: float = field(0.65, gt=0, le=1, description="Of two boxes that overlap more the weaker one is dropped")
        frame: bool = field(True, description="Send the frame along")

    in_ = In("frame", "BGR or grey")
    out = Out(Detections, "class person")

    def on_start(self) -> None:
        import cv2
        import numpy as np

        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector()))

    def on_message(self, message: Message) -> Any:
        import cv2

        config, frame = self.config, message.payload
        image = frame.numpy() if frame.device == "cpu" else frame.copy()
        if len(image.shape) == 3 and image.shape[2] != 3:
            raise GiveUp(f"takes BGR or grey, got {image.shape[2]} channels")
        if min(image.shape[0] / 128, image.shape[1] / 64) < 1:
            raise GiveUp(f"a frame of {image.shape[1]} x {image.shape[0]} is smaller than the least person, 64 x 128")
        rectangles, scores = self._hog.detectMultiScale(
            image,
            winStride=(config.stride, config.stride),
            padding=(config.padding, config.padding),
            scale=config.scale,
        )
        found = []
        confidences = [score / (score + 1) / 2 + 0.5 for score in map(float, scores)]  # 0: 0.5, 1: 0.75, endless: 1
        boxes = [[int(value) for value in rectangle] for rectangle in rectangles]
        kept = cv2.dnn.NMSBoxes(boxes, confidences, config.min_confidence, config.overlap) if boxes else ()
        for index in sorted(int(one) for one in kept):
            x, y, width, height = boxes[index]
            box = (float(x), float(y), float(x + width), float(y + height))
            found.append({"class": "person", "class_id": 0, "confidence": confidences[index], "box": box})
        about = describe(frame, message.meta) | ({} if config.frame else {"frame": None})
        return message.derive(Detections.model_validate({**about, "detections": found}))
