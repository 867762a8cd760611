"""Redis streams, ZeroMQ and JetStream on one real runtime: nodes and servers are killed, and nothing is lost."""

import asyncio
import json
import os
import signal
import socket
from pathlib import Path

import nats
import pytest

from tests.nodes.core.nats_peer import PASSWORD as NATS_PASSWORD
from tests.nodes.core.nats_peer import USER, NatsPeer
from tests.nodes.core.redis_server import PASSWORD, RedisPeer, program

NUMBERS = 900
WHAT = "killed in between"


def line(name: str, numbers: Path, out: tuple[str, dict], in_: tuple[str, dict], path: Path) -> str:
    """A flow from a file over a connector and back to another file."""
    often, slowly = {"restart": {"limit": 100}}, {"full": "throttle", "throttle_hz": 400}
    nodes = [
        {"id": "read", "type": "core/file-in", "config": {"path": str(numbers)}, "settings": slowly},
        {"id": "out", "type": out[0], "config": out[1], "settings": often},
        {"id": "in", "type": in_[0], "config": in_[1], "settings": often},
        {"id": "file", "type": "core/file-out", "config": {"path": str(path)}},
    ]
    wires = [{"from": "read.out", "to": "out.in"}, {"from": "in.out", "to": "file.in"}]
    return json.dumps({"flowcore": 1, "id": name, "nodes": nodes, "wires": wires})


async def written(path: Path, count: int) -> set[int]:
    """The numbers in the file, once there are so many different ones."""
    async with asyncio.timeout(90):
        while True:
            found = {int(one) for one in path.read_text().split()} if path.exists() else set()
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


@pytest.mark.drill
@pytest.mark.survives("core/redis-stream-in, core/redis-stream-out", "redis-server 7 (Debian)", WHAT)
@pytest.mark.survives("core/zmq-in, core/zmq-out", "pyzmq sockets", WHAT)
@pytest.mark.survives("core/jetstream-in, core/jetstream-out", "nats-server 2.15", WHAT)
async def test_nothing_is_lost_when_nodes_and_servers_are_killed(host, tmp_path):
    """Each number reaches its file; the node that sends, the one that takes, and the server are killed on the way."""
    pytest.importorskip("redis")
    pytest.importorskip("zmq")
    numbers = tmp_path / "numbers.txt"
    numbers.write_text("".join(f"{n}\n" for n in range(NUMBERS)))
    host.secrets.set("redis", PASSWORD)
    host.secrets.set("nats", NATS_PASSWORD)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = {"address": f"tcp://127.0.0.1:{sock.getsockname()[1]}"}
    elsewhere = NatsPeer(tmp_path)
    peers: dict[str, NatsPeer | RedisPeer] = {"jetstream": elsewhere}
    site = {"server": elsewhere.config | {"password": {"$secret": "nats"}}}
    takes = site | {"stream": "LINE", "ack_wait_s": 1}
    answers = {"pattern": "rep", "bind": True}
    lines = {
        "zmq": (("core/zmq-out", address | {"pattern": "req"}), ("core/zmq-in", address | answers)),
        "jetstream": (("core/jetstream-out", site | {"subject": "line"}), ("core/jetstream-in", takes)),
    }  # fmt: skip
    if program() is not None:
        peers["redis"] = redis = RedisPeer(tmp_path)
        stream = {"server": redis.config | {"password": {"$secret": "redis"}}, "stream": "line"}
        lines["redis"] = (("core/redis-stream-out", stream), ("core/redis-stream-in", stream))
    try:
        for peer in peers.values():
            peer.start()
        client = await nats.connect(elsewhere.url, user=USER, password=NATS_PASSWORD, allow_reconnect=False)
        await client.jetstream().add_stream(name="LINE", subjects=["line"])
        await client.close()
        for name, (out, in_) in lines.items():
            await host.documents.deploy(line(name, numbers, out, in_, tmp_path / f"{name}.jsonl"), f"{name}.json")
        for count, victim in ((150, "in"), (350, "out"), (550, "server")):
            for name in lines:
                await written(tmp_path / f"{name}.jsonl", count)
                if victim == "server" and name in peers:
                    peers[name].kill()
                    await asyncio.to_thread(peers[name].start)
                else:
                    wanted = "in" if victim == "server" else victim
                    (one,) = [node for node in host.status(name)[0].nodes if node.node == wanted]
                    if one.pid:
                        os.kill(one.pid, signal.SIGKILL)
        for name in lines:
            assert await written(tmp_path / f"{name}.jsonl", NUMBERS) == set(range(NUMBERS)), name
    finally:
        for peer in peers.values():
            peer.kill()
    if "redis" not in lines:
        pytest.skip("redis-server is not installed (Debian: redis-server); the others passed")
