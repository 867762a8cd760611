"""Cameras, frames and what is seen on them."""

from flowcore.node import Node, hookimpl


@hookimpl
def flowcore_node_types() -> list[type[Node]]:
    """The node types of this folder."""
    from flowcore_nodes.vision.annotate import Annotate
    from flowcore_nodes.vision.blur import Blur
    from flowcore_nodes.vision.camera import Camera
    from flowcore_nodes.vision.colour import Colour
    from flowcore_nodes.vision.crop import Crop
    from flowcore_nodes.vision.decode import Decode
    from flowcore_nodes.vision.encode import Encode
    from flowcore_nodes.vision.from_message import FromMessage
    from flowcore_nodes.vision.jpeg_frames import JpegFrames
    from flowcore_nodes.vision.letterbox import Letterbox
    from flowcore_nodes.vision.line import Line
    from flowcore_nodes.vision.motion import Motion
    from flowcore_nodes.vision.normalise import Normalise
    from flowcore_nodes.vision.people import People
    from flowcore_nodes.vision.person_in_zone import PersonInZone
    from flowcore_nodes.vision.record import Record
    from flowcore_nodes.vision.resize import Resize
    from flowcore_nodes.vision.rotate import Rotate
    from flowcore_nodes.vision.rules import Rules
    from flowcore_nodes.vision.snapshot_archive import SnapshotArchive
    from flowcore_nodes.vision.to_message import ToMessage
    from flowcore_nodes.vision.tracker import Tracker
    from flowcore_nodes.vision.zone import Zone

    return [
        Annotate,
        Blur,
        Camera,
        Colour,
        Crop,
        Decode,
        Encode,
        FromMessage,
        JpegFrames,
        Letterbox,
        Line,
        Motion,
        Normalise,
        People,
        PersonInZone,
        Record,
        Resize,
        Rotate,
        Rules,
        SnapshotArchive,
        ToMessage,
        Tracker,
        Zone,
    ]
