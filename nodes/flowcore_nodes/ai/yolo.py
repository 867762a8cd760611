from typing import Any, Literal

import numpy as np
from pydantic import model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore_nodes.ai.boxes import COCO_ANCHORS, Boxes, LayoutMismatch, decode, suppress
from flowcore_nodes.ai.outputs import arrays, rest
from flowcore_nodes.vision.detections import Detections

_FROM_META = ("number", "source", "time_ns", "region", "truth")


class Yolo(Node):
    """Make detections of what a YOLO model says: v5, v8 and v11, anchored or not, with class filter and NMS.

    Boxes come out in pixels of the camera's frame: `meta.letterbox`, as vision/letterbox writes it, says how that was
    brought into the model's picture; without it boxes are in pixels of the model's input, whose size is in `width` and
    `height`, or in `meta`. What came beside the outputs (the model's name and version, a frame) travels on.
    """

    type = "ai/yolo"
    title = "YOLO"
    category = "ai"
    icon = "scan"

    class Config(NodeConfig):
        layout: Literal["auto", "v5", "v8", "v11", "v5-anchored"] = field(
            "auto", description="Of the output; auto goes by its shape and the number of names"
        )
        names: list[str] = field([], description="Names of the classes, in the model's order; empty: their numbers")
        keep: list[str] = field([], description="Classes that are wanted, by name; empty: all")
        confidence: float = field(0.25, ge=0, le=1, description="Least confidence of a detection, 0 to 1")
        overlap: float = field(
            0.45, ge=0, le=1, description="Boxes that overlap by more are one thing: intersection over union, 0 to 1"
        )
        each_class: bool = field(
            True, description="Boxes of different classes may overlap; off: they are one thing too"
        )
        most: int = field(300, ge=1, le=10_000, description="Most detections on a frame")
        output: str = field("", description="Name of the model's output; empty: the first, or all of an anchored model")
        width: int = field(
            0,
            ge=0,
            le=16_384,
            description="Width of the model's input, in pixels; 0: as meta says",
        )
        height: int = field(0, ge=0, le=16_384, description="Height of the model's input, in pixels; 0: as meta says")
        anchors: list[list[list[float]]] = field(
            [[list(map(float, one)) for one in scale] for scale in COCO_ANCHORS],
            description="Anchors in pixels, a list for each scale",
        )

        @model_validator(mode="after")
        def _fits(self) -> "Yolo.Config":
            if unknown := [name for name in self.keep if name not in self.names]:
                raise ValueError(f"keep has {unknown[0]!r}, which names has not")
            if any(len(one) != 2 or min(one) <= 0 for scale in self.anchors for one in scale):
                raise ValueError("an anchor is [width, height] in pixels, both above 0")
            return self

    in_ = In(description="what ai/model sent, or the output itself")
    out = Out(Detections, "class, class_id, confidence, box [x1, y1, x2, y2] of each; width, height, number, source")

    def on_start(self) -> None:
        names = self.config.names
        self._kept = np.array([names.index(one) for one in self.config.keep], np.intp)

    def on_message(self, message: Message) -> Any:
        config, payload, meta = self.config, message.payload, message.meta
        outputs = arrays(payload, [config.output] if config.output else [])
        letterbox = meta.get("letterbox") if isinstance(meta.get("letterbox"), dict) else None
        width, height = config.width or meta.get("width", 0), config.height or meta.get("height", 0)
        try:
            pictures = decode(
                outputs, config.layout, len(config.names) or None, config.confidence,
                (width, height) if width and height else None, config.anchors,
            )  # fmt: skip
        except LayoutMismatch as e:
            raise GiveUp(str(e)) from None
        if len(pictures) != 1:
            raise GiveUp(f"a message is one frame, and this one holds the outputs of {len(pictures)}")
        (found,) = pictures
        if len(self._kept):
            found = found.at(np.isin(found.classes, self._kept))
        found = suppress(found, config.overlap, config.most, config.each_class)
        boxes = found.boxes
        if letterbox is not None:
            boxes, width, height = _unboxed(boxes, letterbox)
        if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
            raise GiveUp("the size of the frame is not known: it is in no meta of the message; set width and height")
        made = {
            **rest(payload),
            **{key: meta[key] for key in _FROM_META if key in meta},
            "detections": self._named(found, boxes.clip(0, [width, height, width, height])),
            "width": width,
            "height": height,
        }
        return message.derive(made, meta={key: one for key, one in meta.items() if key != "letterbox"})

    def _named(self, found: Boxes, boxes: np.ndarray) -> list[dict[str, Any]]:
        names = self.config.names
        rows = zip(found.classes.tolist(), found.confidences.tolist(), boxes.round(2).tolist(), strict=True)
        return [
            {
                "class": names[number] if number < len(names) else str(number),
                "class_id": number,
                "confidence": round(min(max(confidence, 0.0), 1.0), 4),
                "box": box,
            }
            for number, confidence, box in rows
        ]


def _unboxed(boxes: np.ndarray, letterbox: dict[str, Any]) -> tuple[np.ndarray, int, int]:
    """Boxes in pixels of the frame that was letterboxed, and its size.

    Raises:
        GiveUp: that is not what a letterbox says.
    """
    try:
        scale, x, y = (float(letterbox[key]) for key in ("scale", "x", "y"))
        width, height = int(letterbox["width"]), int(letterbox["height"])
        if not scale > 0:
            raise ValueError("scale must be greater than 0")
    except (KeyError, TypeError, ValueError) as e:
        raise GiveUp(f"meta.letterbox is no letterbox's: {e}") from None
    return (boxes - np.array([x, y, x, y], np.float32)) / np.float32(scale), width, height
