from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Outputs, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.due import EARLY_S, Due
from flowcore_nodes.core.event_time import EventTime, TimeUnit
from flowcore_nodes.core.geofencing import (
    Area,
    AreaConfig,
    Crossing,
    Known,
    Position,
    area_of,
    areas_of_file,
    check_position,
    dwell_due_s,
    dwelt,
    judge,
)
from flowcore_nodes.core.path_fields import ReadPath, ReadPathOrEmpty


class Geofence(Node):
    """Tell when a thing enters an area on the earth, leaves it, or stays there.

    Areas are polygons, GeoJSON or circles; things are told apart by a key. Each crossing is a map on `out`, again on
    `enter`, `exit` or `dwell`, and a line in the log. `position` passes each message on, with the names of the areas it
    is in as `meta.areas`. Where things are survives restarts. With the time in the message, a position older than the
    last one of its thing is counted and not judged, and dwelling is told at the next position; without it dwelling is
    told when its time has come. A position that is null (no fix) is counted.
    """

    type = "core/geofence"
    title = "Geofence"
    category = "function"
    icon = "map-pinned"
    needs = ("shapely",)
    install = "pip install 'flowcore[geo]'"
    stateful = True

    class Config(NodeConfig):
        areas: list[AreaConfig] = field([], max_length=10_000, description="The areas")
        file: str = field(
            "",
            description="GeoJSON file with more areas: a feature each, its property name is the area's; a point with a "
            "property radius_m is a circle. Read when the node starts",
        )
        key: ReadPathOrEmpty = field("topic", description="Path of what tells things apart; empty: one thing")
        longitude: ReadPath = field("payload.lon", description="Path of the longitude, in degrees, east is positive")
        latitude: ReadPath = field("payload.lat", description="Path of the latitude, in degrees, north is positive")
        time: ReadPathOrEmpty = field(
            "", description="Path of when it was there: a number since 1970 or ISO 8601; empty: when the message came"
        )
        unit: TimeUnit = field("s", description="Unit of a time that is a number: s, ms, us or ns")
        margin_m: float = field(
            0.0, ge=0, le=1_000_000, description="A thing has left an area only when it is farther from it, in metres"
        )
        dwell_s: float = field(
            0.0, ge=0, le=31_536_000, description="After so long inside, in seconds, its dwelling is told; 0: never"
        )
        max_keys: int = field(10_000, gt=0, le=100_000, description="Most things that are known; more are an error")

        @model_validator(mode="after")
        def _names_differ(self) -> "Geofence.Config":
            if not self.areas and not self.file:
                raise ValueError("a geofence needs areas, or a file with areas")
            check_names(area.name for area in self.areas)
            return self

    in_ = In(description="where a thing is")
    out = Out(dict, "each crossing: event, thing, area, at_s, for_s (how long inside), longitude, latitude")
    enter = Out(dict, "only what entered")
    exit_ = Out(dict, "only what left")
    dwell = Out(dict, "only what stays")
    position = Out(description="the message as it came, with meta.areas")

    # self.state holds of each thing, by key: [label, what is known of it, longitude, latitude, topic]. Without a time
    # in the messages that is only needed of things that are inside of something.

    def on_start(self) -> None:
        self._due = Due(self, self._when_due)
        self._inside: set[str] = set()
        self._late = self._no_fix = 0
        self._read_config()

    def on_go(self) -> None:
        self._adopt()

    def on_reconfigure(self, old: Any) -> None:
        self._read_config()
        self._adopt()

    def _read_config(self) -> None:
        config = self.config
        self._areas: list[Area] = [area_of(area) for area in config.areas]
        if config.file:
            try:
                self._areas += areas_of_file(Path(config.file).read_bytes())
            except (OSError, ValueError) as e:
                raise ValueError(f"file {config.file}: {e}") from None
            check_names(area.name for area in self._areas)
        self._key = MessagePath(config.key).find if config.key else None
        self._longitude, self._latitude = MessagePath(config.longitude).find, MessagePath(config.latitude).find
        self._time = EventTime(config.time, config.unit) if config.time else None

    def _adopt(self) -> None:
        self._inside = {key for key, kept in self.state.items() if kept[1]["in"]}
        due = {}
        for key in self._inside if self._time is None else ():
            due_s = dwell_due_s(self.state[key][1], self.config.dwell_s)
            if due_s is not None:
                due[key] = due_s
        self._due.begin(due)
        self._show()

    def on_message(self, message: Message) -> Iterator[Outputs]:
        lon, lat = self._longitude(message), self._latitude(message)
        if lon is None and lat is None:
            self._no_fix += 1
            self._show()
            return
        try:
            check_position(lon, lat)
        except ValueError as e:
            raise GiveUp(str(e)) from None
        label = self._key(message, "") if self._key else ""
        key = label if type(label) is str else str(label)
        kept = self.state.get(key)
        known: Known | None = kept[1] if kept else None
        at_s = self._time.of(message) if self._time else self.now_s()
        if known is not None and at_s < known["at_s"]:
            if self._time:
                self._late += 1
                self._show()
                return
            at_s = known["at_s"]  # the machine's clock was put back
        if kept is None and len(self.state) >= self.config.max_keys:
            raise GiveUp(f"{key!r} would be thing {len(self.state) + 1}, max_keys is {self.config.max_keys}")
        now, crossings = judge(
            self._areas, known, (lon, lat), at_s, margin_m=self.config.margin_m, dwell_s=self.config.dwell_s
        )
        self._keep(key, [label, now, lon, lat, message.topic], is_news=bool(crossings))
        for crossing in crossings:
            yield self._told(crossing, label, (lon, lat), message)
        yield Outputs(position=message.derive(meta={**message.meta, "areas": list(now["in"])}))

    def _keep(self, key: str, kept: list, is_news: bool) -> None:
        known: Known = kept[1]
        if self._time is not None or (known["in"] and (is_news or key not in self.state)):
            self.state[key] = kept
        elif not known["in"]:
            self.state.pop(key, None)
        (self._inside.add if known["in"] else self._inside.discard)(key)
        due_s = dwell_due_s(known, self.config.dwell_s) if self._time is None else None
        if due_s is None:
            self._due.discard(key)
        else:
            self._due.add(key, due_s)
            self._due.arm()
        if is_news:
            self._show()

    async def _when_due(self) -> AsyncIterator[Outputs]:
        for key in self._due.take():
            kept = self.state.get(key)
            if kept is None:
                continue
            label, known, lon, lat, topic = kept
            now, crossings = dwelt(known, self.now_s() + EARLY_S, self.config.dwell_s)
            self._keep(key, [label, now, lon, lat, topic], is_news=True)
            for crossing in crossings:
                yield self._told(crossing, label, (lon, lat), Message(None, topic))

    def _told(self, crossing: Crossing, label: Any, at: Position, message: Message) -> Outputs:
        event = {
            "event": crossing.event, "thing": label, "area": crossing.area, "at_s": crossing.at_s,
            "for_s": crossing.for_s, "longitude": at[0], "latitude": at[1],
        }  # fmt: skip
        self.log.info(
            "%s thing=%s area=%s at_s=%.3f for_s=%.1f longitude=%.6f latitude=%.6f",
            crossing.event, label, crossing.area, crossing.at_s, crossing.for_s, *at,
        )  # fmt: skip
        made = message.derive(event)
        return Outputs({"out": made, crossing.event: made})

    def _show(self) -> None:
        text = f"{len(self._inside)} inside"
        text += f", {self._late} late" if self._late else ""
        text += f", {self._no_fix} without a fix" if self._no_fix else ""
        self.set_status(text)


def check_names(names: Iterable[str]) -> None:
    """Raises ValueError when an area's name is there twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"the area {name!r} is there twice")
        seen.add(name)
