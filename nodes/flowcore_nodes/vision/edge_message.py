"""Version 1 of what the edge sends to a processor: plain JSON, documented in docs/vision.md; nothing else is shared.

    {"version": 1,
     "source": {"device": "line-1", "camera": "gate", "time_ns": 1..., "session": "5f0c...", "sequence": 17},
     "frame": {"number": 16, "width": 640, "height": 360, "region": [0, 0, 640, 360], "jpeg": "/9j/4AAQ..."},
     "detections": [{"track": 3, "class": 0, "name": "person", "confidence": 0.91, "box": [10, 20, 60, 180],
                     "centre": [35, 100], "previous": [33, 100]}]}

`sequence` counts from 1 without a gap in a `session`, also over restarts: what comes twice is told by it. Unknown keys
are left alone, so that a later minor addition breaks no processor.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from flowcore_nodes.vision.detections import Box, Detection, Detections, Point

VERSION = 1


class Source(BaseModel):
    """Who sends, and the how-manieth message it is."""

    device: str = Field(min_length=1, max_length=200)
    camera: str = Field(max_length=200)
    time_ns: int = Field(ge=0)
    session: str = Field(min_length=1, max_length=64)
    sequence: int = Field(ge=1)


class Frame(BaseModel):
    """The frame, without its pixels or with them: as JPEG in base64, or as a reference that flowcore resolves."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    number: int = Field(0, ge=0)
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    region: tuple[int, int, int, int] | None = None
    jpeg: str | None = None
    reference: Any = None


class Seen(BaseModel):
    """A detection."""

    track: int | None = None
    class_: int = Field(0, alias="class")
    name: str
    confidence: float = Field(ge=0, le=1)
    box: Box
    centre: Point | None = None
    previous: Point | None = None


class EdgeMessage(BaseModel):
    """The whole message."""

    version: Literal[1]
    source: Source
    frame: Frame
    detections: list[Seen]


def written(seen: Detections, source: dict[str, Any], pixels: dict[str, Any]) -> dict[str, Any]:
    """A message of detections.

    Args:
        source: as `Source` has it; pixels: `jpeg` or `reference`, or nothing.
    """
    frame: dict[str, Any] = {"number": seen.number, "width": seen.width, "height": seen.height}
    frame["region"] = list(seen.region or (0, 0, seen.width, seen.height))
    found = []
    for one in seen.detections:
        about = {"track": one.track, "class": one.class_id, "name": one.class_, "confidence": one.confidence}
        previous = None if one.previous is None else list(one.previous)
        found.append({**about, "box": list(one.box), "centre": list(one.centre), "previous": previous})
    return {"version": VERSION, "source": source, "frame": {**frame, **pixels}, "detections": found}


def read(message: EdgeMessage, frame: Any) -> Detections:
    """Detections of a message; their source is device/camera."""
    source, about = message.source, message.frame
    return Detections(
        frame=frame,
        width=about.width,
        height=about.height,
        number=about.number,
        source=f"{source.device}/{source.camera}",
        time_ns=source.time_ns,
        region=about.region,
        detections=[
            Detection.model_validate(
                {
                    "class": one.name,
                    "class_id": one.class_,
                    "confidence": one.confidence,
                    "box": one.box,
                    "track": one.track,
                    "previous": one.previous,
                }
            )
            for one in message.detections
        ],
    )
