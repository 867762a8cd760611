"""`flowcore up` and `down`, and what stands between."""

import asyncio
import json
import re
import signal

import psutil
import pytest

from tests.cli.conftest import said


async def test_up_says_where_it_is_and_ends_in_order(flowcore, demo):
    """Addresses, data folder, log file, how to stop; after `down` nothing is left running."""
    flowcore.write(demo)
    up = await flowcore.start("up", "demo.json", "--nats-port", 0, "--mqtt-port", 0)
    lines = "\n".join(await said(up, "demo: revision"))
    for text in ("NATS at nats://127.0.0.1:", "MQTT on port", str(flowcore.data), "flowcore.jsonl", "flowcore down"):
        assert text in lines
    children = psutil.Process(up.pid).children(recursive=True)
    assert len(children) >= 4  # nats-server, fork server, two nodes
    assert (await flowcore("down", "--json")).json["pid"] == up.pid
    assert await up.wait() == 0
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    assert not (flowcore.data / "run.json").exists()


async def test_what_was_deployed_since_is_not_lost_at_the_next_start(flowcore, demo):
    """A file that has not changed is older than what the editor deployed on top of it; a changed one counts again."""
    file = flowcore.write(demo)
    ports = ("--nats-port", 0, "--mqtt-port", 0)
    await said(await flowcore.start("up", file, *ports), "demo: revision 1")
    other = flowcore.write({**demo, "name": "Drawn in the editor"}, "elsewhere.json")
    await flowcore("deploy", other)
    await flowcore("down")
    await said(await flowcore.start("up", file, *ports), "revision 2 of demo, deployed since, is kept")
    assert (await flowcore("status", "demo", "--json")).json["flows"][0]["name"] == "Drawn in the editor"
    await flowcore("down")
    flowcore.write({**demo, "name": "Edited by hand"})
    await said(await flowcore.start("up", file, *ports), "demo: revision 3")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_in_order(flowcore, number):
    """Ctrl-C and what a service manager sends: status 0."""
    up = await flowcore.up()
    up.send_signal(number)
    assert await asyncio.wait_for(up.wait(), 20) == 0


async def test_kill_of_the_host_leaves_no_orphans(flowcore, demo):
    """SIGKILL: bus, fork server, nodes and simulator die with it."""
    flowcore.write(demo)
    up = await flowcore.start("up", "demo.json", "--simulate", "machines", "--nats-port", 0, "--mqtt-port", 0)
    await said(up, "demo: revision")
    me = psutil.Process(up.pid)
    async with asyncio.timeout(15):
        while True:
            if any("simulators" in " ".join(child.cmdline()) for child in me.children()):
                break
            await asyncio.sleep(0.05)
    children = me.children(recursive=True)
    up.kill()
    await up.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, 10)
    assert [child.cmdline() for child in alive] == []


async def test_a_second_host_is_told_who_has_the_folder(flowcore):
    """One data folder, one host."""
    up = await flowcore.up()
    ran = await flowcore("up", status=1)
    assert f"process {up.pid}" in ran.err and "flowcore down" in ran.err and ran.err.count("\n") == 1


async def test_listening_to_other_machines_needs_users(flowcore):
    """Refused without an access user, allowed with one."""
    ran = await flowcore("up", "--listen", "0.0.0.0", status=1)
    assert "no access user" in ran.err and "flowcore access add" in ran.err
    await flowcore("access", "add", "scada", "--subscribe", "flow.>")
    up = await flowcore.up("--listen", "0.0.0.0")
    assert up.returncode is None


async def test_a_broken_file_at_start_ends_it_with_the_errors(flowcore, demo):
    """Status 1, file and line; nothing is left running."""
    demo["nodes"][0]["config"] = {"bnd": 1}
    flowcore.write(demo)
    ran = await flowcore("up", "demo.json", "--nats-port", 0, "--mqtt-port", 0, status=1)
    assert "demo.json:" in ran.err and "did you mean 'band'" in ran.err and "nothing was deployed" in ran.err
    assert not (flowcore.data / "run.json").exists()
    assert "no such file" in (await flowcore("up", "nowhere.json", status=1)).err


async def test_the_run_file_is_private(flowcore):
    """It holds a password."""
    await flowcore.up()
    assert (flowcore.data / "run.json").stat().st_mode & 0o777 == 0o600


async def test_the_table_goes_into_a_pipe_as_text(flowcore, demo):
    """`make run` in a log: plain columns every few seconds."""
    flowcore.write(demo)
    up = await flowcore.start("up", "demo.json", "--table", "--nats-port", 0, "--mqtt-port", 0)
    lines = await said(up, "demo.show")
    header = next(line for line in lines if line.startswith("node"))
    for column in ("state", "rate/s", "queue", "drops", "p50", "CPU", "memory"):
        assert column in header
    assert any(line.startswith("demo.band") and "running" in line for line in lines)
    assert "\x1b[" not in "".join(lines)


async def test_json_events_of_up(flowcore, demo):
    """For programs: a line of JSON an event."""
    flowcore.write(demo)
    up = await flowcore.start("up", "demo.json", "--json", "--nats-port", 0, "--mqtt-port", 0)
    lines = [json.loads(line) for line in await said(up, '"deployed"')]
    assert lines[0]["up"]["url"].startswith("nats://127.0.0.1:")
    assert lines[-1]["deployed"]["flow"] == "demo"


async def test_down_names_what_was_not_drained(flowcore, demo):
    """The wire into a paused node: in words, as JSON, and not any more after an end with nothing left."""
    up = await flowcore.up("--drain", 30)
    await flowcore("deploy", flowcore.write(demo))
    await flowcore("pause", "demo.show")
    for value in (20, 40):
        await flowcore("inject", "demo.band", value)
    down = await flowcore("down", "--json")
    wire = {"flow": "demo", "wire": "band.changed>show.in", "unacked": 2}
    assert (down.json["pid"], down.json["in_order"], down.json["undrained"]) == (up.pid, True, [wire])
    assert down.json["took_s"] < 10

    await flowcore.up()
    await flowcore("inject", "demo.band", 60)
    words = (await flowcore("down")).out
    assert re.search("not drained: demo band.changed>show.in: [123] un-acked, handed over to the next start", words)
    await flowcore.up()
    await flowcore("resume", "demo.show")
    assert (await flowcore("down", "--json")).json["undrained"] == []


async def test_it_takes_the_open_files_it_may(flowcore):
    """The soft limit of 1,024 that most systems begin with would be too low for 200 nodes."""
    line = f"ulimit -Sn 256; exec {' '.join(flowcore.line('up', '--nats-port', 0, '--mqtt-port', 0))}"
    up = await asyncio.create_subprocess_exec(
        *("sh", "-c", line), cwd=flowcore.folder, env=flowcore.env, stdout=asyncio.subprocess.PIPE
    )
    flowcore.started.append(up)
    await said(up, "stop with")
    soft, hard = psutil.Process(up.pid).rlimit(psutil.RLIMIT_NOFILE)
    assert soft == (65_536 if hard == psutil.RLIM_INFINITY else min(hard, 65_536))
