from collections.abc import Iterator
from typing import Any

from pydantic import model_validator

from flowcore.node import In, Message, Node, NodeConfig, Out, Outputs, field
from flowcore_nodes.vision import shapes
from flowcore_nodes.vision.areas import Unit
from flowcore_nodes.vision.detections import Detections
from flowcore_nodes.vision.events import SECOND_NS, event_of
from flowcore_nodes.vision.zone_watch import Watched, ZoneWatch


class PersonInZone(Node):
    """Raise an alarm while somebody is in a zone: a machine's danger area, a closed room.

    `raised` comes once somebody has been in for `after_s`, `cleared` when nobody has been for `clear_s`; both are kept
    for each camera, over restarts. Made of the zone of `vision/zone`; needs tracked detections. Not a safety device.
    """

    type = "vision/person-in-zone"
    title = "Person in zone"
    category = "vision"
    icon = "shield-alert"
    stateful = True

    class Config(NodeConfig):
        zone: shapes.Zone = field(description="The zone")
        unit: Unit = field("percent", description="Of its corners: pixels, or percent of the frame")
        classes: list[str] = field(["person"], description="Who counts")
        anchor: shapes.Anchor = field("foot", description="Point of the box that counts: its centre, or foot")
        min_confidence: float = field(0.5, ge=0, le=1, description="Only detections as sure as that")
        after_s: float = field(0.0, ge=0, description="In the zone for so long until it is an alarm, in seconds")
        clear_s: float = field(2.0, ge=0, description="Nobody in it for so long until it is over, in seconds")
        frame: bool = field(True, description="Send the frame along with an alarm")

        @model_validator(mode="after")
        def _counts_somebody(self) -> "PersonInZone.Config":
            if not self.classes:
                raise ValueError("classes says who counts, such as person")
            return self

    in_ = In(Detections, "tracked detections")
    alarm = Out(dict, "event: raised or cleared; zone, source, count, tracks")
    present = Out(bool, "whether the alarm is raised; at each change")

    def on_message(self, message: Message) -> Iterator[Any]:
        seen: Detections = message.payload
        config = self.config
        saved = self.state.get(seen.source, {"watch": {}, "raised": False, "last_ns": 0})
        watched = Watched(
            config.anchor, tuple(config.classes), config.min_confidence, gone_s=max(config.clear_s, 0.001)
        )
        watch = ZoneWatch(watched, saved["watch"])
        name = config.zone.name
        watch.look(seen, {name: config.zone.pixels(config.unit, seen.width, seen.height)})
        inside = watch.occupancy(name)
        tracks = watch.state["tracks"]
        long = [
            track
            for track in inside
            if seen.time_ns - tracks[str(track)]["stays"][name]["since"] >= config.after_s * SECOND_NS
        ]
        raised, last_ns = saved["raised"], seen.time_ns if inside else saved["last_ns"]
        changed = None
        if long and not raised:
            changed = raised = True
        elif raised and not inside and seen.time_ns - last_ns >= config.clear_s * SECOND_NS:
            changed, raised = True, False
        self.state[seen.source] = {"watch": watch.state, "raised": raised, "last_ns": last_ns}
        if not changed:
            return
        kind = "raised" if raised else "cleared"
        self.set_status(f"{name}: {kind}" + (f", {len(inside)} in" if raised else ""), "error" if raised else "ok")
        whose = [one for one in seen.detections if one.track in long][:1]
        event = event_of(
            kind, seen, whose[0] if whose else None, config.frame, zone=name, count=len(inside), tracks=inside
        )
        yield Outputs(alarm=event)
        yield Outputs(present=raised)
