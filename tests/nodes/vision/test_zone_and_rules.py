"""What zones say beside coming and going, what survives a restart, and what rules make of events."""

from datetime import UTC, datetime

import pytest
from flowcore_nodes.vision.line import Line
from flowcore_nodes.vision.person_in_zone import PersonInZone
from flowcore_nodes.vision.rules import Rules
from flowcore_nodes.vision.zone import Zone
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive

ROOM = {"name": "room", "rectangle": [25, 25, 50, 50]}


def seen(second: float, *tracks: tuple, source: str = "gate") -> dict:
    """Detections at a time; tracks: (number, x, y of the foot) in a frame of 200 x 100."""
    return {
        "width": 200,
        "height": 100,
        "number": int(second * 10),
        "time_ns": 1_000_000_000_000 + int(second * 1e9),
        "source": source,
        "detections": [
            {"class": "person", "confidence": 0.9, "track": track, "box": [x - 5, y - 20, x + 5, y]}
            for track, x, y in tracks
        ],
    }


def brief(events, *keys) -> list[tuple]:
    return [tuple(one.get(key) for key in ("event", *keys)) for one in events]


async def test_a_stay_is_measured_and_a_long_one_told_once():
    async with drive(Zone, zones=[ROOM], loiter_s=2) as node:
        await node.put(*(seen(t / 2, (1, 100, 50)) for t in range(8)), seen(4, (1, 10, 50)))
        events = await node.sent(port="event")
    assert brief(events, "dwell_s", "occupancy") == [("enter", None, 1), ("loiter", 2.0, 1), ("exit", 4.0, 0)]


async def test_who_vanishes_has_left_when_last_seen():
    """Another one may come meanwhile; the other camera's zone is another one."""
    async with drive(Zone, zones=[ROOM], gone_s=1) as node:
        await node.put(seen(0, (1, 100, 50)), seen(0, (1, 100, 50), source="yard"), seen(0.5, (1, 100, 50)))
        await node.put(seen(1.4), seen(2, (2, 90, 50)))
        events = await node.sent(port="event")
    assert brief(events, "track", "source", "reason", "dwell_s") == [
        ("enter", 1, "gate", None, None),
        ("enter", 1, "yard", None, None),
        ("enter", 2, "gate", None, None),
        ("exit", 1, "gate", "gone", 0.5),
    ]


async def test_speed_is_in_the_unit_that_is_set():
    """10 pixels each half second are 20 a second; a pixel is 5 cm."""
    async with drive(Zone, zones=[ROOM], units_per_pixel=0.05, speed_limit=0.9) as node:
        await node.put(*(seen(t / 2, (1, 60 + 10 * t, 50)) for t in range(6)))
        (enter, speed) = await node.sent(port="event")
    assert enter["event"] == "enter" and speed["event"] == "speed" and speed["speed"] == pytest.approx(1.0)


async def test_lines_and_zones_go_on_after_a_restart():
    store = {Zone: MemoryStore(), Line: MemoryStore()}
    line = {"name": "door", "start": [50, 0], "end": [50, 100]}
    events, config = [], {Zone: {"zones": [ROOM]}, Line: {"lines": [line], "anchor": "foot"}}
    for part in ([seen(0, (1, 90, 50))], [seen(1, (1, 110, 50))], [seen(2, (1, 190, 50)), seen(3, (1, 90, 50))]):
        for kind in (Zone, Line):
            async with drive(kind, store=store[kind], **config[kind]) as node:
                await node.put(*part)
                events += await node.sent(port="event")
                last = (await node.sent(port="out"))[-1]
    assert brief(events, "dwell_s", "direction") == [
        ("enter", None, None),
        ("cross", None, "out"),
        ("exit", 2.0, None),
        ("enter", None, None),
        ("cross", None, "in"),
    ]
    assert last["lines"] == {"door": {"in": 1, "out": 1}}


async def test_person_in_zone_raises_once_and_clears_once():
    """One second in it is allowed; a blink of the detector clears nothing; a restart neither."""
    store, alarms = MemoryStore(), []
    steps = [seen(t / 2, (1, 100, 50)) for t in range(5)] + [seen(2.5), seen(3, (1, 100, 50)), seen(4), seen(6)]
    for part in (steps[:4], steps[4:6], steps[6:]):
        async with drive(PersonInZone, store=store, zone=ROOM, after_s=1, clear_s=2) as node:
            await node.put(*part)
            alarms += await node.sent(port="alarm")
    assert brief(alarms, "count", "number") == [("raised", 1, 10), ("cleared", 0, 60)]


def event(hour: float, kind: str = "enter", day: int = 2, **more) -> dict:
    """Monday is the 2nd of June 2025."""
    at = datetime(2025, 6, day, int(hour), round(hour % 1 * 60), tzinfo=UTC)
    return {"event": kind, "class": "person", "zone": "room", "time_ns": int(at.timestamp() * 1e9), **more}


