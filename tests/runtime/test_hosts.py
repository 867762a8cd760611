"""Several hosts on one bus: real buses, real processes; the flow is count -> add -> write, with nodes placed apart."""

import asyncio
import json
import os
import signal
import sys

import pytest
from line_flow import chain, lines_of, numbers_in, until

from flowcore.client import connect
from flowcore.runtime.control import ControlServices
from flowcore.runtime.host import Host
from flowcore.runtime.hosts.presence import NameTaken
from flowcore.runtime.options import HostOptions
from flowcore.runtime.results import DeployRefused


def placed(path, hosts, **configs) -> str:
    """The chain with nodes placed on hosts: node -> host."""
    document = json.loads(chain(path, **configs))
    for node in document["nodes"]:
        if node["id"] in hosts:
            node["settings"] = {"host": hosts[node["id"]]}
    return json.dumps(document)


class Machines:
    """A main host and members on its bus, in this process, each with its control services."""

    def __init__(self, folder):
        self.folder = folder
        self.running = {}

    async def start(self, name="main", **options):
        folder = self.folder / name
        if name != "main":
            main = self.running["main"][0]
            url = main.bus.url.replace("nats://", f"nats://{main.bus.user}:{main.bus.password}@")
            options = {"host": name, "nats_url": url, **options}
        host = Host(HostOptions(folder=folder, nats_port=0, mqtt_port=0, drain_s=5.0, **options))
        await host.start()
        services = ControlServices(host)
        await services.start()
        self.running[name] = (host, services)
        return host

    async def stop(self, name, drain_s=None):
        host, services = self.running.pop(name)
        await services.stop()
        await host.stop(drain_s)


@pytest.fixture
async def machines(tmp_path, site):
    found = Machines(tmp_path)
    yield found
    for name in [*(name for name in found.running if name != "main"), "main"]:
        if name in found.running:
            await found.stop(name, 0)


async def meet(main, *names):
    """Wait until the main host has heard of these members."""
    await until(lambda: all(main.shared.presence.is_there(name) for name in names))


def states(flows) -> dict[str, tuple[str, str]]:
    """node -> (host, state)."""
    return {node.node: (node.host or "main", node.state) for node in flows[0].nodes}


async def test_a_flow_over_two_hosts_runs_and_is_controlled_from_the_main(machines, tmp_path):
    """Deployed on one host; every number goes to the other and back, and all operations reach the node there."""
    main, edge = await machines.start(), await machines.start("edge1")
    await meet(main, "edge1")
    out = tmp_path / "out"
    text = placed(out, {"add": "edge1"}, count={"to": 3000, "pause_s": 0.01}, add={"to_add": 5000.0})
    result = await main.documents.deploy(text, "line.json")
    assert result.started == ("count", "write", "add") and not result.failed and result.wires_added == 2
    assert set(edge.reconciler.runs["line"].processes) == {"add"}
    assert (await lines_of(out, 100))[:100] == list(range(5001, 5101))
    assert states(await main.everywhere()) == {
        "count": ("main", "running"),
        "add": ("edge1", "running"),
        "write": ("main", "running"),
    }
    async with connect(main.folder) as client:
        status = await client.call("status")
        (edge1,) = status["hosts"]
        assert edge1["name"] == "edge1" and edge1["connected"] and edge1["nodes"] == 1
        (add,) = [node for node in status["flows"][0]["nodes"] if node["node"] == "add"]
        assert add["host"] == "edge1" and add["pid"] == edge.reconciler.runs["line"].processes["add"].pid
        assert (await client.call("last", flow="line", node="add"))["message"]["payload"] > 5000
        (pid,) = (await client.call("kill", flow="line", node="add"))["pids"]
        assert pid == add["pid"]
        run = edge.reconciler.runs["line"].processes["add"]
        await run.until("restarting")
        await run.until("running")
        await client.call("restart", flow="line", node="add")
        assert run.pid != pid
        await client.call("pause", flow="line", node="add")
        assert run.state == "paused"
        await client.call("resume", flow="line")
        assert run.state == "running"
        await client.call("bypass", flow="line", node="add", on=True)
        assert run.state == "bypassed"
        await client.call("bypass", flow="line", node="add", on=False)
        await client.call("inject", flow="line", node="add", payload=990000)
        await until(lambda: 995000 in numbers_in(out))
        stopped = await client.call("stop", flow="line", timeout=60)
        assert set(stopped["stopped"]) == {"count", "add", "write"} and not edge.reconciler.runs["line"].processes
        started = await client.call("start", flow="line", timeout=60)
        assert set(started["started"]) == {"count", "add", "write"}
    await until(lambda: {*range(1, 3001)} <= {number % 5000 for number in numbers_in(out)}, 60)


