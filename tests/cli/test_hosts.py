"""Two runtimes on one bus, as users start them: `access add --host`, `up --host`, and what each command then does."""

import asyncio
import json
from datetime import datetime

import psutil
import pytest

from tests.cli.conftest import Command, said

NUMBERS = 2000


@pytest.fixture
async def edge(tmp_path):
    """The command on another machine: a folder of its own."""
    (tmp_path / "edge").mkdir()
    command = Command(tmp_path / "edge")
    yield command
    for process in command.started:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def join(edge, url):
    """Start the member; returns its process when it is up."""
    up = await edge.start("up", "--host", "edge1", "--nats", url)
    await said(up, "is up as host edge1")
    return up


async def may_join(flowcore):
    """The URL with which edge1 may join, from what `access add` prints."""
    ran = await flowcore("access", "add", "edge1", "--host")
    line = next(line for line in ran.out.splitlines() if line.startswith("there "))
    return line.partition("--nats ")[2].strip()


def spread(folder):
    """Numbers from a file, parsed on the other host, written on this one; 400 a second."""
    (folder / "numbers").write_text("".join(f"{n}\n" for n in range(1, NUMBERS + 1)))
    slowly = {"full": "throttle", "throttle_hz": 400}
    nodes = [
        {"id": "read", "type": "core/file-in", "config": {"path": str(folder / "numbers")}, "settings": slowly},
        {"id": "parse", "type": "core/json", "config": {"action": "parse"}, "settings": {"host": "edge1"}},
        {"id": "write", "type": "core/file-out", "config": {"path": str(folder / "out")}},
    ]
    wires = [{"from": "read.out", "to": "parse.in"}, {"from": "parse.out", "to": "write.in"}]
    return {"flowcore": 1, "id": "spread", "nodes": nodes, "wires": wires}


def written(folder):
    """What has arrived."""
    path = folder / "out"
    return [json.loads(line) for line in path.read_text().split()] if path.exists() else []


async def arrived(folder, count, timeout=60):
    """Wait until so many different numbers have."""
    async with asyncio.timeout(timeout):
        while len(set(written(folder))) < count:  # noqa: ASYNC110 - another process writes the file
            await asyncio.sleep(0.05)


async def test_the_member_is_killed_and_starts_again_and_every_number_arrives(flowcore, edge, tmp_path):
    """Killed with SIGKILL, all its processes die; started again it goes on where it was."""
    await flowcore.up()
    url = await may_join(flowcore)
    up = await join(edge, url)
    flowcore.write(spread(tmp_path))
    deployed = (await flowcore("deploy", "demo.json", "--json")).json
    assert set(deployed["flows"][0]["started"]) == {"read", "parse", "write"} if "flows" in deployed else True
    shown = (await flowcore("status")).out
    assert "host edge1:" in shown and "host" in shown.split("spread (")[1].splitlines()[1]
    await arrived(tmp_path, 200)
    children = psutil.Process(up.pid).children(recursive=True)
    up.kill()
    await up.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, 10)
    assert not alive
    up = await join(edge, url)
    await arrived(tmp_path, 600)
    assert "the runtime on" in (await edge("down")).out and await up.wait() == 0  # in order this time; it alone
    assert (await flowcore("status", "--json")).json["flows"][0]["nodes"][1]["state"] == "away"
    await join(edge, url)
    await arrived(tmp_path, NUMBERS)
    assert list(dict.fromkeys(written(tmp_path))) == list(range(1, NUMBERS + 1))
    assert "on edge1 nodes go on" in (await flowcore("down")).out


