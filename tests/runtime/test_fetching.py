"""Frames between hosts: two runtimes on one bus, told that they are on different machines; real processes."""

import os
import signal
import socket
import subprocess

import numpy as np
import pytest
from frame_flow import NODES, flow, lines
from line_flow import until

from flowcore.bus.config import nats_server_program
from flowcore.client import BufferExpired, connect
from flowcore.runtime.host import Host
from flowcore.runtime.options import HostOptions

MORE = '''
class Look(Node):
    """Appends the number that came beside a frame, and what most of the frame is."""
    type = "frametest/look"
    class Config(NodeConfig):
        path: str = field("", description="The file")
    in_ = In()
    def on_message(self, message):
        frame = message.payload["frame"]
        with open(self.config.path, "a") as file:
            file.write(f"{message.payload['n']} {int(np.median(frame.numpy()))}\\n")
'''


@pytest.fixture
def site(installed, monkeypatch):
    """The nodes of `frame_flow`, installed."""
    monkeypatch.setenv("PYTHONPATH", str(installed("frametest", NODES + MORE)))


@pytest.fixture
async def machines(tmp_path, site):
    """A main host, and a member `edge` that shares no memory with it."""
    hosts = []

    async def start(nats_url=None):
        options = {"nats_port": 0, "mqtt_port": 0, "drain_s": 5.0}
        main = Host(HostOptions(folder=tmp_path / "main", host_id="here", nats_url=nats_url, **options))
        await main.start()
        hosts.append(main)
        url = nats_url or main.bus.url.replace("nats://", f"nats://{main.bus.user}:{main.bus.password}@")
        edge = Host(HostOptions(folder=tmp_path / "edge", host="edge", host_id="there", nats_url=url, **options))
        await edge.start()
        hosts.append(edge)
        await until(lambda: main.shared.presence.is_there("edge"))
        return main, edge

    yield start
    for host in reversed(hosts):
        await host.stop(0)


