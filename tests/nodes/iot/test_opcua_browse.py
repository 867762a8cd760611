"""OPC UA browse against asyncua's server, which here takes little at once, has a cycle, and is killed and stopped."""

import os
import signal

import pytest

pytest.importorskip("asyncua")

from flowcore_nodes.iot.opcua_browse import OpcuaBrowse
from flowcore_nodes.iot.opcua_read import OpcuaRead
from flowcore_nodes.iot.opcua_subscribe import OpcuaSubscribe
from flowcore_nodes.iot.opcua_write import OpcuaWrite

from flowcore.node.testing import drive
from tests.nodes.iot.opcua_process import LINE, PEER, Server

CELL = LINE + "cell"
JOINTS = [f"Robot{robot}/Joint{joint}" for robot in (1, 2, 3) for joint in range(1, 11)]
BOUNDED = [
    ({"what": "objects"}, ["Robot1", "Robot2", "Robot3"]),
    ({"what": "methods"}, ["Robot1/Reset"]),
    ({"what": "variables"}, [*JOINTS[:20], "Robot2/Run", "Robot3/Hidden", *JOINTS[20:]]),
    ({"match": "joint1?"}, ["Robot1/Joint10", "Robot2/Joint10", "Robot3/Joint10"]),
    ({"match": "robot[23]/*1"}, ["Robot2/Joint1", "Robot3/Joint1"]),
    ({"match": "running*"}, ["Robot2/Run"]),  # as it is displayed
    ({"match": "nothing"}, []),
    ({"properties": True, "match": "*unit*"}, ["Robot1/Joint1/EngineeringUnits"]),
    ({"depth": 1}, ["Robot1", "Robot2", "Robot3"]),
    ({"most": 5}, ["Robot1", "Robot1/Joint1", "Robot1/Joint2", "Robot2", "Robot3"]),
]


@pytest.fixture(scope="module")
def server():
    """One for all tests, which leave it running: it takes seconds to start."""
    made = Server()
    yield made
    made.kill()


def at(server: Server, **more) -> dict:
    """The config of a node."""
    return {"server": {"url": server.url, "timeout_s": 0.5, **more}}


async def browsed(server: Server, **config) -> dict:
    """What one message brings."""
    async with drive(OpcuaBrowse, **at(server), **config) as node:
        await node.put("now")
        assert node.errors == []
        (found,) = await node.sent()
        return found


async def test_everything_is_listed_once_whatever_the_server_takes_at_once(server):
    """Around a cycle, by continuation points, of which there are too few, and in answers as small as it makes them."""
    found = await browsed(server)
    assert (found["cut"], found["deeper"], "errors" in found) == (False, 0, False)
    by_path = {one["path"]: one for one in found["nodes"]}
    ours = [path for path in by_path if path.startswith("Cell/")]
    robots = [f"Robot{n}" for n in (1, 2, 3)]
    assert {*ours} == {f"Cell/{path}" for path in (*robots, *JOINTS, "Robot1/Reset", "Robot2/Run", "Robot3/Hidden")}
    assert len(found["nodes"]) == len(by_path) == len({one["node"] for one in found["nodes"]})
    assert by_path["Server"] == {"path": "Server", "node": "i=2253", "class": "Object", "name": "Server"}
    assert not [path for path in by_path if path.startswith("Server/")]
    speed = {"path": "Line/speed", "node": LINE + "speed", "class": "Variable", "name": "speed", "type": "Double"}
    assert by_path["Line/speed"] == {**speed, "readable": True, "writable": True, "value": 1.5}
    assert by_path["Line/points"]["type"] == "Double[]" and by_path["Line/points"]["value"] == [1.0, 2.0]
    assert by_path["Line/locked"]["writable"] is False and by_path["Line/since"]["type"] == "DateTime"
    broken = by_path["Line/broken"]
    assert (broken["value"], broken["status"]) == (None, "BadSensorFailure")
    assert by_path["Cell/Robot2/Run"] == {
        "path": "Cell/Robot2/Run", "node": LINE + "run;1", "class": "Variable", "name": "Run", "type": "State",
        "display_name": "Running?", "description": "0 idle, 1 runs", "readable": True, "writable": False, "value": 1,
    }  # fmt: skip
    assert [(path, one["unit"]) for path, one in by_path.items() if "unit" in one] == [("Cell/Robot1/Joint1", "°")]
    hidden = by_path["Cell/Robot3/Hidden"]
    assert (hidden["readable"], hidden["description"]) == (False, "W\N{REPLACEMENT CHARACTER}rme")


