"""Frames through real processes: nothing is copied, nothing is lost, and nobody reads what was not written."""

import asyncio
import itertools
import socket

import numpy as np
import pytest
from frame_flow import NODES, flow, lines
from line_flow import pids, until

from flowcore.bus.config import nats_server_program
from flowcore.bus.envelope import Extension, pack
from flowcore.runtime.control.records import RetryRequest, retry

FRAME_BYTES = 480 * 640 * 3
UNTIRING = {"limit": 1000, "max_s": 0.2}  # killed before it has done anything, a node else waits longer each time


@pytest.fixture
def site(installed, monkeypatch):
    """The nodes of `frame_flow`, installed."""
    monkeypatch.setenv("PYTHONPATH", str(installed("frametest", NODES)))


def numbers(path):
    """What a check node saw, each number once, in order of first sight; what was wrong fails here."""
    seen = lines(path)
    assert not [line for line in seen if not line.isdigit()]
    return list(dict.fromkeys(int(line) for line in seen))


def stats(host, node):
    """The newest statistics of a node's process."""
    return next(one.stats for one in host.status("frames")[0].nodes if one.node == node)


async def test_frames_go_through_forwarders_without_a_copy(host, tmp_path):
    """More of them than the camera has slots for: they are used again, and only when everybody is done."""
    out = tmp_path / "out"
    nodes = {
        "camera": ("camera", {"to": 200}, {"pool_mb": 8}),
        "forward": ("forward",),
        "check": ("check", {"path": str(out)}),
    }
    await host.documents.deploy(flow(nodes, ["camera.frame > forward.in", "forward.out > check.in"]), "frames.json")
    await until(lambda: len(lines(out)) >= 200)
    assert lines(out) == [str(n) for n in range(1, 201)]
    await until(lambda: [pool["used"] for pool in stats(host, "camera").get("pools", [])] == [0])
    (pool,) = stats(host, "camera")["pools"]
    assert pool["slot_bytes"] >= FRAME_BYTES and pool["bytes"] <= 8 << 20
    await until(lambda: [stats(host, node).get("pools") for node in ("forward", "check")] == [[], []])


async def killed_in_turn(host, nodes, is_over):
    """kill -9 of one after the other: as soon as it runs again, and the next time when it has done something since.

    Killed always before it has done anything, a flow comes no further than this test is slow.
    """
    async with asyncio.timeout(90):
        for node, may_work in itertools.cycle([(node, may_work) for node in nodes for may_work in (False, True)]):
            process = host.reconciler.runs["frames"].processes[node]
            (killed,) = await host.steer.kill("frames", node)
            await until(lambda: process.pid not in (None, killed))  # noqa: B023
            await process.until("running")
            handled = process.handled
            await until(lambda: is_over() or not may_work or process.handled > handled)  # noqa: B023
            if is_over():
                return


async def test_killed_again_and_again_every_node_sees_every_frame_as_it_was(host, tmp_path):
    """A fan-out of forwarders, makers and keepers, one of which is dying most of the time."""
    a, b = tmp_path / "a", tmp_path / "b"
    nodes = {
        "camera": ("camera", {"to": 200, "pause_s": 0.005}, {"pool_mb": 8}),
        "forward": ("forward", {}, {"restart": UNTIRING}),
        "double": ("double", {}, {"restart": UNTIRING, "pool_mb": 8}),
        "a": ("check", {"path": str(a), "keep": 3}, {"restart": UNTIRING}),
        "b": ("check", {"path": str(b), "keep": 3}, {"restart": UNTIRING}),
    }
    wires = ["camera.frame > forward.in", "forward.out > a.in", "forward.out > double.in", "double.out > b.in"]
    await host.documents.deploy(flow(nodes, wires), "frames.json")
    await until(lambda: lines(a) and lines(b))
    await killed_in_turn(host, ["forward", "a", "double", "b"], lambda: numbers(a)[-1] == numbers(b)[-1] == 200)
    assert sorted(numbers(a)) == sorted(numbers(b)) == list(range(1, 201))


@pytest.mark.alone
async def test_a_node_with_state_counts_each_frame_once_however_often_it_is_killed(host, tmp_path):
    out = tmp_path / "out"
    nodes = {
        "camera": ("camera", {"to": 200, "pause_s": 0.005}, {"pool_mb": 8}),
        "count": ("count", {}, {"restart": UNTIRING}),
        "check": ("check", {"path": str(out)}),
    }
    await host.documents.deploy(flow(nodes, ["camera.frame > count.in", "count.out > check.in"]), "frames.json")
    await until(lambda: lines(out))
    await killed_in_turn(host, ["count"], lambda: numbers(out)[-1] == 200)
    assert numbers(out) == list(range(1, 201))


