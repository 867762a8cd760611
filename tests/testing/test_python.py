"""The fixture `flow`: a flow under test in Python."""

from pathlib import Path

import pytest

FLOWS = Path(__file__).parents[2] / "flows"
OUTSIDE = {"sensors": "source", "actuators": "sink", "events": "sink", "belt": "source"}


def reading(machine="oven", temp_c=40.0):
    """What a machine reports."""
    return {"machine": machine, "temp_c": temp_c, "vibration_mm_s": 2, "air_ug_m3": 9}


def test_a_hot_oven_is_cooled_once(flow):
    """Put in, let time go, kill, look: as in a file."""
    factory = flow(FLOWS / "factory.json", env={"LIMIT_C": 50, "CLEAR_C": 45, "WINDOW_S": 10}, stubs=OUTSIDE)
    began_s = factory.now_s
    factory.put("sensors.out", reading(temp_c=60), reading(temp_c=80), topic="sensors/oven/env")
    average = factory.expect("average.out", has={"avg": {"$about": 70}}, within_s=10)
    assert average.payload["count"] == 2 and factory.now_s == began_s + 10
    assert factory.expect("actuators.in", True).topic == "actuators/oven/cooling"
    factory.kill("hot")
    factory.put("sensors.out", reading(temp_c=90))
    factory.expect_none("actuators.in", within_s=60)
    assert [alarm["state"] for alarm in factory.payloads("hot.out -> command.in")] == ["raised"]


ASK = {"script": "return env['token']", "env": {"token": "${TOKEN}"}}
LINE = {
    "flowcore": 1,
    "id": "line",
    "env": {"TOKEN": "none"},
    "nodes": [
        {"id": "stations", "type": "subflow:station"},
        {"id": "ask", "type": "core/function", "config": ASK},
        {"id": "book", "type": "core/file-out", "config": {"path": "${TEST_DIR}/book.jsonl"}},
    ],
    "wires": [
        {"from": "stations.done", "to": "ask.in"},
        {"from": "ask.out", "to": "book.in", "delivery": "durable"},
    ],
    "subflows": {
        "station": {
            "inputs": {"part": ["press.in"]},
            "outputs": {"done": ["press.out"]},
            "nodes": [{"id": "press", "type": "core/function", "config": {"script": "return msg"}}],
        }
    },
}  # fmt: skip


def test_what_is_real_is_real(flow):
    """A node that reaches beyond the flow may: here it writes into the folder of the test, through a durable wire."""
    line = flow(LINE, env={"TOKEN": "abc"}, real=["book"])
    line.put("stations.part", 1)
    line.expect("stations.done", 1)
    line.expect("stations:press.in", 1)
    line.expect("ask.out", "abc")
    assert (line.folder / "book.jsonl").read_text() == '"abc"\n'


def test_a_node_inside_an_instance_is_stubbed_there(flow):
    """It answers by a list; when that is used up, that is an error."""
    line = flow(LINE, stubs={"stations:press": {"replies": ["a", "b"]}, "book": "sink"}, errors="allow")
    line.put("stations.part", 1, 2, 3)
    line.expect_messages("stations.done", {"payload": "a"}, {"payload": "b"})
    line.expect("stations:press.error", has={"text": {"$regex": "2 replies, and this is message 3"}})


def test_a_stub_for_an_instance(flow):
    """Of all its nodes at once."""
    line = flow(
        LINE,
        stubs={
            "stations": {"answers": [{"when": {"$above": 5}, "reply": "big"}], "otherwise": "small"},
            "book": "sink",
        },
    )
    line.put("stations.part", 3, 7)
    line.expect_messages("ask.in", {"payload": "big"}, {"payload": "small"}, unordered=True)


def test_an_error_that_nobody_expects_fails(flow, request):
    """At the end of the test, or with the next expectation."""
    line = flow(LINE, stubs={"stations:press": {"fails": 1, "error": "jammed"}, "book": "sink"}, errors="allow")
    line.put("stations.part", 1)
    with pytest.raises(AssertionError, match="stations:press failed: StubFailed: jammed"):
        line.expect("book.in")


def test_what_cannot_be_is_said(flow):
    """Places that are not there, nodes that reach beyond the flow, stubs of what is not there."""
    from flowcore.testing.trial import NotRunnable

    with pytest.raises(NotRunnable, match=r"node 'book' \(core/file-out\) reaches beyond the flow: stub it"):
        flow(LINE)
    with pytest.raises(NotRunnable, match=r"no node 'bok'; did you mean 'book'\?"):
        flow(LINE, stubs={"bok": "sink"}, real=["book"])
    line = flow(LINE, stubs={"book": "sink"})
    with pytest.raises(NotRunnable, match="'out' is an output of 'ask', which is no stub"):
        line.put("ask.out", 1)
    with pytest.raises(NotRunnable, match=r"node 'ask' has no port 'uot'; did you mean 'out'\?"):
        line.expect("ask.uot")


def test_real_time_goes_by_itself(flow):
    """An expectation waits for it."""
    hello = flow(FLOWS / "hello.json", clock="real")
    hello.expect("show.debug", has={"value": "hello world, for the 1. time"})


def test_a_window_at_a_time_of_day(flow):
    """The clock begins where a case says."""
    ticks = {
        "flowcore": 1,
        "id": "ticks",
        "nodes": [{"id": "tick", "type": "core/inject", "config": {"kind": "now", "cron": "0 6 * * *"}}],
    }
    daily = flow(ticks, begins="2026-03-01T05:59:00Z")
    daily.expect_none("tick.out", within_s=59)
    daily.expect("tick.out", {"$regex": "T06:00:00"}, within_s=1)
