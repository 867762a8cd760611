"""One node process over all its incarnations: replaced without loss, restarted, judged, given up."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from surroundings import Around, plan

from flowcore.runtime.health import Health
from flowcore.runtime.process import StartFailed
from flowcore.runtime.supervise import Supervised


@pytest.fixture
async def around():
    around = Around()
    yield around
    await around.server.stop()


async def started(around, **changes):
    node = Supervised(plan(**changes), around)
    await node.prepare(node.plan)
    await node.switch()
    assert node.state == "running"
    return node


async def test_what_was_un_acked_is_handed_to_the_successor(around):
    """A replace: the new one goes after the old one's end, with its hand-over; the pid changes, the node stays."""
    node = await started(around)
    old = node.pid
    await node.prepare(plan(config={"changed": 1}))
    assert node.pid == old and node.state == "replacing"
    await node.switch()
    assert node.pid != old and not Path(f"/proc/{old}").exists()
    said = (await node.request("last", "last"))["envelope"]
    assert said["kept"] == [b"x"] and said["payload"] == {"changed": 1} and said["pid"] == node.pid
    bye = await node.stop()
    assert bye.clean and bye.handover == b"xx" and node.state == "stopped"


async def test_a_successor_that_does_not_start_leaves_the_old_one_alone(around):
    """The error reaches whoever asked, and the old process never stopped."""
    node = await started(around)
    old = node.pid
    with pytest.raises(StartFailed, match="no such module") as failed:
        await node.prepare(plan(config={"fail": "no such module"}))
    assert "Traceback" in failed.value.traceback
    assert node.pid == old and node.state == "running" and node.plan.config == {}


async def test_a_crash_during_a_replace_makes_the_new_one_go_at_once(around):
    """Nobody waits for the rest of the deploy; the switch that follows finds it done."""
    node = await started(around)
    await node.prepare(plan(config={"changed": 1}))
    os.kill(node.pid, signal.SIGKILL)
    await node.until("running")
    assert node.plan.config == {"changed": 1}
    pid = node.pid
    await node.switch()
    assert node.pid == pid


async def test_a_prepared_process_that_dies_leaves_the_old_one_running(around):
    node = await started(around)
    old = node.pid
    await node.prepare(plan(config={"changed": 1}))
    os.kill(node._next.pid, signal.SIGKILL)
    await node.until("running")
    with pytest.raises(StartFailed):
        await node.switch()
    assert node.pid == old and node.plan.config == {}


async def test_poison_is_given_up_after_three_tries_and_never_counts_against_the_node(around):
    """Message 5 kills the process three times, then its runner is told; restart intensity is not touched."""
    node = await started(around, config={"die_on": [5, 6]})
    for number in (5, 6):
        while not any(op == "gave_up" and frame["seq"] == number for op, frame in around.happened):
            pid = node.pid
            node.send("inject", payload=number)
            while node.pid == pid:
                await asyncio.wait_for(around.news.wait(), 5)
                around.news.clear()
            await node.until("running")
    assert node.restarts == 6
    node.send("inject", payload=7)
    assert (await node.request("last", "last"))["envelope"]["pid"] == node.pid


async def test_too_many_restarts_without_progress_and_the_node_has_failed(around):
    """Limit 3: the fourth death is the last, and the reason is kept; asked for, it starts anew."""
    node = await started(around)
    while node.state != "failed":
        os.kill(node.pid, signal.SIGKILL)
        await node.until("failed", "restarting")
        await node.until("failed", "running")
    assert "SIGKILL" in node.reason and node.restarts == 4
    await around.until("failed")
    await node.restart()
    assert node.state == "running"
    await around.until("recovered")


async def test_a_first_start_that_fails_is_tried_again_and_then_failed_with_its_traceback(around):
    broken = plan(config={"fail": "no broker"})
    node = Supervised(broken, around)
    with pytest.raises(StartFailed) as failed:
        await node.prepare(broken)
    await node.start_later(failed.value, broken)
    await node.until("failed")
    assert node.reason == "no broker" and "Traceback" in node.traceback


async def test_a_silent_process_is_killed_and_restarted(around):
    """No beat for longer than the limit, seen in the page alone."""
    node = await started(around, config={"deaf": True})
    pid = node.pid
    now_ns = time.monotonic_ns()
    assert node.silent_s(now_ns) < 5.0 < node.silent_s(now_ns + 6_000_000_000)
    Health(lambda: [node], heartbeat_s=60.0).look()
    assert node.pid == pid
    Health(lambda: [node], heartbeat_s=0.0).look()
    assert "no heartbeat" in await around.until("crashed")
    await node.until("running")
    assert node.pid != pid


async def test_stop_during_a_restart_ends_it(around):
    node = await started(around)
    os.kill(node.pid, signal.SIGKILL)
    await node.until("restarting")
    assert (await node.stop()).clean
    assert node.state == "stopped" and node.pid is None


async def test_lines_are_heard(around):
    node = await started(around)
    assert await around.until("line") == "hello from n"
    await node.stop()