async def test_what_is_kept_beyond_its_handler_holds_its_slot_and_stops_no_wire(host, tmp_path):
    out = tmp_path / "out"
    nodes = {
        "camera": ("camera", {"to": 100, "pause_s": 0.02}, {"pool_mb": 8}),
        "check": ("check", {"path": str(out), "keep": 4}),
    }
    await host.documents.deploy(flow(nodes, ["camera.frame > check.in"]), "frames.json")
    await until(lambda: len(lines(out)) >= 100)
    assert numbers(out) == list(range(1, 101))
    await until(lambda: len(stats(host, "check").get("kept", ())) == 4)
    await until(lambda: [pool["waiting"] for pool in stats(host, "camera").get("pools", ())] == [4])
    kept = stats(host, "check")["kept"][0]
    assert kept["port"] == "in" and kept["message"].startswith("camera.frame:") and kept["age_s"] >= 1
    assert kept["owner"] == pids(host, "frames")["camera"] and stats(host, "check")["lingering"] == []


async def test_a_forwarder_is_replaced_under_load_and_nothing_is_lost_or_twice(host, tmp_path):
    out = tmp_path / "out"

    def document(n):
        nodes = {
            "camera": ("camera", {"to": 300, "pause_s": 0.004}, {"pool_mb": 8}),
            "forward": ("forward", {"n": n}),
            "check": ("check", {"path": str(out), "keep": 3}),
        }
        return flow(nodes, ["camera.frame > forward.in", "forward.out > check.in"])

    await host.documents.deploy(document(0), "frames.json")
    for n in range(1, 4):
        await until(lambda n=n: len(lines(out)) >= 60 * n)
        assert (await host.documents.deploy(document(n), "frames.json")).restarted == ("forward",)
    await until(lambda: len(lines(out)) >= 300)
    assert lines(out) == [str(n) for n in range(1, 301)]


async def test_a_camera_that_is_replaced_hands_over_what_nobody_has_taken_yet(host, tmp_path):
    """It can't show a frame again: those in its slots come from its successor, before its own."""
    out = tmp_path / "out"

    def document(begin, to):
        nodes = {
            "camera": ("camera", {"begin": begin, "to": to, "is_replayed": False}, {"pool_mb": 8}),
            "check": ("check", {"path": str(out), "pause_s": 0.05}),
        }
        return flow(nodes, ["camera.frame > check.in"])

    await host.documents.deploy(document(0, 10_000), "frames.json")
    await until(lambda: len(lines(out)) >= 3)
    await host.documents.deploy(document(20_000, 20_003), "frames.json")
    await until(lambda: lines(out)[-1] == "20003")
    seen = numbers(out)
    last = seen.index(20_001)
    assert seen[:last] == list(range(1, last + 1)) and last >= 8 and seen[last:] == [20_001, 20_002, 20_003]


async def test_nothing_is_too_large_for_a_wire(host, tmp_path):
    """20 MB of bytes, of text, a list of a million numbers: whole, in order."""
    out = tmp_path / "out"
    nodes = {"text": ("text",), "forward": ("forward",), "tell": ("tell", {"path": str(out)})}
    await host.documents.deploy(flow(nodes, ["text.out > forward.in", "forward.out > tell.in"]), "frames.json")
    await until(lambda: len(lines(out)) >= 4)
    assert lines(out) == ["bytes True", "str True", "list True", "dict True"]


async def test_the_newest_frame_wins_where_a_wire_wants_that_alone(host, tmp_path):
    """A slow consumer delays nobody, and what it gets is whole, though the camera has two slots."""
    out = tmp_path / "out"
    nodes = {
        "camera": ("camera", {"to": 300, "is_replayed": False, "pause_s": 0.002}, {"pool_mb": 2}),
        "check": ("check", {"path": str(out), "pause_s": 0.03}),
    }
    await host.documents.deploy(flow(nodes, ["camera.frame > check.in"], delivery="latest"), "frames.json")
    await until(lambda: stats(host, "camera").get("sent", 0) + stats(host, "camera").get("source_drops", 0) > 0)
    await until(lambda: lines(out) and numbers(out)[-1] > 200, timeout=30)
    assert len(numbers(out)) < 250


