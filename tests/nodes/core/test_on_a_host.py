"""Core nodes on a real host, killed and refused."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from flowcore.runtime.host import Host
from flowcore.runtime.options import HostOptions
from flowcore.runtime.results import DeployRefused


@pytest.fixture
async def make_host(tmp_path):
    """Starts hosts on one data folder, one after the other."""
    hosts = []

    async def make(**options):
        made = Host(HostOptions(folder=tmp_path / "data", nats_port=0, mqtt_port=0, drain_s=2.0, **options))
        await made.start()
        hosts.append(made)
        return made

    yield make
    for made in hosts:
        if not made.stopping:
            await made.stop()


def document(nodes, wires=()):
    return json.dumps(
        {
            "flowcore": 1, "id": "line",
            "nodes": [
                {"id": id_, "type": type_, "config": config, "settings": {"restart": {"limit": 100}}}
                for id_, type_, config in nodes
            ],
            "wires": [{"from": begin, "to": end} for begin, end in wires],
        }
    )  # fmt: skip


async def lines_of(path: Path, enough) -> list:
    """The lines of a file of JSON, once `enough(lines)`."""
    async with asyncio.timeout(40):
        while True:
            lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
            if enough(lines):
                return lines
            await asyncio.sleep(0.02)


async def kill(host, node: str) -> None:
    """Kill the process of a node, once it has one."""
    async with asyncio.timeout(20):
        while True:
            (found,) = [one for one in host.status("line")[0].nodes if one.node == node]
            if found.pid:
                return os.kill(found.pid, signal.SIGKILL)
            await asyncio.sleep(0.01)


async def test_a_counter_that_is_killed_counts_each_message_once(make_host, tmp_path):
    host, numbers, counts = await make_host(), tmp_path / "numbers.txt", tmp_path / "counts.jsonl"
    numbers.write_text("".join(f"{n}\n" for n in range(1200)))
    nodes = [
        ("read", "core/file-in", {"path": str(numbers)}),
        ("count", "core/counter", {}),
        ("write", "core/file-out", {"path": str(counts)}),
    ]
    await host.documents.deploy(document(nodes, [("read.out", "count.in"), ("count.out", "write.in")]), "line.json")
    for kills in range(1, 3):
        await lines_of(counts, lambda lines, kills=kills: len(lines) >= 300 * kills)
        await kill(host, "count")
    lines = await lines_of(counts, lambda lines: lines and lines[-1] >= 1200)
    assert sorted(set(lines)) == list(range(1, 1201))


async def test_a_tail_that_is_killed_loses_no_line(make_host, tmp_path):
    host, log, got = await make_host(), tmp_path / "app.log", tmp_path / "got.jsonl"
    nodes = [
        ("tail", "core/tail", {"path": str(log), "start": "beginning", "poll_s": 0.01}),
        ("write", "core/file-out", {"path": str(got)}),
    ]
    await host.documents.deploy(document(nodes, [("tail.line", "write.in")]), "line.json")
    log.write_text("0\n")  # a rotated file that was there before the first start is none of its business
    await lines_of(got, lambda lines: lines)
    for n in range(1, 1500):
        with log.open("a") as opened:
            opened.write(f"{n}\n")
        if n % 500 == 250:
            log.rename(tmp_path / f"app.log.{9 - n // 500}")
        if n % 500 == 300:
            await kill(host, "tail")
        if n % 50 == 0:
            await asyncio.sleep(0.01)
    lines = await lines_of(got, lambda lines: len({*lines}) >= 1500)
    assert {int(line) for line in lines} == set(range(1500))


async def test_a_command_dies_with_its_node_and_runs_again_with_the_next(make_host, tmp_path):
    host, pids = await make_host(), tmp_path / "pids"
    command = ["sh", "-c", f"echo $$ >> {pids}; sleep 1000"]
    nodes = [("run", "core/exec", {"command": command, "when": "start", "timeout_s": 0})]
    await host.documents.deploy(document(nodes), "line.json")
    (first,) = await lines_of(pids, lambda lines: len(lines) == 1)
    await kill(host, "run")
    _, second = await lines_of(pids, lambda lines: len(lines) == 2)
    async with asyncio.timeout(10):
        while Path(f"/proc/{first}").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert Path(f"/proc/{second}").exists()
    await host.stop()
    async with asyncio.timeout(10):
        while Path(f"/proc/{second}").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_host_without_commands_refuses_flows_that_run_some(make_host, tmp_path):
    """Those that are deployed, and those that ran before it was started so."""
    host, pids = await make_host(), tmp_path / "pids"
    nodes = [
        ("run", "core/exec", {"command": ["sh", "-c", f"echo $$ >> {pids}"]}),
        ("tick", "core/inject", {"every_s": 0.1}),
    ]
    await host.documents.deploy(document(nodes, [("tick.out", "run.in")]), "line.json")
    await lines_of(pids, lambda lines: lines)
    await host.stop()
    ran = len(pids.read_text())
    host = await make_host(commands=False)
    with pytest.raises(DeployRefused, match="'core/exec' is not run here: the runtime was started with --no-exec"):
        await host.documents.deploy(document(nodes, [("tick.out", "run.in")]), "line.json")
    states = {node.node: node.state for flow in host.status("line") for node in flow.nodes}
    assert states.get("run") != "running"
    assert len(pids.read_text()) == ran
