"""What detectors send and trackers, lines, zones and rules take: one map for each frame.

    {"detections": [{"class": "person", "class_id": 0, "confidence": 0.9, "box": [x1, y1, x2, y2], "track": 3}, ...],
     "width": 640, "height": 360, "number": 12, "source": "gate", "time_ns": 1..., "frame": <tensor> or absent}

Boxes are in pixels of the frame, x to the right and y down, x2 and y2 just outside. A region of interest that a camera
cut out is in `region`; boxes count from its corner. Whoever adds a key of its own finds it again at the other end.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Box = tuple[float, float, float, float]
Point = tuple[float, float]


class Detection(BaseModel):
    """One thing that was seen on one frame."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, serialize_by_alias=True, allow_inf_nan=False)

    class_: str = Field(alias="class", description="Name of the class")
    class_id: int = Field(0, description="Its number in the model")
    confidence: float = Field(1.0, ge=0, le=1, description="0 to 1")
    box: Box = Field(description="x1, y1, x2, y2 in pixels of the frame")
    track: int | None = Field(None, description="Number that the tracker gave it; the same on every frame")
    previous: Point | None = Field(None, description="Its centre on the frame before, in pixels")

    @model_validator(mode="after")
    def _is_a_box(self) -> "Detection":
        x1, y1, x2, y2 = self.box
        if x2 < x1 or y2 < y1:
            raise ValueError(f"a box is [x1, y1, x2, y2] with x1 <= x2 and y1 <= y2, got {list(self.box)}")
        return self

    @property
    def centre(self) -> Point:
        """The middle of the box, in pixels."""
        x1, y1, x2, y2 = self.box
        return (x1 + x2) / 2, (y1 + y2) / 2

    @property
    def foot(self) -> Point:
        """The middle of the box's lower edge, in pixels: where a person stands."""
        x1, _, x2, y2 = self.box
        return (x1 + x2) / 2, y2


class Detections(BaseModel):
    """What was seen on one frame, and on which."""

    model_config = ConfigDict(extra="allow", serialize_by_alias=True, allow_inf_nan=False)

    frame: Any = Field(None, description="The frame itself, a tensor (H, W, 3) uint8, BGR; or nothing")
    detections: list[Detection] = Field(default_factory=list, description="In no order that means anything")
    width: int = Field(gt=0, description="Of the frame, in pixels")
    height: int = Field(gt=0, description="Of the frame, in pixels")
    number: int = Field(0, ge=0, description="The frame's count at its source")
    source: str = Field("", description="Name of the camera")
    time_ns: int = Field(0, ge=0, description="When the frame was taken, nanoseconds UTC; 0: not known")
    region: tuple[int, int, int, int] | None = Field(None, description="x, y, width, height of the frame in its source")


def describe(frame: Any, meta: dict[str, Any]) -> dict[str, Any]:
    """What `Detections` says about a frame: its size, and what the camera wrote into the message's `meta`.

    Args:
        frame: (H, W) or (H, W, C).
        meta: of the message that brought it; anything else than a camera's is taken as nothing.
    """
    known: dict[str, Any] = {key: meta[key] for key in ("number", "source", "time_ns", "region") if key in meta}
    return {"frame": frame, "width": frame.shape[1], "height": frame.shape[0], **known}
