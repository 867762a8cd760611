"""Who is in which zone since when, of one camera. Pure: fed with detections, gives events; its state is plain data.

enter    the anchor of a track is in a zone and was not on the frame before
exit     it is not any more, or was not seen for `gone_s`; says `dwell_s`
loiter   it has been in for `loiter_s`, once for each stay
speed    it is in and faster than `speed_limit`, once for each stay
"""

from dataclasses import dataclass
from typing import Any

from flowcore_nodes.vision.detections import Detection, Detections
from flowcore_nodes.vision.events import SECOND_NS, event_of, tracked
from flowcore_nodes.vision.geometry import contains, distance
from flowcore_nodes.vision.shapes import Anchor, anchor_of

_TRAIL_S = 1.0  # speed is measured over so long


@dataclass(frozen=True)
class Watched:
    """What is told. `units_per_pixel` turns pixels into the unit of speeds; zones: corners in pixels by name."""

    anchor: Anchor = "foot"
    classes: tuple[str, ...] = ()
    min_confidence: float = 0.0
    loiter_s: float | None = None
    speed_limit: float | None = None
    units_per_pixel: float = 1.0
    gone_s: float = 2.0
    with_frame: bool = False


class ZoneWatch:
    """The zones of one camera.

    Args:
        state: of an earlier one (`state`), or an empty map.

    Attributes:
        state: {"tracks": {track: {"trail": [[x, y, ns] ...], "stays": {zone: {"since", "loitered", "sped"}}, "class"}}}
    """

    def __init__(self, watched: Watched, state: dict[str, Any]) -> None:
        self._watched = watched
        self.state = {"tracks": {track: dict(one) for track, one in state.get("tracks", {}).items()}}

    def look(self, seen: Detections, zones: dict[str, list]) -> list[dict[str, Any]]:
        """What happened between the frame before and this one."""
        tracks, events = self.state["tracks"], []
        for one in tracked(seen):
            if self._watched.classes and one.class_ not in self._watched.classes:
                continue
            if one.confidence < self._watched.min_confidence:
                continue
            events += self._moved(seen, one, zones)
        gone_ns = seen.time_ns - self._watched.gone_s * SECOND_NS
        for track in [track for track, one in tracks.items() if one["trail"][-1][2] < gone_ns]:
            lost = tracks.pop(track)
            for zone, stay in lost["stays"].items():
                more = {"track": int(track), "class": lost["class"], "reason": "gone"}
                events.append(self._exit(seen, None, zone, stay, lost["trail"][-1][2], more))
        return events

    def occupancy(self, zone: str) -> list[int]:
        """The tracks that are in a zone."""
        return sorted(int(track) for track, one in self.state["tracks"].items() if zone in one["stays"])

    def _moved(self, seen: Detections, one: Detection, zones: dict[str, list]) -> list[dict[str, Any]]:
        now_ns, (x, y) = seen.time_ns, anchor_of(one, self._watched.anchor)
        known = self.state["tracks"].get(str(one.track), {"trail": [], "stays": {}})
        trail = [*known["trail"], [x, y, now_ns]]
        while len(trail) > 2 and trail[1][2] <= now_ns - _TRAIL_S * SECOND_NS:
            trail.pop(0)
        stays = {zone: dict(stay) for zone, stay in known["stays"].items() if zone in zones}
        self.state["tracks"][str(one.track)] = {"trail": trail, "stays": stays, "class": one.class_}
        speed, events = self._speed(trail), []
        for zone, corners in zones.items():
            if not contains(corners, (x, y)):
                if zone in stays:
                    events.append(self._exit(seen, one, zone, stays.pop(zone), now_ns, {"reason": "left"}))
                continue
            if zone not in stays:
                stays[zone] = {"since": now_ns, "loitered": False, "sped": False}
                events.append(self._event("enter", seen, one, zone, speed=speed))
            stay = stays[zone]
            dwell_s = (now_ns - stay["since"]) / SECOND_NS
            if self._watched.loiter_s is not None and dwell_s >= self._watched.loiter_s and not stay["loitered"]:
                stay["loitered"] = True
                events.append(self._event("loiter", seen, one, zone, dwell_s=dwell_s))
            limit = self._watched.speed_limit
            if limit is not None and speed is not None and speed > limit and not stay["sped"]:
                stay["sped"] = True
                events.append(self._event("speed", seen, one, zone, speed=speed, limit=limit))
        return events

    def _speed(self, trail: list) -> float | None:
        (x, y, then_ns), now = trail[0], trail[-1]
        seconds = (now[2] - then_ns) / SECOND_NS
        if seconds <= 0:
            return None
        return distance((x, y), now[:2]) / seconds * self._watched.units_per_pixel

    def _exit(self, seen: Detections, one: Detection | None, zone: str, stay: dict, end_ns: int, more: dict) -> dict:
        return self._event("exit", seen, one, zone, dwell_s=(end_ns - stay["since"]) / SECOND_NS, **more)

    def _event(self, kind: str, seen: Detections, one: Detection | None, zone: str, **more: Any) -> dict[str, Any]:
        more["occupancy"] = len(self.occupancy(zone))
        return event_of(kind, seen, one, self._watched.with_frame, zone=zone, **more)