@pytest.fixture
async def plain_server(tmp_path):
    """A nats-server as others run it: messages of 1 MB at most."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    log = tmp_path / "nats.log"
    options = ["-js", "-a", "127.0.0.1", "-p", str(port), "-sd", str(tmp_path / "store"), "-l", str(log)]
    server = await asyncio.create_subprocess_exec(str(nats_server_program()), *options)
    try:
        await until(lambda: log.exists() and "Server is ready" in log.read_text())
        yield f"nats://127.0.0.1:{port}"
    finally:
        server.kill()
        await server.wait()


@pytest.mark.parametrize(("height", "encode"), [(480, None), (1500, None), (1500, "zstd")])
async def test_frames_on_a_durable_wire_outlive_their_slots(make_host, plain_server, tmp_path, height, encode):
    """In parts where the server takes less at once, put together in order, though the consumer is killed meanwhile."""
    out = tmp_path / "out"
    host = await make_host(nats_url=plain_server)
    nodes = {
        "camera": ("camera", {"to": 40, "height": height}, {"pool_mb": 16}),
        "check": ("check", {"path": str(out), "pause_s": 0.02}, {"restart": UNTIRING}),
    }
    options = {"delivery": "durable", "durable": {"max_bytes": 200 << 20}, "encode": encode}
    await host.documents.deploy(flow(nodes, ["camera.frame > check.in"], **options), "frames.json")
    await until(lambda: len(lines(out)) >= 5)
    await host.steer.kill("frames", "check")
    await until(lambda: len(lines(out)) >= 15, timeout=40)
    await host.steer.kill("frames", "check")
    await until(lambda: len(set(lines(out))) >= 40, timeout=60)
    assert numbers(out) == list(range(1, 41))


async def test_a_frame_in_an_error_is_told_and_one_that_is_asked_for_shown(host, tmp_path):
    """`last` and what is given up say what it was; that can't be tried again, and says why."""
    nodes = {"camera": ("camera", {"to": 2}), "fail": ("fail", {"path": "/nowhere/at/all"})}
    await host.documents.deploy(flow(nodes, ["camera.frame > fail.in"]), "frames.json")
    await until(lambda: stats(host, "fail").get("given_up") == 2)
    last = await host.steer.last("frames", "camera")
    assert last["payload"]["frame"]["$tensor"]["shape"] == [480, 640, 3] and last["payload"]["n"] == 2
    answer = await retry(host, RetryRequest(flow="frames"))
    assert not answer.retried and ["too large" in why for why in answer.refused.values()] == [True, True]


async def test_a_catch_gets_the_frame_itself(host, tmp_path):
    out = tmp_path / "out"
    nodes = {
        "camera": ("camera", {"to": 30}, {"pool_mb": 8}),
        "fail": ("fail", {"path": "/nowhere/at/all"}),
        "caught": ("core/catch", {"scope": ["fail"]}),
        "pick": ("pick",),
        "check": ("check", {"path": str(out)}),
    }
    wires = ["camera.frame > fail.in", "caught.out > pick.in", "pick.out > check.in"]
    await host.documents.deploy(flow(nodes, wires), "frames.json")
    await until(lambda: len(lines(out)) >= 30)
    assert numbers(out) == list(range(1, 31)) and stats(host, "fail").get("given_up", 0) == 0


async def test_a_small_array_that_was_given_up_is_tried_again(host, tmp_path):
    out = tmp_path / "folder" / "out"
    await host.documents.deploy(
        flow({"small": ("small",), "fail": ("fail", {"path": str(out)})}, ["small.out > fail.in"]), "s.json"
    )
    await until(lambda: stats(host, "fail").get("given_up") == 1)
    out.parent.mkdir()
    assert len((await retry(host, RetryRequest(flow="frames"))).retried) == 1
    assert lines(out) == ["[0, 1, 2]"]


async def test_small_arrays_come_in_from_outside(host, tmp_path):
    """An extension of type 2 is as good as a number; one of type 1 would be a forged handle."""
    out = tmp_path / "out"
    await host.documents.deploy(flow({"check": ("check", {"path": str(out)})}, []), "frames.json")
    frame = np.full(100, 7, np.uint8)
    frame[:8] = np.frombuffer((7).to_bytes(8, "little"), np.uint8)
    forged = pack({"payload": {"n": 7, "frame": Extension(1, b"\x9b")}})
    for data in (pack({"payload": {"n": 7, "frame": frame}}), forged):
        await host.bus.connection.client.publish("flow.frames.check.in.in", data)
    await until(lambda: lines(out) and stats(host, "check").get("malformed") == 1)
    assert numbers(out) == [7]
