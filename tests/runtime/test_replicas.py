"""Replicas that come and go under load, at either end of a wire and across flows: every number arrives."""

import asyncio
import fcntl
import json

import pytest
from line_flow import chain, lines_of, numbers_in, until

COUNT = {"to": 3000, "pause_s": 0.001}
WHOLE = list(range(1, COUNT["to"] + 1))
UNDER_WAY = 50  # at a thousand a second far more than is un-acked at one moment, and far less than a window


def scaled(path, **replicas) -> str:
    """count -> add -> write with so many replicas of each."""
    document = json.loads(chain(path, count=COUNT))
    for node in document["nodes"]:
        node["settings"] = {"replicas": replicas.get(node["id"], 1)}
    return json.dumps(document)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([{"add": n} for n in (1, 3, 1, 2, 1)], id="in the middle"),
        pytest.param([{"write": n} for n in (1, 3, 1, 2, 1)], id="at the end"),
        pytest.param([{"add": n, "write": 4 - n} for n in (1, 3, 2, 1)], id="both ends of a wire at once"),
    ],
)
async def test_every_number_arrives_while_one_becomes_many_and_back(host, tmp_path, steps):
    """Under load; what was under way at a change from one to many, or back, may come twice, and nothing else."""
    out = tmp_path / "out"
    await run_steps(host, out, steps)
    numbers = await whole(out)
    assert len(numbers) - COUNT["to"] <= UNDER_WAY * (len(steps) - 1)


async def test_every_number_arrives_once_while_there_are_several(host, tmp_path):
    """From two up and down: a replica that goes finishes what it took."""
    out = tmp_path / "out"
    await run_steps(host, out, [{"add": n} for n in (2, 4, 2, 3, 2)])
    assert sorted(await whole(out)) == WHOLE


async def test_a_replica_that_goes_waits_for_the_acks_of_what_it_sent(host, tmp_path):
    """Else another replica would make it again: here the consumer stands still when the replica is to go."""
    out = tmp_path / "out"
    await host.documents.deploy(scaled(out, add=3), "line.json")
    await lines_of(out, 200)
    with out.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # the consumer's handler waits for it
        await until(lambda: sum(one.handled for one in host.status("line")[0].nodes if one.node == "add") > 400)
        deploying = asyncio.create_task(host.documents.deploy(scaled(out, add=2), "line.json"))
        assert not (await asyncio.wait({deploying}, timeout=0.5))[0]  # it waits
    assert not (await deploying).failed
    assert sorted(await whole(out)) == WHOLE


async def run_steps(host, out, steps):
    """Deploy one after the other while the source runs."""
    for i, step in enumerate(steps):
        done = await host.documents.deploy(scaled(out, **step), "line.json")
        assert not done.failed and not done.problems
        await lines_of(out, 400 * (i + 1), timeout=40)
    assert len(numbers_in(out)) < COUNT["to"]  # it was under load until here


async def whole(out) -> list[float]:
    """All that was written, once every number is there."""
    await until(lambda: len(set(numbers_in(out))) == COUNT["to"], timeout=60)
    numbers = numbers_in(out)
    assert sorted(set(numbers)) == WHOLE
    return numbers


def sending(replicas) -> str:
    """Flow `line`: count -> add, and out to the flow `far`."""
    document = json.loads(chain("", count=COUNT))
    document["nodes"][1]["settings"] = {"replicas": replicas}
    document["nodes"][2] = {"id": "away", "type": "core/link-out", "config": {"links": ["far/here"]}}
    document["wires"][1]["to"] = "away.in"
    return json.dumps(document)


def receiving(path, replicas) -> str:
    """Flow `far`: from flow `line` to write."""
    document = json.loads(chain(path, flow="far"))
    here = {"id": "here", "type": "core/link-in", "config": {}}
    document["nodes"] = [here, {**document["nodes"][2], "settings": {"replicas": replicas}}]
    document["wires"] = [{"from": "here.out", "to": "write.value"}]
    return json.dumps(document)


@pytest.mark.parametrize(
    ("producers", "consumers"),
    [
        pytest.param((1, 3, 2, 1), (1, 1, 1, 1), id="of the producer"),
        pytest.param((1, 1, 1, 1), (1, 3, 2, 1), id="of the consumer"),
        pytest.param((2, 3, 1, 2), (3, 1, 2, 2), id="of both"),
    ],
)
async def test_a_wire_between_flows_follows_replicas_at_either_end(host, tmp_path, producers, consumers):
    """Each flow is deployed for itself; the other one's wires follow."""
    out = tmp_path / "out"
    await host.documents.deploy(receiving(out, consumers[0]), "far.json")
    for i, (producer, consumer) in enumerate(zip(producers, consumers, strict=True)):
        assert not (await host.documents.deploy(sending(producer), "line.json")).failed
        assert not (await host.documents.deploy(receiving(out, consumer), "far.json")).failed
        await lines_of(out, 400 * (i + 1), timeout=40)
    assert len(await whole(out)) - COUNT["to"] <= UNDER_WAY * 2 * len(producers)


async def test_a_replica_that_is_killed_loses_nothing_while_others_come(host, tmp_path):
    """SIGKILL of one of them before and after a change: what it had is handled again."""
    out = tmp_path / "out"
    await host.documents.deploy(scaled(out, add=2), "line.json")
    await lines_of(out, 300)
    await host.steer.kill("line", "add")
    assert not (await host.documents.deploy(scaled(out, add=4), "line.json")).failed
    await until(lambda: all(one.state == "running" for one in host.status("line")[0].nodes))
    await host.steer.kill("line", "add")
    await host.documents.deploy(scaled(out, add=1), "line.json")
    await whole(out)
