from collections.abc import Iterator
from typing import Any

from pydantic import model_validator

from flowcore.node import In, Message, Node, NodeConfig, Out, Outputs, field
from flowcore_nodes.vision import shapes
from flowcore_nodes.vision.areas import Unit
from flowcore_nodes.vision.detections import Detections
from flowcore_nodes.vision.zone_watch import Watched, ZoneWatch


class Zone(Node):
    """Tell when tracked things enter and leave zones, how long they stay, how fast they are, and how many are in.

    Events are `enter`, `exit` (with `dwell_s`, and `reason`: left, or gone when it was not seen for `gone_s`), `loiter`
    and `speed`, each once for a stay, all with `occupancy`. Times are those of the frames. Who is in is kept for each
    camera, over restarts.
    """

    type = "vision/zone"
    title = "Zone"
    category = "vision"
    icon = "pentagon"
    stateful = True

    class Config(NodeConfig):
        zones: list[shapes.Zone] = field(description="The zones")
        unit: Unit = field("percent", description="Of their corners: pixels, or percent of the frame")
        anchor: shapes.Anchor = field(
            "foot", description="Point of the box that counts: its centre, or foot: where it stands"
        )
        classes: list[str] = field([], description="Only these classes; none: all")
        min_confidence: float = field(0.0, ge=0, le=1, description="Only detections as sure as that")
        loiter_s: float | None = field(None, gt=0, description="A stay of so long is told, in seconds; none: never")
        speed_limit: float | None = field(None, gt=0, description="More is told, in units a second; none: never")
        units_per_pixel: float = field(1.0, gt=0, description="Of speeds: 0.02 where a pixel is 2 cm, for metres")
        gone_s: float = field(2.0, gt=0, le=86400, description="Not seen for so long it has left, in seconds")
        frame: bool = field(False, description="Send the frame along with each event")

        @model_validator(mode="after")
        def _have_names(self) -> "Zone.Config":
            shapes.check_names(self.zones, "zone")
            return self

    in_ = In(Detections, "tracked detections")
    event = Out(dict, "event: enter, exit, loiter or speed; zone, track, class, occupancy, dwell_s ...")
    out = Out(Detections, "what came in, with `zones`: count and tracks of each")

    def on_start(self) -> None:
        config = self.config
        self._watched = Watched(
            config.anchor,
            tuple(config.classes),
            config.min_confidence,
            config.loiter_s,
            config.speed_limit,
            config.units_per_pixel,
            config.gone_s,
            config.frame,
        )

    def on_message(self, message: Message) -> Iterator[Any]:
        seen: Detections = message.payload
        watch = ZoneWatch(self._watched, self.state.get(seen.source, {}))
        zones = {zone.name: zone.pixels(self.config.unit, seen.width, seen.height) for zone in self.config.zones}
        events = watch.look(seen, zones)
        self.state[seen.source] = watch.state
        inside = {name: watch.occupancy(name) for name in zones}
        if events:
            self.set_status(", ".join(f"{name}: {len(tracks)} in" for name, tracks in inside.items()))
        for event in events:
            yield Outputs(event=event)
        found = {name: {"count": len(tracks), "tracks": tracks} for name, tracks in inside.items()}
        yield Outputs(out=seen.model_copy(update={"zones": {**(seen.model_extra or {}).get("zones", {}), **found}}))
