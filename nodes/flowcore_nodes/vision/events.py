"""What lines and zones say: one map for each event, made of a detection and the frame it was on."""

from typing import Any

from flowcore_nodes.vision.detections import Detection, Detections

SECOND_NS = 1_000_000_000


def event_of(kind: str, seen: Detections, one: Detection | None, with_frame: bool, **more: Any) -> dict[str, Any]:
    """An event.

    Args:
        kind: "cross", "enter", "exit", "loiter", "speed" ...
        one: what did it; None: nothing that is still there.
        more: what this kind says beside.
    """
    event: dict[str, Any] = {"event": kind, "source": seen.source, "number": seen.number, "time_ns": seen.time_ns}
    if one is not None:
        event |= {"track": one.track, "class": one.class_, "confidence": one.confidence, "box": list(one.box)}
    event |= more
    if with_frame and seen.frame is not None:
        event["frame"] = seen.frame
    return event


def tracked(seen: Detections) -> list[Detection]:
    """The detections that have a number of a tracker: of others nobody knows where they were before."""
    return [one for one in seen.detections if one.track is not None]