async def test_what_is_found_can_be_read_watched_and_written(server):
    """`output: values` is what the others take; names that occur twice become paths."""
    found = (await browsed(server, output="values"))["values"]
    names = [one["name"] for one in found]
    assert {"speed", "Run", "Cell/Robot1/Joint1", "Cell/Robot3/Joint10"} < {*names} and "Hidden" not in names
    for node_class in (OpcuaSubscribe, OpcuaWrite):
        node_class.Config(values=found)
    for group in (found[at : at + 15] for at in range(0, len(found), 15)):
        async with drive(OpcuaRead, **at(server), values=group, every_s=0) as node:
            await node.put("now")
            (read,) = node.messages()
            assert {*read.payload} == {one["name"] for one in group} - {"broken"}


async def test_less_is_listed_where_less_is_wanted(server):
    """By class, by name, by path, not deeper, not more; where it is cut, it says so."""
    for config, paths in BOUNDED:
        found = await browsed(server, under=CELL, values=False, **config)
        assert [one["path"] for one in found["nodes"]] == paths, config
        assert (found["cut"], found["deeper"]) == ("most" in config, 3 if "depth" in config else 0), config
        assert not [one for one in found["nodes"] if "value" in one]


@pytest.mark.survives("iot/opcua-browse", PEER, "malformed data")
async def test_a_message_says_where_to_look_and_a_wrong_one_harms_no_other(server):
    dynamic = {"under": {"$message": "payload.under"}, "match": {"$message": "topic"}}
    wrong = {
        "no node id": "Cell", "a text is needed, got int": 7, "has no namespace": "nsu=urn:other;i=1",
        f"does not show {LINE}none: BadNodeId": LINE + "none", "at most": "i=9999999999",
    }  # fmt: skip
    async with drive(OpcuaBrowse, **at(server), **dynamic, what="objects") as node:
        await node.put(*({"under": under} for under in wrong.values()), {}, {"under": CELL}, topic="*3")
        assert [error["error"] for error in node.errors] == ["GiveUp"] * len(wrong) + ["LookupError"]
        for error, why in zip(node.errors, [*wrong, "'under'"], strict=True):
            assert why in error["text"]
        assert [[one["name"] for one in found["nodes"]] for found in await node.sent()] == [["Robot3"]]


@pytest.mark.survives("iot/opcua-browse", PEER, "peer restart", "slow peer", "wrong password")
async def test_a_server_that_is_away_or_refuses_us_is_an_error_of_the_message(server):
    """And it is tried again as the setting `retry` says; the next message finds it back."""
    async with drive(OpcuaBrowse, **at(server)) as node:
        os.kill(server.process.pid, signal.SIGSTOP)
        await node.put("now")
        os.kill(server.process.pid, signal.SIGCONT)
        assert [error["text"] for error in node.errors] == [f"{server.url}: no answer within 0.5 s"]
        server.kill()
        await node.put("now")
        assert node.errors[1]["error"] == "ConnectionError" and node.statuses[-1][1] == "error"
        server.start()
        await node.put("now")
        assert len(await node.sent()) == 1 and node.statuses[-1][1] == "ok"
    again = {"retry": {"times": 2, "backoff_s": 0}}
    async with drive(OpcuaBrowse, **at(server, user="plant", password="wrong"), settings=again) as node:
        await node.put("now")
        assert "BadUserAccessDenied" in node.errors[-1]["text"] and node.errors[-1]["tries"] == 3
        assert node.messages() == []


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"under": "Objects"}, "no node id"),
        ({"under": ""}, "no node id"),
        ({"depth": 0}, "greater than or equal to 1"),
        ({"most": 0}, "greater than or equal to 1"),
        ({"what": "types"}, "'all', 'variables'"),
        ({"what": "objects", "output": "values"}, "variables"),
        ({"server": {"url": "http://x"}}, "opc.tcp://host:port"),
    ],
)
async def test_wrong_settings_are_refused(config, why):
    with pytest.raises(ValueError, match=why):
        async with drive(OpcuaBrowse, **config):
            pass
