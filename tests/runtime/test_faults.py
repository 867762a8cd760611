"""What goes wrong around a running flow, and that the rest does not mind."""

import asyncio
import json
import os
import signal

import pytest
from line_flow import chain, lines_of, pids, until

from flowcore.bus.bucket import Bucket
from flowcore.bus.envelope import unpack
from flowcore.runtime.host import Host
from flowcore.runtime.options import HostOptions

SLOW = {"to": 100000, "pause_s": 0.005}


async def test_the_death_of_the_fork_server_is_survived(host, tmp_path):
    """Its children die with it; all are restarted from another one, and go on where they were."""
    out = tmp_path / "out"
    await host.documents.deploy(chain(out, count=SLOW), "line.json")
    await lines_of(out, 20)
    before = pids(host)
    server = host._ground.fork_server(())
    first = server.pid
    os.kill(first, signal.SIGKILL)
    processes = host.reconciler.runs["line"].processes.values()
    await until(lambda: not set(before.values()) & set(pids(host).values()))
    await asyncio.gather(*(one.until("running") for one in processes))
    assert server.pid not in (first, None)
    seen = await lines_of(out, len(out.read_text().split()) + 50)
    assert set(seen) == set(range(1, int(max(seen)) + 1))


async def test_a_badge_about_a_crash_goes_when_the_node_runs_again(host, tmp_path):
    """Also where the new process says nothing of itself."""
    badges = []
    await host.bus.connection.subscribe("flow.line.add.status", lambda _subject, data, *_: badges.append(unpack(data)))
    await host.documents.deploy(chain(tmp_path / "out", count=SLOW), "line.json")
    os.kill(pids(host)["add"], signal.SIGKILL)
    await until(lambda: len(badges) > 1)
    assert badges[0]["kind"] == "error" and "SIGKILL" in badges[0]["text"]
    assert (badges[1]["text"], badges[1]["kind"]) == ("", "ok")


async def test_a_process_that_stands_still_is_replaced(make_host, tmp_path):
    """SIGSTOP, so that its loop does not turn: killed past the limit, and started again."""
    host = await make_host(heartbeat_s=1.5)
    await host.documents.deploy(chain(tmp_path / "out", count=SLOW), "line.json")
    add = host.reconciler.runs["line"].processes["add"]
    os.kill(add.pid, signal.SIGSTOP)
    await add.until("restarting")
    assert "no heartbeat" in add.reason
    await add.until("running")


async def test_a_node_past_its_memory_limit_is_killed(host, tmp_path):
    """A process always has more than 16 MB: killed again and again, until the node has failed, with the reason."""
    document = json.loads(chain(tmp_path / "out", count=SLOW))
    document["nodes"][1]["settings"] = {"memory_mb": 16, "restart": {"limit": 0}}
    document["nodes"].append({"id": "idle", "type": "hosttest/add", "settings": document["nodes"][1]["settings"]})
    await host.documents.deploy(json.dumps(document), "line.json")
    idle = host.reconciler.runs["line"].processes["idle"]
    await idle.until("failed")
    assert "memory limit is 16 MB" in idle.reason


async def test_a_document_put_into_the_bucket_by_others_is_applied(host, tmp_path):
    """The bucket is the interface: whoever writes it deploys; what is no flow is refused and what ran goes on."""
    bucket = Bucket(host.bus.connection, "flows")
    value = json.dumps({"document": json.loads(chain(tmp_path / "out", count=SLOW)), "source": "elsewhere"}).encode()
    revision = await bucket.put("line", value)
    result = await asyncio.wait_for(host.reconciler.applied("line", revision), 10)
    assert result.started == ("count", "add", "write")
    before = pids(host)
    revision = await bucket.put("line", b'{"document": {"nodes": 5}}')
    result = await asyncio.wait_for(host.reconciler.applied("line", revision), 10)
    assert result.problems and pids(host) == before
    revision = await bucket.delete("line")
    result = await asyncio.wait_for(host.reconciler.applied("line", revision), 10)
    assert set(result.stopped) == {"count", "add", "write"}


async def test_while_the_bus_is_away_a_deploy_says_so_and_what_runs_goes_on(host, tmp_path):
    await host.documents.deploy(chain(tmp_path / "out", count=SLOW), "line.json")
    before = pids(host)
    os.kill(host.bus.server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError, match="bus does not answer"):
            await host.documents.deploy(chain(tmp_path / "out", count=SLOW, add={"to_add": 1}), "line.json")
    finally:
        os.kill(host.bus.server.pid, signal.SIGCONT)
    assert pids(host) == before
    await until(lambda: host.bus.connection.is_up)
    result = await host.documents.deploy(chain(tmp_path / "out", count=SLOW, add={"to_add": 1}), "line.json")
    assert result.restarted == ("add",)


async def test_a_bus_that_was_there_before_is_used(host, tmp_path):
    """`--nats`: a member on the first one's server, with user and password in the URL."""
    url = host.bus.url.replace("nats://", f"nats://{host.bus.user}:{host.bus.password}@")
    second = Host(HostOptions(folder=tmp_path / "second", nats_url=url, host="second"))
    await second.start()
    try:
        assert second.bus.server is None and second.bus.url == host.bus.url
        run = json.loads((tmp_path / "second" / "run.json").read_text())
        assert run["url"] == host.bus.url and run["user"] == host.bus.user
    finally:
        await second.stop()


async def test_a_secret_that_is_not_there_fails_the_node_with_its_name(host, tmp_path):
    """It is not tried again and again; once set, a restart has it."""
    document = json.loads(chain(tmp_path / "out", count=SLOW))
    host.secrets.set("where", str(tmp_path / "out"))
    document["nodes"][2]["config"]["path"] = {"$secret": "where"}
    await host.documents.deploy(json.dumps(document), "line.json")
    await lines_of(tmp_path / "out", 5)
    host.secrets.remove("where")
    write = host.reconciler.runs["line"].processes["write"]
    await host.steer.kill("line", "write")
    await write.until("failed")
    assert "where" in write.reason
    host.secrets.set("where", str(tmp_path / "again"))
    await host.steer.restart("line", "write")
    assert await lines_of(tmp_path / "again", 5)