async def decided(config: dict, *events: dict, store=None) -> list[tuple]:
    async with drive(Rules, store=store, **config) as node:
        await node.put(*events)
        assert not node.errors, node.errors
        out = [(port, one["rule"]) for port in config.get("ports", ["alarm"]) for one in await node.sent(port=port)]
        return out + [("rest", one["event"]) for one in await node.sent(port="rest")]


@pytest.mark.parametrize(
    ("rule", "events", "hold"),
    [
        (
            {"events": ["exit"], "min_dwell_s": 5},
            [event(1), event(1, "exit", dwell_s=4), event(1, "exit", dwell_s=5)],
            [2],
        ),
        ({"classes": ["car"]}, [event(1), event(1) | {"class": "car"}], [1]),
        ({"zones": ["room"], "min_confidence": 0.5}, [event(1), event(1, confidence=0.6)], [1]),
        ({"lines": ["door"], "direction": "in"}, [event(1), event(1, line="door", direction="in")], [1]),
        ({"sources": ["yard"]}, [event(1, source="gate"), event(1, source="yard")], [1]),
        ({"begin": "22:00", "end": "06:00"}, [event(21.9), event(22), event(5.9), event(6)], [1, 2]),
        ({"begin": "08:00", "end": "12:00"}, [event(7.9), event(8), event(12)], [1]),
        # Sunday night from 22:00 belongs to Sunday until 06:00 on Monday
        ({"begin": "22:00", "end": "06:00", "days": ["sun"]}, [event(5), event(23), event(23, day=1)], [0, 2]),
    ],
)
async def test_a_rule_holds_for_what_it_says(rule, events, hold):
    found = await decided({"rules": [{"name": "r", **rule}]}, *events)
    assert found == [("alarm", "r")] * len(hold) + [
        ("rest", one["event"]) for k, one in enumerate(events) if k not in hold
    ]
    for k, one in enumerate(events):
        assert (await decided({"rules": [{"name": "r", **rule}]}, one) == [("alarm", "r")]) == (k in hold)


async def test_times_of_day_are_those_of_the_place():
    """05:30 in UTC is 07:30 in Berlin in summer."""
    config = {"rules": [{"name": "r", "begin": "07:00", "end": "08:00"}], "time_zone": "Europe/Berlin"}
    assert await decided(config, event(5.5)) == [("alarm", "r")]


async def test_a_cooldown_is_for_whom_it_is_set_and_survives_a_restart():
    config = {"rules": [{"name": "r", "cooldown_s": 600, "cooldown_for": "track"}]}
    store = MemoryStore()
    found = await decided(config, event(1, track=1), event(1.1, track=1), event(1.1, track=2), store=store)
    assert found == [("alarm", "r")] * 2
    assert await decided(config, event(1.15, track=1), store=store) == []
    assert await decided(config, event(1.2, track=1), store=store) == [("alarm", "r")]


async def test_rules_send_where_they_say():
    config = {
        "ports": ["mail", "log"],
        "rules": [{"name": "a", "to": ["mail", "log"], "severity": "critical"}, {"name": "b", "to": ["log"]}],
    }
    assert await decided(config, event(1)) == [("mail", "a"), ("log", "a"), ("log", "b")]


@pytest.mark.parametrize(
    ("node_class", "config", "says"),
    [
        (Rules, {"rules": [{"name": "r", "to": ["mail"]}]}, "sends to 'mail'; there are alarm"),
        (Rules, {"rules": [{"name": "r"}, {"name": "r"}]}, "two rules are called 'r'"),
        (Rules, {"rules": [{"name": "r", "begin": "25:00", "end": "1:00"}]}, "a time of day is 22:00"),
        (Rules, {"rules": [{"name": "r", "begin": "20:00"}]}, "begin or end alone"),
        (Rules, {"rules": [], "time_zone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        (Zone, {"zones": []}, "no zone is set"),
        (Zone, {"zones": [ROOM, ROOM]}, "two zones are called 'room'"),
        (Zone, {"zones": [{"name": "a"}]}, "a polygon or a rectangle"),
        (Zone, {"zones": [{"name": "a", "polygon": [[0, 0], [1, 1]]}]}, "three corners or more"),
        (Line, {"lines": [{"name": "a", "start": [1, 1], "end": [1, 1]}]}, "begins and ends at"),
        (PersonInZone, {"zone": ROOM, "classes": []}, "who counts"),
    ],
)
def test_what_makes_no_sense_is_refused(node_class, config, says):
    with pytest.raises(ValidationError, match=says):
        node_class.Config.model_validate(config)


async def test_what_is_no_event_is_given_up():
    async with drive(Rules, rules=[{"name": "r"}]) as node:
        await node.put({"temp_c": 20}, event(1))
        assert [error["text"] for error in node.errors] == ["no event: a map with `event`, as lines and zones send it"]
        assert len(await node.sent()) == 1
