"""Nodes tried on a sample: what comes out, and that nothing leaves the flow or disturbs the one that runs."""

import asyncio
import time

import psutil
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

FLOW = {
    "flowcore": 1,
    "id": "ticks",
    "nodes": [
        {
            "id": "feed",
            "type": "iot/mqtt-in",
            "config": {"broker": {"url": "mqtt://127.0.0.1:1", "password": {"$secret": "plant"}}, "topic": "a/+"},
        },
        {"id": "add", "type": "core/function", "config": {"script": "msg.payload = msg.payload + 1\nreturn msg"}},
        {"id": "bad", "type": "core/function", "config": {"script": "raise ValueError('no good')"}},
        {"id": "ask", "type": "core/nats-request", "config": {"subject": "a.b"}},
        {"id": "late", "type": "core/trigger", "config": {"seconds": 5}},
        {"id": "show", "type": "core/debug"},
    ],
    "wires": [
        {"from": "feed.out", "to": "add.in"},
        {"from": "add.out", "to": "bad.in"},
        {"from": "add.out", "to": "ask.in"},
        {"from": "ask.out", "to": "show.in"},
    ],
}


async def tried(http, status=200, **ask):
    """What a try answers."""
    answer = await http.post("/api/try", json={"document": FLOW, **ask})
    assert answer.status == status, await answer.text()
    return await answer.json()


def places(answer):
    """Kind and place of each output, with its payload."""
    return [(one["kind"], f"{one['node']}.{one['port']}".rstrip("."), one["payload"]) for one in answer["outputs"]]


async def test_each_output_comes_with_its_time_and_nothing_leaves_the_flow(runtime):
    async with runtime.program() as http:
        before = (await (await http.get("/api/status")).json())["flows"]
        answer = await tried(http, put="feed.out", payload=20, answers={"ask": {"temp_c": 7}}, topic="a/oven")
        assert answer["outcome"] == "done", answer
        assert ("out", "add.out", 21) in places(answer)
        assert ("withheld", "ask.in", 21) in places(answer)
        assert ("debug", "show", {"temp_c": 7}) in places(answer)
        assert all(0 < one["ms"] <= one["at_ms"] for one in answer["outputs"])
        (error,) = answer["errors"]
        assert error["node"] == "bad" and "no good" in error["text"] and "no good" in error["traceback"]
        assert any("feed (iot/mqtt-in)" in note for note in answer["notes"])
        after = (await (await http.get("/api/status")).json())["flows"]
        assert [node["pid"] for node in after[0]["nodes"]] == [node["pid"] for node in before[0]["nodes"]]


async def test_a_selection_runs_alone_and_time_goes_on_as_far_as_one_says(runtime):
    async with runtime.program() as http:
        assert places(await tried(http, nodes=["add"], put="add.in", payload=1)) == [("out", "add.out", 2)]
        short = await tried(http, nodes=["late"], put="late.in", payload=1)
        assert any("late has something to do in 5 s" in note for note in short["notes"])
        begun_s = time.monotonic()
        longer = await tried(http, nodes=["late"], put="late.in", payload=1, seconds=3600)
        assert len(longer["outputs"]) > len(short["outputs"]) and time.monotonic() - begun_s < 30


async def test_what_cannot_be_tried_is_said(runtime):
    async with runtime.program() as http:
        answer = await tried(http, nodes=["add"], put="add.inn", payload=1)
        assert answer["outcome"] == "broken" and "did you mean 'in'" in answer["lines"][0]
        wrong = {**FLOW, "nodes": [{"id": "add", "type": "core/funktion"}], "wires": []}
        assert "core/function" in (await tried(http, document=wrong, put="add.in"))["lines"][0]
        assert (await tried(http, document={"nodes": 5}, put="add.in"))["outcome"] == "broken"
        await tried(http, 400, put="add.in", seconds=-1)
        await tried(http, 400, put="add.in", colour="red")


async def test_a_try_that_does_not_end_is_ended_and_few_may_wait(runtime):
    endless = {"id": "add", "type": "core/function", "config": {"script": "while True:\n    pass"}}
    ask = {"document": {**FLOW, "nodes": [endless], "wires": []}, "put": "add.in", "timeout_s": 2}
    async with runtime.program() as http:
        answers = await asyncio.gather(*(http.post("/api/try", json=ask) for _ in range(6)))
        assert sorted(answer.status for answer in answers) == [200] * 4 + [429] * 2
        assert "not done after 2 s" in (await answers[0].json())["lines"][0]
        assert places(await tried(http, nodes=["add"], put="add.in", payload=1)) == [("out", "add.out", 2)]


async def test_its_process_ends_with_the_gateway(runtime):
    def trying():
        return [one for one in psutil.process_iter(["cmdline"]) if "flowcore.testing.sampling" in one.info["cmdline"]]

    gateway = next(
        one
        for one in psutil.Process(runtime.process.pid).children()
        if one.is_running() and "flowcore.gateway" in one.cmdline()
    )
    (mine,) = [one for one in trying() if one.ppid() == gateway.pid]
    gateway.kill()
    await asyncio.to_thread(mine.wait, 30)