async def test_the_main_is_killed_and_starts_again_while_the_member_goes_on(flowcore, edge, tmp_path):
    """Bus and all: the member's processes stay, and every number arrives."""
    main = await flowcore.up()
    url = await may_join(flowcore)
    await join(edge, url)
    flowcore.write(spread(tmp_path))
    await flowcore("deploy", "demo.json")
    await arrived(tmp_path, 200)

    async def parse():
        nodes = (await flowcore("status", "--json")).json["flows"][0]["nodes"]
        return next(node for node in nodes if node["node"] == "parse")

    before = await parse()
    main.kill()
    await main.wait()
    main = await flowcore.up()
    await arrived(tmp_path, NUMBERS)
    assert list(dict.fromkeys(written(tmp_path))) == list(range(1, NUMBERS + 1))
    after = await parse()
    assert before["host"] == "edge1" and after["pid"] == before["pid"] and after["state"] == "running"


def scheduled(folder, host):
    """A job each second on one host, which writes into a file of its own when each run was due."""
    placed = {"settings": {"host": host}} if host else {}
    config = {"group": "hall", "jobs": [{"name": "report", "cron": "* * * * * *"}]}
    due = [{"action": "set", "path": "payload", "value": {"$message": "meta.schedule.due"}}]
    return [
        {"id": f"at-{host or 'main'}", "type": "core/schedule", "config": config, **placed},
        {"id": f"due-{host or 'main'}", "type": "core/change", "config": {"rules": due}, **placed},
        {
            "id": f"out-{host or 'main'}",
            "type": "core/file-out",
            "config": {"path": str(folder / f"{host}.due")},
            **placed,
        },
    ]


async def test_a_job_that_two_runtimes_have_is_run_once(flowcore, edge, tmp_path):
    """Each run by one of them, also while one is killed and comes back; the other goes on alone meanwhile."""
    await flowcore.up()
    url = await may_join(flowcore)
    up = await join(edge, url)
    nodes = scheduled(tmp_path, "") + scheduled(tmp_path, "edge1")
    wires = [
        {"from": f"{begin}-{host}.out", "to": f"{end}-{host}.in"}
        for host in ("main", "edge1")
        for begin, end in (("at", "due"), ("due", "out"))
    ]
    flowcore.write({"flowcore": 1, "id": "hall", "nodes": nodes, "wires": wires})
    await flowcore("deploy", "demo.json")

    def runs(host):
        path = tmp_path / f"{host}.due"
        return [json.loads(line) for line in path.read_text().split()] if path.exists() else []

    async def further(count):
        before = len(runs("") + runs("edge1"))
        async with asyncio.timeout(60):
            while len(runs("") + runs("edge1")) < before + count:  # noqa: ASYNC110 - others write the files
                await asyncio.sleep(0.05)

    await further(3)
    children = psutil.Process(up.pid).children(recursive=True)
    up.kill()
    await up.wait()
    await asyncio.to_thread(psutil.wait_procs, children, 10)
    alone = len(runs("edge1"))
    await further(3)
    assert len(runs("edge1")) == alone
    up = await join(edge, url)
    await further(3)
    ran = sorted(runs("") + runs("edge1"))
    assert len(ran) == len(set(ran))
    seconds = (datetime.fromisoformat(ran[-1]) - datetime.fromisoformat(ran[0])).total_seconds()
    assert seconds - len(ran) <= 1  # all of them, but the one that was claimed in the moment of the kill


async def test_what_cannot_be_is_said_in_one_line(flowcore, edge):
    """A member without a bus, with flows, with a name that is taken; a second main."""
    await flowcore.up()
    url = await may_join(flowcore)
    await join(edge, url)
    other = ("--data", edge.folder / "other")
    ran = await edge("up", "--host", "edge2", *other, status=2)
    assert "access add edge2 --host" in ran.err
    ran = await edge("up", "--host", "Edge 2", "--nats", url, *other, status=2)
    assert "cannot be used" in ran.err
    ran = await edge("up", "--host", "edge1", "--nats", url, *other, status=1)
    assert "host 'edge1' of this bus runs on" in ran.err and ran.err.count("\n") == 1
    ran = await edge("up", "--nats", url, *other, status=1)
    assert "the main host of this bus runs on" in ran.err and "--host NAME" in ran.err and ran.err.count("\n") == 1
