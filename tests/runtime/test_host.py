"""The host, whole: real bus, real processes, real nodes."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from line_flow import chain, lines_of, numbers_in, pids, until

from flowcore.runtime.host import Host
from flowcore.runtime.options import HostOptions
from flowcore.runtime.results import DeployRefused, HostError, HostLocked, StaleRevision, UnknownFlow


async def test_a_flow_runs_and_every_number_arrives(host, tmp_path):
    """Deployed, started, in order, each once."""
    out = tmp_path / "out"
    result = await host.documents.deploy(chain(out), "line.json")
    assert result.started == ("count", "add", "write") and not result.failed and result.wires_added == 2
    assert await lines_of(out, 300) == list(range(1, 301))
    (flow,) = host.status()
    assert [node.state for node in flow.nodes] == ["running"] * 3
    assert flow.revision == result.revision and all(node.rss_bytes > 0 for node in flow.nodes)


@pytest.mark.alone
async def test_one_changed_node_is_replaced_under_load_and_nothing_is_lost(host, tmp_path):
    """The other process ids stay; the numbers are whole and in order."""
    out = tmp_path / "out"
    await host.documents.deploy(chain(out, count={"to": 1000}), "line.json")
    await lines_of(out, 50)
    for step in range(1, 4):
        before = pids(host)
        result = await host.documents.deploy(chain(out, count={"to": 1000}, add={"to_add": 1000.0 * step}), "line.json")
        assert result.restarted == ("add",) and result.kept == ("count", "write") and result.took_s < 2
        after = pids(host)
        assert after["add"] != before["add"] and after["count"] == before["count"] and after["write"] == before["write"]
    numbers = [number % 1000 or 1000 for number in await lines_of(out, 1000)]
    assert numbers == list(range(1, 1001))


async def test_moving_a_node_on_the_canvas_restarts_nothing(host, tmp_path):
    await host.documents.deploy(chain(tmp_path / "out"), "line.json")
    before = pids(host)
    document = json.loads(chain(tmp_path / "out"))
    document["nodes"][0]["ui"] = {"x": 1}
    result = await host.documents.deploy(json.dumps(document), "line.json")
    assert result.kept == ("count", "add", "write") and pids(host) == before


async def test_new_wires_restart_nothing(host, tmp_path):
    """A second consumer: its node starts, the producer is only rewired, and it gets what comes from then on."""
    await host.documents.deploy(chain(tmp_path / "out", count={"to": 10000, "pause_s": 0.005}), "line.json")
    before = pids(host)
    document = json.loads(chain(tmp_path / "out", count={"to": 10000, "pause_s": 0.005}))
    document["nodes"].append({"id": "also", "type": "hosttest/write", "config": {"path": str(tmp_path / "also")}})
    document["wires"].append({"from": "count.out", "to": "also.value"})
    result = await host.documents.deploy(json.dumps(document), "line.json")
    assert result.rewired == ("count",) and result.started == ("also",)
    assert {name: pid for name, pid in pids(host).items() if name != "also"} == before
    numbers = await lines_of(tmp_path / "also", 20)
    assert numbers == list(range(int(numbers[0]), int(numbers[0]) + len(numbers)))
    result = await host.documents.deploy(chain(tmp_path / "out", count={"to": 10000, "pause_s": 0.005}), "line.json")
    assert result.stopped == ("also",) and result.wires_closed == 1


async def test_a_live_config_is_taken_without_a_restart(host, tmp_path):
    """A node that refuses its new config is replaced instead."""

    def text(to_add):
        document = json.loads(chain(tmp_path / "out"))
        document["nodes"][1] = {"id": "add", "type": "hosttest/live", "config": {"to_add": to_add}}
        return json.dumps(document)

    await host.documents.deploy(text(0), "line.json")
    before = pids(host)
    result = await host.documents.deploy(text(1000), "line.json")
    assert result.reconfigured == ("add",) and pids(host) == before
    result = await host.documents.deploy(text(-1), "line.json")
    assert result.restarted == ("add",) and pids(host)["add"] != before["add"]


async def test_kill_9_of_each_node_loses_nothing(host, tmp_path):
    out = tmp_path / "out"
    await host.documents.deploy(chain(out, count={"to": 600}), "line.json")
    for number, node in enumerate(["add", "count", "write", "add"]):
        await lines_of(out, 50 * (number + 1))
        (pid,) = await host.steer.kill("line", node)
        run = host.reconciler.runs["line"].processes[node]
        await run.until("restarting")
        await run.until("running")
        assert run.pid != pid
    await until(lambda: set(numbers_in(out)) == set(range(1, 601)), 30)
    seen = list(dict.fromkeys(await lines_of(out, 600)))
    assert seen == sorted(seen)


async def test_a_poisoned_message_is_given_up_and_the_others_flow(host, tmp_path):
    """Three tries, then `.error`; every other number arrives, in order."""
    out = tmp_path / "out"
    await host.documents.deploy(chain(out, count={"to": 60}, add={"die_on": 30.0}), "line.json")
    await until(lambda: set(numbers_in(out)) == set(range(1, 61)) - {30}, 30)
    (flow,) = host.status()
    assert next(node.restarts for node in flow.nodes if node.node == "add") == 3


async def test_a_node_that_does_not_start_is_named_and_the_rest_runs(host, tmp_path):
    """In the result, and in the end `failed` with its reason."""
    document = json.loads(chain(tmp_path / "out"))
    restart = {"limit": 1, "backoff_s": 0.01}
    document["nodes"].append(
        {"id": "bad", "type": "hosttest/broken", "config": {"why": "no luck"}, "settings": {"restart": restart}}
    )
    document["wires"].append({"from": "count.out", "to": "bad.value", "when_failed": "drop"})
    result = await host.documents.deploy(json.dumps(document), "line.json")
    assert "no luck" in result.failed["bad"]
    bad = host.reconciler.runs["line"].processes["bad"]
    await bad.until("failed")
    assert "no luck" in bad.reason and "on_start" in bad.traceback
    assert await lines_of(tmp_path / "out", 300)
    document["nodes"][-1]["config"]["why"] = ""
    result = await host.documents.deploy(json.dumps(document), "line.json")
    assert not result.failed and bad.state == "running"


async def test_errors_are_refused_and_what_ran_goes_on(host, tmp_path):
    await host.documents.deploy(chain(tmp_path / "out"), "line.json")
    before = pids(host)
    with pytest.raises(DeployRefused, match="did you mean"):
        await host.documents.deploy(chain(tmp_path / "out").replace("add.value", "add.valu"), "line.json")
    assert pids(host) == before


async def test_a_stale_deploy_is_refused(host, tmp_path):
    first = await host.documents.deploy(chain(tmp_path / "out"), "line.json", based_on=0)
    second = await host.documents.deploy(
        chain(tmp_path / "out", add={"to_add": 1}), "line.json", based_on=first.revision
    )
    with pytest.raises(StaleRevision) as stale:
        await host.documents.deploy(chain(tmp_path / "out", add={"to_add": 2}), "line.json", based_on=first.revision)
    assert stale.value.current == second.revision
    again = await host.documents.deploy(chain(tmp_path / "out", add={"to_add": 1}), "line.json")
    assert again.revision == second.revision and again.kept == ("count", "add", "write")
    assert [one["revision"] for one in await host.documents.revisions("line")] == [first.revision, second.revision]
    assert (await host.documents.read("line", first.revision))["document"]["nodes"][1]["config"] == {}


async def test_deploys_at_the_same_time_take_turns(host, tmp_path):
    """Ten at once: one result each, the last revision runs."""
    texts = [chain(tmp_path / "out", add={"to_add": float(n)}) for n in range(10)]
    results = await asyncio.gather(*(host.documents.deploy(text, "line.json") for text in texts))
    newest = max(result.revision for result in results)
    document = (await host.documents.read("line"))["document"]
    running = host.reconciler.runs["line"].processes["add"].plan.config
    assert host.status("line")[0].revision == newest and running == document["nodes"][1]["config"]


async def test_stop_start_pause_resume_and_remove(host, tmp_path):
    out = tmp_path / "out"
    await host.documents.deploy(chain(out, count={"to": 400}), "line.json")
    await lines_of(out, 20)
    await host.steer.pause("line", "write")
    assert {node.node: node.state for node in host.status("line")[0].nodes}["write"] == "paused"
    await host.steer.resume("line", "write")
    stopped = await host.steer.stop_flow("line")
    assert set(stopped.stopped) == {"count", "add", "write"} and host.status("line")[0].wanted == "stopped"
    started = await host.steer.start_flow("line")
    assert started.started == ("count", "add", "write")
    assert list(dict.fromkeys(await lines_of(out, 400))) == list(range(1, 401))
    await host.documents.remove("line")
    assert host.flows() == []
    with pytest.raises(UnknownFlow):
        host.status("line")


async def test_inject_last_and_bypass(host, tmp_path):
    out = tmp_path / "out"
    await host.documents.deploy(chain(out, count={"to": 0}, add={"to_add": 5}), "line.json")
    await host.steer.inject("line", "add", payload=1)
    assert await lines_of(out, 1) == [6]
    assert (await host.steer.last("line", "add"))["payload"] == 6
    assert await host.steer.last("line", "count") is None
    await host.steer.bypass("line", "add")
    await host.steer.inject("line", "add", "value", payload=1)
    assert await lines_of(out, 2) == [6, 1]
    with pytest.raises(HostError, match="valu"):
        await host.steer.inject("line", "add", "valu", payload=1)


async def test_replicas_share_and_scale(host, tmp_path):
    """Two replicas, then three: the two stay, nothing is lost."""

    def text(replicas):
        document = json.loads(chain(tmp_path / "out", count={"to": 600}))
        document["nodes"][2]["settings"] = {"replicas": replicas}
        return json.dumps(document)

    await host.documents.deploy(text(2), "line.json")
    before = pids(host)
    assert {"write#0", "write#1"} < set(before)
    await lines_of(tmp_path / "out", 50)
    await host.documents.deploy(text(3), "line.json")
    assert pids(host).items() >= before.items() and "write#2" in pids(host)
    assert sorted(set(await lines_of(tmp_path / "out", 600))) == list(range(1, 601))


async def test_down_under_load_then_up_loses_nothing(make_host, tmp_path):
    out = tmp_path / "out"
    host = await make_host()
    await host.documents.deploy(chain(out, count={"to": 500}), "line.json")
    await lines_of(out, 100)
    assert await host.stop() == []
    count = len(out.read_text().split())
    host = await make_host()
    assert count < 500
    assert await lines_of(out, 500) == list(range(1, 501))


async def test_what_is_paused_does_not_hold_up_the_end_and_is_named(make_host, tmp_path):
    """The wire into it is named with its number, at once and not after the drain time; later it all arrives."""
    out = tmp_path / "out"
    host = await make_host(drain_s=30.0)
    await host.documents.deploy(chain(out, count={"to": 300, "pause_s": 0.005}), "line.json")
    await lines_of(out, 5)
    await host.steer.pause("line", "write")
    await until(lambda: host.status("line")[0].nodes[0].stats.get("sent", 0) > 100)
    async with asyncio.timeout(10):
        undrained = await host.stop()
    assert {one.wire for one in undrained} & {"add.sum>write.value", "count.out>add.value"}
    host = await make_host()
    await host.steer.resume("line", "write")
    assert sorted(set(await lines_of(out, 300))) == list(range(1, 301))


async def test_a_second_host_on_the_folder_says_who_has_it(host):
    with pytest.raises(HostLocked, match=str(os.getpid())):
        await Host(HostOptions(folder=host.folder, nats_port=0, mqtt_port=0)).start()
    run = json.loads((host.folder / "run.json").read_text())
    assert run["pid"] == os.getpid() and (host.folder / "run.json").stat().st_mode & 0o777 == 0o600


async def test_the_bus_dies_and_comes_back(host, tmp_path):
    """kill -9 of nats-server: everything reconnects, every number arrives, and a deploy works again."""
    out = tmp_path / "out"
    await host.documents.deploy(chain(out, count={"to": 800}), "line.json")
    await lines_of(out, 50)
    before = pids(host)
    os.kill(host.bus.server.pid, signal.SIGKILL)
    await until(lambda: set(numbers_in(out)) == set(range(1, 801)), 30)
    assert pids(host) == before
    result = await host.documents.deploy(chain(out, count={"to": 800}, add={"to_add": 1}), "line.json")
    assert result.restarted == ("add",)


async def test_output_is_in_the_log_and_on_the_bus(host, tmp_path):
    """What a node prints, with flow and node, as JSON lines; errors of a crash too."""
    heard = []
    await host.bus.connection.subscribe("flow.line.write.log", lambda subject, data, reply, headers: heard.append(data))
    await host.documents.deploy(chain(tmp_path / "out"), "line.json")
    await lines_of(tmp_path / "out", 10)
    entries = [json.loads(line) for line in Path(host.log_file).read_text().splitlines()]
    said = [entry for entry in entries if entry.get("node") == "write"]
    assert {(entry["stream"], entry["level"]) for entry in said} == {("stdout", "info"), ("stderr", "warning")}
    assert any(b"a warning" in data for data in heard)
