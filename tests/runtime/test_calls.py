"""Link calls on a real host: into another flow, nested, dynamic, and what happens when either side is killed."""

import json

import frame_flow
from line_flow import install, lines_of, numbers_in, until

from flowcore.bus.envelope import unpack


def flow(id_, nodes, wires):
    """A flow document as text; nodes as `{id: (type, config)}`, wires as `a.out > b.in`."""
    return json.dumps(
        {
            "flowcore": 1,
            "id": id_,
            "nodes": [{"id": name, "type": type_, "config": config} for name, (type_, config) in nodes.items()],
            "wires": [dict(zip(("from", "to"), wire.split(" > "), strict=True)) for wire in wires],
        }
    )


def subroutine(id_, to_add, **more):
    """A flow with a link-in `plus`, which answers with the number and so much."""
    nodes = {
        "plus": ("core/link-in", {}),
        "add": ("hosttest/add", {"to_add": to_add}),
        "back": ("core/link-out", {"mode": "return"}),
    }
    wires = ["plus.out > add.value", "add.sum > back.in"]
    return flow(id_, nodes | more.get("nodes", {}), wires + more.get("wires", []))


def caller(path, to=300, pause_s=0.002, **call):
    """count -> call -> write; what is not answered goes to a file beside it."""
    nodes = {
        "count": ("hosttest/count", {"to": to, "pause_s": pause_s}),
        "call": ("core/link-call", {"links": ["sub/plus"], **call}),
        "write": ("hosttest/write", {"path": str(path)}),
        "catch": ("core/catch", {"scope": ["call"]}),
        "failed": ("core/file-out", {"path": f"{path}.failed"}),
    }
    return flow("main", nodes, ["count.out > call.in", "call.out > write.value", "catch.out > failed.in"])


async def deployed(host, *documents):
    for document in documents:
        result = await host.documents.deploy(document, "test.json")
        assert not result.failed and not result.problems, result


async def test_calls_into_another_flow_survive_kill_9_of_both_sides(host, tmp_path):
    """Each number is answered, whoever dies: the caller calls again, the callee is called again."""
    out = tmp_path / "out"
    await deployed(host, subroutine("sub", 1000), caller(out, timeout_s=3.0))
    for count, who in ((40, ("main", "call")), (100, ("sub", "add")), (160, ("main", "call")), (220, ("sub", "add"))):
        await lines_of(out, count)
        await host.steer.kill(*who)
    await until(lambda: {*numbers_in(out)} | failed(out) >= {n + 1000.0 for n in range(1, 301)})
    assert len(numbers_in(out)) < 320 + 2 * 100  # again only what was in flight


def failed(out):
    """What became an error of the call, as the answer it should have had."""
    path = out.with_name("out.failed")
    lines = path.read_text().splitlines() if path.exists() else []
    return {json.loads(line)["message"]["payload"] + 1000.0 for line in lines}


async def test_a_callee_that_stands_still_times_out_and_the_caller_lives_on(host, tmp_path):
    """The error goes to the catch with its message; when the callee goes on, what it answers late is only counted."""
    out, said = tmp_path / "out", []
    await host.bus.connection.subscribe("flow.main.call.status", lambda subject, data, *_: said.append(unpack(data)))
    await deployed(host, subroutine("sub", 1000), caller(out, to=20, timeout_s=0.5, max_in_flight=5))
    await lines_of(out, 20)
    await host.steer.pause("sub", "add")
    for n in (21, 22, 23):
        await host.steer.inject("main", "call", "in", float(n))
    await until(lambda: failed(out) == {1021.0, 1022.0, 1023.0})
    await host.steer.resume("sub", "add")
    await until(lambda: any(status["text"] == "2 answers came late" for status in said))
    await host.steer.inject("main", "call", "in", 24.0)
    assert (await lines_of(out, 21))[20:] == [1024.0]


async def test_calls_inside_calls(host, tmp_path):
    """A callee calls, and its callee calls: each answer finds its own caller, though they share a subroutine."""
    out = tmp_path / "out"
    twice = subroutine(
        "sub",
        1000,
        nodes={
            "twice": ("core/link-in", {}),
            "first": ("core/link-call", {"links": ["plus"]}),
            "second": ("core/link-call", {"links": ["plus"]}),
        },
        wires=["twice.out > first.in", "first.out > second.in", "second.out > back.in"],
    )
    await deployed(host, twice, caller(out, links=["sub/twice"]))
    assert sorted(await lines_of(out, 300)) == [n + 2000.0 for n in range(1, 301)]
    assert not failed(out)


async def test_a_call_from_inside_its_own_callee_needs_room(host, tmp_path):
    """With one call at a time the inner call has to wait for the outer one, which waits for it: it times out."""
    nodes = {
        "again": ("core/link-in", {"name": "again"}),
        "call": ("core/link-call", {"links": ["again"], "max_in_flight": 1, "timeout_s": 0.4}),
        "catch": ("core/catch", {"scope": ["call"]}),
        "failed": ("core/file-out", {"path": f"{tmp_path / 'out'}.failed"}),
        "back": ("core/link-out", {"mode": "return"}),
    }
    wires = ["again.out > call.in", "call.out > back.in", "catch.out > failed.in"]
    await deployed(host, flow("self", nodes, wires))
    await host.steer.inject("self", "call", "in", 1.0)
    await until(lambda: failed(tmp_path / "out") == {1001.0})


async def test_frames_travel_to_a_callee_and_back_in_shared_memory(make_host, plugin, tmp_path):
    """Each comes back whole, and slots of callee and caller are used again."""
    install(tmp_path / "site", "frametest", frame_flow.NODES)
    host, out = await make_host(), tmp_path / "frames"
    nodes = {
        "camera": ("frametest/camera", {"to": 200}),
        "call": ("core/link-call", {"links": ["twice"]}),
        "check": ("frametest/check", {"path": str(out)}),
        "twice": ("core/link-in", {}),
        "double": ("frametest/double", {}),
        "back": ("core/link-out", {"mode": "return"}),
    }
    wires = ["camera.frame > call.in", "call.out > check.in", "twice.out > double.in", "double.out > back.in"]
    document = json.loads(flow("frames", nodes, wires))
    for node in document["nodes"]:
        node["settings"] = {"pool_mb": 32} if node["id"] in ("camera", "double") else {}
    await deployed(host, json.dumps(document))
    assert sorted(await lines_of(out, 200)) == list(range(1, 201))
