"""`core/geofence`: enter, exit and dwell of each thing, by the clock or by the time in the message; over restarts."""

import json
import logging

import pytest
from flowcore_nodes.core.geofence import Geofence
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive

DEPOT = {"name": "depot", "centre": [13.4, 52.5], "radius_m": 500}
YARD = {"name": "yard", "polygon": [[13.39, 52.49], [13.41, 52.49], [13.41, 52.51], [13.39, 52.51]]}
IN, OUT = {"lon": 13.4, "lat": 52.5}, {"lon": 13.5, "lat": 52.5}


def told(events):
    return [(one["event"], one["thing"], one["area"], round(one["for_s"])) for one in events]


async def test_crossings_of_each_thing_are_told_and_logged(caplog):
    async with drive(Geofence, areas=[DEPOT, YARD], dwell_s=60) as node:
        with caplog.at_level(logging.INFO):
            await node.put(OUT, IN, topic="truck-1")
            await node.put(IN, topic="truck-2")
            await node.advance(30)
            await node.put(IN, topic="truck-1")
            await node.advance(29)
            assert await node.sent(port="dwell") == []
            await node.advance(1)  # nothing came meanwhile
            await node.put(OUT, topic="truck-2")
        assert told(await node.sent(port="out")) == [
            ("enter", "truck-1", "depot", 0), ("enter", "truck-1", "yard", 0),
            ("enter", "truck-2", "depot", 0), ("enter", "truck-2", "yard", 0),
            ("dwell", "truck-1", "depot", 60), ("dwell", "truck-1", "yard", 60),
            ("dwell", "truck-2", "depot", 60), ("dwell", "truck-2", "yard", 60),
            ("exit", "truck-2", "depot", 60), ("exit", "truck-2", "yard", 60),
        ]  # fmt: skip
        assert len(await node.sent(port="exit")) == 2 and len(await node.sent(port="enter")) == 4
        assert (await node.sent(port="exit"))[0] | {"at_s": 0} == {
            "event": "exit", "thing": "truck-2", "area": "depot", "at_s": 0, "for_s": pytest.approx(60, abs=0.01),
            "longitude": 13.5, "latitude": 52.5,
        }  # fmt: skip
        places = [(m.topic, m.meta["areas"]) for m in node.messages("position")]
        assert places[0] == ("truck-1", []) and places[1] == ("truck-1", ["depot", "yard"])
        assert "exit thing=truck-2 area=depot" in caplog.text
        assert node.statuses[-1] == ("1 inside", "ok")


async def test_where_a_thing_is_survives_a_restart_and_dwelling_is_made_up_for():
    store = MemoryStore()
    async with drive(Geofence, store=store, areas=[DEPOT], dwell_s=60) as node:
        await node.put(IN, topic="a")
        await node.put(IN, topic="b")
        await node.put(OUT, topic="c")
        begun_s = node.node.now_s()
    async with drive(Geofence, store=store, areas=[DEPOT], dwell_s=60) as node:
        node.clock._now_s = begun_s + 40
        node.node.on_go()
        assert node.statuses[-1] == ("2 inside", "ok")
        await node.put(OUT, topic="b")
        await node.advance(19)
        assert told(await node.sent(port="out")) == [("exit", "b", "depot", 40)]
        await node.advance(1)
        await node.put(IN, topic="a")
        assert told(await node.sent(port="out"))[1:] == [("dwell", "a", "depot", 60)]


async def test_the_time_in_the_message_counts_and_late_positions_do_not():
    config = {
        "areas": [DEPOT],
        "dwell_s": 60,
        "time": "at",
        "key": "truck",
        "longitude": "pos[0]",
        "latitude": "pos[1]",
    }
    inside, outside = [13.4, 52.5], [13.5, 52.5]
    store = MemoryStore()
    async with drive(Geofence, store=store, **config) as node:
        await node.put({"truck": 7, "at": "2026-03-01T10:00:00+00:00", "pos": inside})
        await node.advance(1000)
        await node.put({"truck": 7, "at": "2026-03-01T09:59:00Z", "pos": outside})  # on its way for long
        assert told(await node.sent(port="out")) == [("enter", 7, "depot", 0)]
    async with drive(Geofence, store=store, **config) as node:
        await node.put({"truck": 7, "at": "2026-03-01T09:59:30", "pos": outside})
        assert node.statuses[-1] == ("1 inside, 1 late", "ok")
        await node.put({"truck": 7, "at": 1772359260, "pos": inside}, {"truck": 7, "at": 1772359290, "pos": outside})
        assert told(await node.sent(port="out")) == [("dwell", 7, "depot", 60), ("exit", 7, "depot", 90)]


async def test_what_is_no_position_is_an_error_and_no_fix_is_none():
    async with drive(Geofence, areas=[DEPOT], max_keys=1) as node:
        await node.put({"lon": 13.4, "lat": "52.5"}, {"lon": 13.4, "lat": 152.5}, "here", {"lon": True, "lat": 1})
        await node.put({"lon": None, "lat": None}, {"lon": 13.4})
        texts = [error["text"] for error in node.errors]
        assert "latitude must be a number in degrees, got '52.5'" in texts[0]
        assert "latitude is 152.5" in texts[1] and "exchanged" in texts[1]
        assert "longitude must be a number" in texts[2] and "latitude must be a number" in texts[3]
        assert node.statuses[-1] == ("0 inside, 2 without a fix", "ok")
        await node.put(IN, topic="a")
        await node.put(IN, topic="b")
        assert "max_keys is 1" in node.errors[-1]["text"]


async def test_areas_come_from_a_file_and_change_live(tmp_path):
    path = tmp_path / "areas.geojson"
    point = {"type": "Point", "coordinates": [13.5, 52.5]}
    feature = {"type": "Feature", "properties": {"name": "shop", "radius_m": 50}, "geometry": point}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    async with drive(Geofence, areas=[DEPOT], file=str(path)) as node:
        await node.put(IN, OUT)
        assert told(await node.sent(port="out"))[1:] == [("exit", "", "depot", 0), ("enter", "", "shop", 0)]
        await node.reconfigure(areas=[YARD], file="")
        await node.put(OUT, IN)
        assert told(await node.sent(port="out"))[3:] == [("enter", "", "yard", 0)]
    for text, why in (("{", "Expecting"), ("[]", "a FeatureCollection"), (None, "No such file")):
        path.write_text(text) if text else path.unlink()
        with pytest.raises(ValueError, match=f"areas.geojson: .*{why}"):
            async with drive(Geofence, file=str(path)):
                pass


def test_what_can_not_be_judged_is_refused():
    for config, text in (({}, "needs areas"), ({"areas": [DEPOT, DEPOT]}, "'depot' is there twice")):
        with pytest.raises(ValidationError, match=text):
            Geofence.Config(**config)
