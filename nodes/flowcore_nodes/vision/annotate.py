from collections import OrderedDict, deque
from typing import Any, Literal

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Tensor, field
from flowcore_nodes.vision import shapes
from flowcore_nodes.vision.areas import Unit
from flowcore_nodes.vision.detections import Detection, Detections

_TRACES = 500  # tracks that are remembered


class Annotate(Node):
    """Draw detections into their frame: boxes, labels, traces, lines, zones and counts.

    The frame that came stays as it is. Counts of lines and zones are those that `vision/line` and `vision/zone` put
    into what they pass on.
    """

    type = "vision/annotate"
    title = "Annotate"
    category = "vision"
    icon = "pen-tool"
    needs = ("cv2",)
    install = "pip install 'flowcore[vision]'"

    class Config(NodeConfig):
        boxes: bool = field(True, description="Draw boxes")
        label: str = field(
            "{class} {confidence:.0%} {track}", description="Text at a box; of class, confidence, track; empty: none"
        )
        trace: int = field(0, ge=0, le=1000, description="Frames over which a track's way is drawn; 0: not")
        colour: Literal["class", "track"] = field("class", description="What has a colour of its own")
        lines: list[shapes.Line] = field([], description="Lines that are drawn, as in vision/line")
        zones: list[shapes.Zone] = field([], description="Zones that are drawn, as in vision/zone")
        unit: Unit = field("percent", description="Of their points: pixels, or percent of the frame")
        counts: bool = field(True, description="Write the counts of lines and zones to them")

    in_ = In(Detections, "with their frame")
    out = Out("frame", "a copy, drawn on")

    def on_start(self) -> None:
        try:
            self._text(Detection.model_validate({"class": "a", "box": (0, 0, 1, 1), "track": 1}))
        except (LookupError, ValueError, AttributeError) as e:
            raise ValueError(f"label {self.config.label!r} is no text to fill in: {e}") from None
        self._traces: OrderedDict[tuple[str, int], deque] = OrderedDict()

    def on_message(self, message: Message) -> Any:
        from flowcore_nodes.vision.images import drawing

        seen: Detections = message.payload
        if not isinstance(seen.frame, Tensor):
            raise GiveUp("these detections come without their frame")
        image = seen.frame.copy() if seen.frame.device != "cpu" else seen.frame.numpy()
        height, width = image.shape[:2]
        made = self.alloc((height, width, 3))
        canvas = made.numpy()
        canvas[...] = image[..., None] if len(image.shape) == 2 else image[..., :3]
        self._draw_shapes(drawing, canvas, seen)
        for one in seen.detections:
            by_track = self.config.colour == "track" and one.track is not None
            colour = drawing.colour_of(one.track if by_track and one.track is not None else one.class_id)
            if self.config.trace and one.track is not None:
                drawing.trace(canvas, self._trace(seen.source, one), colour)
            if self.config.boxes:
                drawing.box(canvas, one.box, colour)
            if text := self._text(one):
                drawing.label(canvas, text, one.box[0], one.box[1], colour)
        about = {key: getattr(seen, key) for key in ("number", "source", "time_ns", "width", "height", "region")}
        return message.derive(made, meta={**message.meta, **about})

    def _draw_shapes(self, drawing: Any, canvas: Any, seen: Detections) -> None:
        counted = (seen.model_extra or {}) if self.config.counts else {}
        height, width = canvas.shape[:2]
        for zone in self.config.zones:
            corners, colour = zone.pixels(self.config.unit, width, height), drawing.colour_of(3)
            drawing.zone(canvas, corners, colour)
            count = counted.get("zones", {}).get(zone.name)
            text = zone.name if count is None else f"{zone.name}: {count['count']}"
            drawing.label(canvas, text, *min(corners, key=lambda corner: (corner[1], corner[0])), colour)
        for line in self.config.lines:
            (start, end), colour = line.pixels(self.config.unit, width, height), drawing.colour_of(2)
            drawing.line(canvas, start, end, colour)
            count = counted.get("lines", {}).get(line.name)
            text = line.name if count is None else f"{line.name}: {count['in']} in, {count['out']} out"
            drawing.label(canvas, text, start[0], start[1], colour)

    def _text(self, one: Detection) -> str:
        track = "" if one.track is None else f"#{one.track}"
        return self.config.label.format(**{"class": one.class_, "confidence": one.confidence, "track": track}).strip()

    def _trace(self, source: str, one: Detection) -> list:
        assert one.track is not None
        key = (source, one.track)
        places = self._traces.setdefault(key, deque(maxlen=self.config.trace))
        self._traces.move_to_end(key)
        places.append(one.centre)
        if len(self._traces) > _TRACES:
            self._traces.popitem(last=False)
        return list(places)
