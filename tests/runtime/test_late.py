"""A node that is slow to start holds up nobody: not its neighbours, not the next deploy, not the end."""

import asyncio
import json

import pytest
from line_flow import chain, lines_of, numbers_in, pids, until

pytestmark = pytest.mark.alone


def with_slow(tmp_path, gate, *more, to_add=0.0, **configs) -> str:
    """count -> slow -> write, beside count -> add -> also; `more` wires."""
    document = json.loads(chain(tmp_path / "also", **configs))
    document["nodes"] += [
        {"id": "slow", "type": "hosttest/slow", "config": {"gate": str(gate), "to_add": to_add}},
        {"id": "out", "type": "hosttest/write", "config": {"path": str(tmp_path / "out")}},
    ]
    document["wires"] += [{"from": "count.out", "to": "slow.value"}, {"from": "slow.sum", "to": "out.value"}, *more]
    return json.dumps(document)


def state(host, node):
    return next(one.state for one in host.status("line")[0].nodes if one.process == node)


async def test_the_rest_goes_live_and_later_deploys_do_not_wait(host, tmp_path):
    """What starts goes on through a deploy that only rewires it, and loses nothing from the first message on."""
    gate, count = tmp_path / "gate", {"to": 300, "pause_s": 0.0}
    first = await host.documents.deploy(with_slow(tmp_path, gate, count=count), "line.json")
    assert set(first.started) == {"count", "add", "write", "slow", "out"} and not first.failed
    assert list(first.starting) == ["slow"] and first.took_s < 10
    await lines_of(tmp_path / "also", 200)  # its neighbour is fed by the same source
    assert state(host, "slow") == "starting" and numbers_in(tmp_path / "out") == []

    wire = {"from": "slow.sum", "to": "write.value"}
    second = await host.documents.deploy(with_slow(tmp_path, gate, wire, count=count), "line.json")
    assert "slow" in second.rewired and second.starting["slow"] > first.starting["slow"] and second.took_s < 2
    gate.touch()
    assert await lines_of(tmp_path / "out", 300) == list(range(1, 301))
    assert sorted(await lines_of(tmp_path / "also", 600)) == sorted(2 * list(range(1, 301)))
    assert state(host, "slow") == "running"
    third = await host.documents.deploy(with_slow(tmp_path, gate, wire, count=count), "line.json")
    assert len(third.kept) == 5 and not third.starting


async def test_the_old_process_goes_on_until_the_new_one_is_ready(host, tmp_path):
    """A replaced node whose successor is slow: nothing stands still, nothing is lost."""
    gate, other = tmp_path / "gate", tmp_path / "other"
    gate.touch()
    count = {"to": 3000, "pause_s": 0.002}
    await host.documents.deploy(with_slow(tmp_path, gate, count=count), "line.json")
    before = pids(host)
    done = await host.documents.deploy(with_slow(tmp_path, other, count=count, to_add=10_000.0), "line.json")
    assert done.restarted == ("slow",) and list(done.starting) == ["slow"] and not done.failed
    seen = len(numbers_in(tmp_path / "out"))
    await lines_of(tmp_path / "out", seen + 100)
    assert pids(host) == before
    other.touch()
    numbers = await lines_of(tmp_path / "out", 3000)
    assert [number % 10_000 for number in numbers] == list(range(1, 3001))
    assert numbers[-1] == 13_000 and pids(host)["slow"] != before["slow"]
    assert {name: pid for name, pid in pids(host).items() if name != "slow"} == {
        name: pid for name, pid in before.items() if name != "slow"
    }


async def test_a_deploy_that_changes_it_ends_it_and_starts_another(host, tmp_path):
    """Also `restart`, which takes the newest config; and a stop ends it at once."""
    gate, other = tmp_path / "gate", tmp_path / "other"
    await host.documents.deploy(with_slow(tmp_path, gate, count={"to": 50}), "line.json")
    other.touch()
    done = await host.documents.deploy(with_slow(tmp_path, other, count={"to": 50}), "line.json")
    assert not done.starting and done.took_s < 2 and state(host, "slow") == "running"
    assert await lines_of(tmp_path / "out", 50) == list(range(1, 51))

    await host.documents.deploy(with_slow(tmp_path, tmp_path / "never", count={"to": 50}), "line.json")
    restarting = asyncio.create_task(host.steer.restart("line", "slow"))
    await until(lambda: not host.reconciler.runs["line"].late.waiting())
    (tmp_path / "never").touch()
    await restarting
    assert state(host, "slow") == "running"

    again = await host.documents.deploy(with_slow(tmp_path, tmp_path / "not yet", count={"to": 50}), "line.json")
    assert list(again.starting) == ["slow"]
    async with asyncio.timeout(4):
        await host.stop()