@pytest.fixture
def plain_server(tmp_path):
    """The URL of a nats-server as it is without a configuration: messages of 1 MB, no users."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [nats_server_program(), "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", tmp_path / "nats"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    yield f"nats://127.0.0.1:{port}"
    server.terminate()
    server.wait()


def on_edge(config, **settings):
    return config, {"host": "edge", **settings}


async def errors_of(main):
    """All that nodes publish on `.error` from now on."""
    found = []
    await main.bus.connection.subscribe("flow.frames.*.error", lambda subject, data, reply, headers: found.append(data))
    return found


def numbers(path):
    """What `Check` wrote; raises for a frame that was not what had been sent."""
    return [int(line) for line in lines(path)]


async def test_no_frame_is_lost_when_its_sender_is_killed(machines, tmp_path):
    """300 frames with their sums, the camera killed twice in the middle; and on from there to a node back here."""
    main, _ = await machines()
    errors = await errors_of(main)
    there, back = tmp_path / "there", tmp_path / "back"
    nodes = {
        "camera": ("camera", {"to": 300, "pause_s": 0.004}),
        "check": ("check", *on_edge({"path": str(there)})),
        "forward": ("forward", *on_edge({})),
        "back": ("check", {"path": str(back)}),
    }
    wires = ["camera.frame > check.in", "camera.frame > forward.in", "forward.out > back.in"]
    await main.documents.deploy(flow(nodes, wires), "frames.json")
    for enough in (60, 150):
        await until(lambda enough=enough: len(lines(there)) >= enough)
        (pid,) = [node.pid for node in main.status("frames")[0].nodes if node.node == "camera"]
        os.kill(pid, signal.SIGKILL)
    await until(lambda: 300 in numbers(there) and 300 in numbers(back), 60)
    for path in (there, back):
        assert list(dict.fromkeys(numbers(path))) == list(range(1, 301))
    assert not errors


async def test_encodings_with_a_bus_of_small_messages(plain_server, machines, tmp_path):
    """A server that takes 1 MB a message; zstd gives what was sent, JPEG something very like it."""
    main, _ = await machines(plain_server)
    exact, alike = tmp_path / "exact", tmp_path / "alike"
    nodes = {
        "camera": ("camera", {"to": 60}),
        "exact": ("check", *on_edge({"path": str(exact)})),
        "alike": ("look", *on_edge({"path": str(alike)})),
    }
    wires = [
        ("camera.frame > exact.in", {"encode": {"kind": "zstd", "level": 3}}),
        ("camera.frame > alike.in", {"encode": "jpeg"}),
    ]
    await main.documents.deploy(flow(nodes, wires), "frames.json")
    await until(lambda: len(lines(exact)) >= 60 and len(lines(alike)) >= 60, 60)
    assert numbers(exact) == list(range(1, 61))
    seen = [tuple(map(int, line.split())) for line in lines(alike)]
    assert [n for n, _ in seen] == list(range(1, 61))
    assert all(abs(value - n % 251) <= 2 for n, value in seen)


async def test_replicas_are_asked_each_for_its_own(machines, tmp_path):
    """Two processes pass frames on under one name, two on the other host look at them."""
    main, _ = await machines()
    errors = await errors_of(main)
    out = tmp_path / "out"
    nodes = {
        "camera": ("camera", {"to": 100, "pause_s": 0.01}),
        "forward": ("double", {}, {"replicas": 2}),
        "check": ("check", *on_edge({"path": str(out)}, replicas=2)),
    }
    await main.documents.deploy(flow(nodes, ["camera.frame > forward.in", "forward.out > check.in"]), "frames.json")
    await until(lambda: set(numbers(out)) == set(range(1, 101)), 40)
    assert not errors


async def test_of_a_latest_wire_the_newest_comes(machines, tmp_path):
    """A camera faster than its watcher: frames are skipped, none is wrong, none fails, the last one arrives."""
    main, _ = await machines()
    errors = await errors_of(main)
    out = tmp_path / "out"
    nodes = {
        "camera": ("camera", {"to": 200, "pause_s": 0.005}, {"pool_mb": 8}),
        "check": ("check", *on_edge({"path": str(out), "pause_s": 0.05})),
    }
    await main.documents.deploy(flow(nodes, ["camera.frame > check.in"], delivery="latest"), "frames.json")
    await until(lambda: numbers(out)[-1:] == [200], 40)
    seen = numbers(out)
    assert seen == sorted(set(seen)) and 5 < len(seen) < 100
    assert not errors


async def test_large_texts_and_values_reach_another_host(machines, tmp_path):
    """What is larger than an envelope, or than a message of the bus, is fetched."""
    main, _ = await machines()
    here, there = tmp_path / "here", tmp_path / "there"
    nodes = {
        "text": ("text",),
        "here": ("tell", {"path": str(here)}),
        "there": ("tell", *on_edge({"path": str(there)})),
    }
    await main.documents.deploy(flow(nodes, ["text.out > here.in", "text.out > there.in"]), "frames.json")
    await until(lambda: len(lines(here)) >= 4 and len(lines(there)) >= 4, 60)
    assert lines(here) == lines(there) and all(line.endswith(" True") for line in lines(there))


async def test_a_sender_that_is_away_holds_up_its_own_wire_alone(machines, tmp_path):
    """It stands still in the middle of a fetch: the other input goes on, and nothing is lost when it is back."""
    main, _ = await machines()
    out = tmp_path / "out"
    nodes = {
        "far": ("camera", {"to": 100, "pause_s": 0.01}),
        "near": ("camera", *on_edge({"to": 2000, "pause_s": 0.005})),
        "check": ("check", *on_edge({"path": str(out)})),
    }
    await main.documents.deploy(flow(nodes, ["far.frame > check.in", "near.frame > check.in"]), "frames.json")
    await until(lambda: len(lines(out)) >= 30)
    (pid,) = [node.pid for node in main.status("frames")[0].nodes if node.node == "far"]
    os.kill(pid, signal.SIGSTOP)
    try:
        before = len(lines(out))
        await until(lambda: len(lines(out)) >= before + 200)
    finally:
        os.kill(pid, signal.SIGCONT)
    await until(lambda: numbers(out).count(100) >= 2)
    seen = numbers(out)
    assert {n for n in range(1, 101) if seen.count(n) >= 2} == set(range(1, 101))


async def test_a_program_outside_sees_frames_and_the_flow_does_not_notice(machines, tmp_path):
    """Read on this host, asked for from elsewhere; the flow loses nothing; an old handle has expired."""
    main, _ = await machines()
    out = tmp_path / "out"
    nodes = {
        "camera": ("camera", {"to": 600, "pause_s": 0.005}, {"pool_mb": 8}),
        "check": ("check", {"path": str(out)}),
    }
    await main.documents.deploy(flow(nodes, ["camera.frame > check.in"]), "frames.json")
    seen = []
    async with connect(main.folder) as fc, fc.subscribe("flow.frames.camera.out.frame", queue=1) as messages:
        first = await messages.next(10)
        while (message := await messages.next(10)).payload["n"] < 500:
            try:
                frame = await message.payload["frame"].numpy()
            except BufferExpired:
                continue  # nobody waits for us
            assert (frame.reshape(-1)[8:] == message.payload["n"] % 251).all()
            seen.append(message.payload["n"])
        with pytest.raises(BufferExpired):
            await first.payload["frame"].numpy()
        assert fc.refused == type(fc.refused)([], 100)
    assert len(seen) > 20
    await until(lambda: len(lines(out)) >= 600)
    assert numbers(out) == list(range(1, 601))


async def test_a_program_outside_reads_shared_memory_of_its_own_host(machines, tmp_path, monkeypatch):
    """The same, where it may open the pool: then nobody is asked."""
    monkeypatch.setenv("FLOWCORE_HOST_ID", "here")
    main, _ = await machines()
    nodes = {"camera": ("camera", {"to": 400, "pause_s": 0.01}), "check": ("check", {"path": str(tmp_path / "out")})}
    await main.documents.deploy(flow(nodes, ["camera.frame > check.in"]), "frames.json")
    async with connect(main.folder) as fc, fc.subscribe("flow.frames.camera.out.frame", queue=1) as messages:
        for _ in range(20):
            payload = (await messages.next(10)).payload
            frame = await payload["frame"].numpy()
            assert np.median(frame) == payload["n"] % 251
        assert not fc._fetcher.fetched_bytes
    await until(lambda: numbers(tmp_path / "out") == list(range(1, 401)))