async def test_a_node_moves_under_load_with_its_state_and_nothing_is_lost(machines, tmp_path):
    """There and back, three times: never two of it, a counter stays exact, every number arrives in order."""
    main, edge = await machines.start(), await machines.start("edge1")
    await meet(main, "edge1")
    out = tmp_path / "out"

    def text(host):
        document = json.loads(placed(out, {"add": host}, count={"to": 1500, "pause_s": 0.004}))
        document["nodes"][1] |= {"type": "hosttest/tally", "config": {}}
        return json.dumps(document)

    await main.documents.deploy(text("main"), "line.json")
    for number, (host, here, there) in enumerate([("edge1", edge, main), ("main", main, edge)] * 3):
        await lines_of(out, 100 * (number + 1))
        result = await main.documents.deploy(text(host), "line.json")
        assert result.moved == ("add",) and not result.failed and not result.problems
        assert here.reconciler.runs["line"].processes["add"].is_up
        assert there is edge or "add" not in there.reconciler.runs["line"].processes
        assert there is main or "line" not in there.reconciler.runs  # nothing of the flow is there any more
    await until(lambda: 1500 in numbers_in(out), 60)
    # Counted exactly; on a busy machine an output may be sent again, as at any replace that runs out of time.
    assert list(dict.fromkeys(numbers_in(out))) == list(range(1, 1501))


async def test_a_source_moves_with_what_nobody_had_acked(machines, tmp_path):
    """Its un-acked messages go over the bus to the new host; its position says where it goes on."""
    main = await machines.start()
    edge = await machines.start("edge1")
    await meet(main, "edge1")
    out = tmp_path / "out"
    await main.documents.deploy(placed(out, {}, count={"to": 900, "pause_s": 0.002}), "line.json")
    await lines_of(out, 50)
    for number, host in enumerate(["edge1", "main", "edge1"]):
        await main.steer.pause("line", "add")  # so that much is un-acked
        result = await main.documents.deploy(
            placed(out, {"count": host}, count={"to": 900, "pause_s": 0.002}), "line.json"
        )
        assert result.moved == ("count",)
        await main.steer.resume("line", "add")
        await lines_of(out, 100 * (number + 1))
    assert edge.reconciler.runs["line"].processes["count"].is_up
    await until(lambda: set(numbers_in(out)) == set(range(1, 901)), 60)
    seen = list(dict.fromkeys(numbers_in(out)))
    assert seen == sorted(seen)


async def test_a_member_that_is_not_there_is_named_and_its_nodes_start_when_it_comes(machines, tmp_path):
    """The deploy succeeds with a note, status says away; then they run."""
    main = await machines.start()
    out = tmp_path / "out"
    result = await main.documents.deploy(placed(out, {"add": "edge1", "write": "edge1"}), "line.json")
    assert "host 'edge1' is not connected; its 2 nodes start when it comes" in result.notes
    assert states(await main.everywhere())["add"] == ("edge1", "away")
    await machines.start("edge1")
    assert await lines_of(out, 300) == list(range(1, 301))
    await meet(main, "edge1")
    assert states(await main.everywhere())["add"] == ("edge1", "running")
    await machines.stop("edge1")
    assert states(await main.everywhere())["add"] == ("edge1", "away")


async def test_a_node_of_a_host_that_is_gone_moves_after_a_while(machines, tmp_path, monkeypatch):
    """Nobody can say that it let go; when it was not heard of for long, its node goes on elsewhere, exactly counted."""
    monkeypatch.setattr("flowcore.runtime.hosts.presence.GONE_S", 3.0)
    monkeypatch.setattr("flowcore.runtime.hosts.presence.AWAY_S", 2.0)
    main, edge = await machines.start(), await machines.start("edge1")
    await meet(main, "edge1")
    out = tmp_path / "out"

    def text(host):
        document = json.loads(placed(out, {"add": host}, count={"to": 600, "pause_s": 0.005}))
        document["nodes"][1] |= {"type": "hosttest/tally", "config": {}}
        return json.dumps(document)

    await main.documents.deploy(text("edge1"), "line.json")
    await lines_of(out, 50)
    # As if its machine lost power: its processes and its connection end, and it says nothing.
    for one in edge.reconciler.runs["line"].processes.values():
        os.kill(one.pid, signal.SIGKILL)
    edge.reconciler.runs["line"].processes["add"].kill_all()
    await edge.shared.presence.be_silent()
    await edge.bus.connection.close()
    result = await main.documents.deploy(text("main"), "line.json")
    assert result.moved == ("add",) and result.took_s < 10
    await until(lambda: set(numbers_in(out)) == set(range(1, 601)), 30)
    assert list(dict.fromkeys(numbers_in(out))) == list(range(1, 601))


