from typing import Any

from flowcore.node import In, Message, Node, NodeConfig, Out, field
from flowcore_nodes.vision.detections import Detections


class Tracker(Node):
    """Give what is detected on one frame after the other the same number on each: ByteTrack.

    Each camera (`source`) has tracks of its own, kept over restarts. Detections get `track`, and `previous`: their
    centre where they were seen before. A new track gets its number on frame `hits`; until then it passes without one.
    """

    type = "vision/tracker"
    title = "Tracker"
    category = "vision"
    icon = "route"
    needs = ("cv2", "scipy")
    install = "pip install 'flowcore[vision]'"
    stateful = True

    class Config(NodeConfig):
        strong: float = field(0.5, ge=0, le=1, description="From this confidence a detection may continue any track")
        weak: float = field(0.1, ge=0, le=1, description="From this one it may continue a track that is in sight")
        begin: float = field(0.6, ge=0, le=1, description="From this confidence on a track begins")
        iou: float = field(0.2, gt=0, le=1, description="Least overlap with where the track should be, 0 to 1")
        iou_weak: float = field(0.5, gt=0, le=1, description="The same of a weak detection")
        lost: int = field(30, ge=0, le=10_000, description="Frames that a track may be out of sight")
        hits: int = field(2, ge=1, le=100, description="Frames in a row until a track gets its number")
        by_class: bool = field(True, description="A track keeps to its class")
        untracked: bool = field(True, description="Pass on what has no number yet, too")

    in_ = In(Detections)
    out = Out(Detections, "the same, with track numbers")

    def on_message(self, message: Message) -> Any:
        import numpy as np

        from flowcore_nodes.vision.byte_track import ByteTrack, Limits

        seen: Detections = message.payload
        config = self.config
        limits = Limits(config.strong, config.weak, config.begin, config.iou, config.iou_weak, config.lost, config.hits)
        tracker = ByteTrack(limits, self.state.get(seen.source))
        boxes = np.array([one.box for one in seen.detections], np.float64).reshape(-1, 4)
        confidences = np.array([one.confidence for one in seen.detections])
        kinds = np.array([one.class_id if config.by_class else 0 for one in seen.detections], np.int64)
        found = tracker.update(boxes, confidences, kinds)
        self.state[seen.source] = tracker.state
        tracked = [
            one.model_copy(update={"track": number, "previous": before})
            for one, (number, before) in zip(seen.detections, found, strict=True)
            if number is not None or config.untracked
        ]
        return message.derive(seen.model_copy(update={"detections": tracked}))
