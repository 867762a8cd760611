from collections.abc import Iterator
from typing import Any

from pydantic import model_validator

from flowcore.node import In, Message, Node, NodeConfig, Out, Outputs, field
from flowcore_nodes.vision import shapes
from flowcore_nodes.vision.areas import Unit
from flowcore_nodes.vision.detections import Detections
from flowcore_nodes.vision.events import SECOND_NS, event_of, tracked
from flowcore_nodes.vision.geometry import crossing
from flowcore_nodes.vision.shapes import Anchor, anchor_of, check_names


class Line(Node):
    """Tell when tracked things cross lines, in which direction, and count them.

    `in` is from the left of a line to its right, looking from its start to its end. Detections without a track number
    are passed on and not counted. Counts and last places are kept for each camera, over restarts.
    """

    type = "vision/line"
    title = "Line"
    category = "vision"
    icon = "minus"
    stateful = True

    class Config(NodeConfig):
        lines: list[shapes.Line] = field(description="The lines")
        unit: Unit = field("percent", description="Of their points: pixels, or percent of the frame")
        anchor: Anchor = field("centre", description="Point of the box: its centre, or foot: where it stands")
        classes: list[str] = field([], description="Only these classes; none: all")
        forget_s: float = field(
            10.0, gt=0, le=86400, description="After so long out of sight a track's last place is forgotten, in seconds"
        )
        frame: bool = field(False, description="Send the frame along with each event")

        @model_validator(mode="after")
        def _have_names(self) -> "Line.Config":
            check_names(self.lines, "line")
            return self

    in_ = In(Detections, "tracked detections")
    event = Out(dict, "event: cross; line, direction (in or out), track, class, box, counts ...")
    out = Out(Detections, "what came in, with `lines`: in and out of each")

    def on_message(self, message: Message) -> Iterator[Any]:
        seen: Detections = message.payload
        places: dict[str, list] = dict(self.state.get(f"places/{seen.source}", {}))
        counts: dict[str, dict[str, int]] = {
            line.name: dict(self.state.get(f"counts/{seen.source}", {}).get(line.name, {"in": 0, "out": 0}))
            for line in self.config.lines
        }
        lines = {line.name: line.pixels(self.config.unit, seen.width, seen.height) for line in self.config.lines}
        events = []
        for one in tracked(seen):
            if self.config.classes and one.class_ not in self.config.classes:
                continue
            now, before = anchor_of(one, self.config.anchor), places.get(str(one.track))
            places[str(one.track)] = [*now, seen.time_ns]
            if before is None:
                continue
            for name, (start, end) in lines.items():
                if direction := crossing(start, end, before[:2], now):
                    counts[name][direction] += 1
                    more = {"line": name, "direction": direction, "counts": dict(counts[name])}
                    events.append(event_of("cross", seen, one, self.config.frame, **more))
        oldest_ns = seen.time_ns - self.config.forget_s * SECOND_NS
        self.state[f"places/{seen.source}"] = {track: at for track, at in places.items() if at[2] >= oldest_ns}
        if events or f"counts/{seen.source}" not in self.state:
            self.state[f"counts/{seen.source}"] = counts
            self.set_status(", ".join(f"{name}: {one['in']} in, {one['out']} out" for name, one in counts.items()))
        for event in events:
            yield Outputs(event=event)
        yield Outputs(out=seen.model_copy(update={"lines": {**(seen.model_extra or {}).get("lines", {}), **counts}}))