async def test_a_host_that_was_taken_for_gone_does_no_harm_when_it_comes_back(machines, tmp_path, monkeypatch):
    """It stood still while its node went elsewhere; its own process of it went on, fenced, and ends when it is back."""
    monkeypatch.setattr("flowcore.runtime.hosts.presence.GONE_S", 3.0)
    monkeypatch.setattr("flowcore.runtime.hosts.presence.AWAY_S", 2.0)
    main = await machines.start()
    url = main.bus.url.replace("nats://", f"nats://{main.bus.user}:{main.bus.password}@")
    command = ["-m", "flowcore.cli", "up", "--host", "edge1", "--nats", url, "--data", str(tmp_path / "edge1")]
    edge = await asyncio.create_subprocess_exec(sys.executable, *command)
    try:
        await meet(main, "edge1")
        out = tmp_path / "out"

        def text(host):
            document = json.loads(placed(out, {"add": host}, count={"to": 1500, "pause_s": 0.005}))
            document["nodes"][1] |= {"type": "hosttest/tally", "config": {}}
            return json.dumps(document)

        await main.documents.deploy(text("edge1"), "line.json")
        await lines_of(out, 50)
        edge.send_signal(signal.SIGSTOP)
        assert (await main.documents.deploy(text("main"), "line.json")).moved == ("add",)
        await lines_of(out, len(numbers_in(out)) + 50)
        edge.send_signal(signal.SIGCONT)
        await meet(main, "edge1")

        async def is_left():
            return not (await main.shared.members.ask("edge1", "status"))["flows"]

        async with asyncio.timeout(20):
            while not await is_left():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        await until(lambda: 1500 in numbers_in(out), 30)
        assert list(dict.fromkeys(numbers_in(out))) == list(range(1, 1501))
    finally:
        edge.kill()
        await edge.wait()


async def test_names_are_taken_once(machines, tmp_path):
    """A second main, and a second member of the same name, are told who has it; one that ended gives it back."""
    main, _ = await machines.start(), await machines.start("edge1")
    url = main.bus.url.replace("nats://", f"nats://{main.bus.user}:{main.bus.password}@")
    with pytest.raises(NameTaken, match=rf"the main host of this bus runs on .*, process {os.getpid()}; join"):
        await Host(HostOptions(folder=tmp_path / "second", nats_url=url)).start()
    with pytest.raises(NameTaken, match="host 'edge1' of this bus runs on"):
        await Host(HostOptions(folder=tmp_path / "second", nats_url=url, host="edge1")).start()
    await machines.stop("edge1")
    await machines.start("edge1")


async def test_a_type_that_the_host_does_not_have_is_refused(machines, tmp_path):
    """With the file and line of the node, and where it could run."""
    main, _ = await machines.start(), await machines.start("edge1")
    await meet(main, "edge1")
    main.shared.presence.others["edge1"].types.pop("hosttest/add")
    with pytest.raises(DeployRefused, match=r"line.json:\d+ /nodes/1/type: host 'edge1' has no node type"):
        await main.documents.deploy(
            json.dumps(json.loads(placed(tmp_path / "out", {"add": "edge1"})), indent=1), "line.json"
        )


async def test_a_failed_consumer_on_another_host_is_told_to_its_producer(machines, tmp_path):
    """A wire that says `drop` does not stand still when its consumer has failed there."""
    main, _ = await machines.start(), await machines.start("edge1")
    await meet(main, "edge1")
    out = tmp_path / "out"
    document = json.loads(chain(out, count={"to": 3000, "pause_s": 0.001}))
    settings = {"host": "edge1", "restart": {"limit": 0}}
    document["nodes"].append({"id": "bad", "type": "hosttest/broken", "settings": settings})
    document["wires"].append({"from": "count.out", "to": "bad.value", "when_failed": "drop", "window": 16})
    await main.documents.deploy(json.dumps(document), "line.json")
    await until(lambda: numbers_in(out)[-1:] == [3000.0], 40)
    assert states(await main.everywhere())["bad"] == ("edge1", "failed")
    await main.steer.restart("line", "count")  # its successor asks, and hears of it again
    await asyncio.sleep(0)
