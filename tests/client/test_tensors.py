"""Tensors for programs outside: read in shared memory on the same host, asked for from elsewhere."""

import asyncio
import os

import numpy as np
import pytest

from flowcore.buffers import Codec, Pools
from flowcore.buffers.handle import Handle
from flowcore.buffers.place import Place
from flowcore.buffers.serve import Server
from flowcore.buffers.sources import Shown
from flowcore.bus.access import AccessStore
from flowcore.bus.connection import Connection
from flowcore.bus.envelope import TENSOR, Extension, join, pack
from flowcore.bus.permissions import full_user
from flowcore.bus.server import EmbeddedServer
from flowcore.client import BufferExpired, RemoteTensor, RemoteValue, connect

FRAME = np.random.default_rng(3).integers(0, 256, (480, 640, 3), dtype=np.uint8)


@pytest.fixture
async def server(tmp_path):
    """A server with two outsiders: `viewer` may hear the camera's frames, `nosy` all of another flow."""
    server = EmbeddedServer(tmp_path, nats_port=0, mqtt_port=0)
    store = AccessStore(tmp_path)
    server.viewer = store.add("viewer", subscribe=["flow.factory.camera.out.frame"])
    server.nosy = store.add("nosy", subscribe=["flow.other.>"])
    server.host = full_user("host")
    await server.start([server.host, *store.users()])
    yield server
    await server.stop()


class Camera:
    """What a node does: sends tensors from its ports, serves those who ask."""

    def __init__(self, server):
        self.bus = Connection(server.url, user="host", password=server.host.password)
        self.codec, self.shown, self.seq = Codec(Pools()), Shown(), 0
        self.held = []

    async def open(self):
        await self.bus.connect(timeout=5)
        self.server = Server(
            publish=self.bus.publish,
            unsent=lambda: self.bus.unsent_bytes,
            max_payload=lambda: self.bus.max_payload,
            find=self.codec.lease,
            shown=self.shown,
            may_answer=lambda reply: reply.startswith("_INBOX."),
        )
        await self.bus.subscribe("fetch.factory.camera.*.7", self.server.on_request)
        await self.bus.flush()

    def send(self, payload, port="frame"):
        self.seq += 1
        envelope = {"epoch": 7, "seq": self.seq, "payload": payload, "meta": {}, "topic": ""}
        packed = self.codec.pack(envelope)
        taken = self.codec.taken
        if len(packed) > 256 * 1024:
            packed = self.codec.pack_large(envelope)
            taken = self.codec.taken
        self.shown.add(port, taken)
        self.held.append(taken)
        self.bus.publish(f"flow.factory.camera.out.{port}", join([packed]))


@pytest.fixture
async def camera(server):
    camera = Camera(server)
    await camera.open()
    yield camera
    camera.server.close()
    await camera.bus.close()


@pytest.fixture
def elsewhere(monkeypatch, camera):
    """From here on handles name another host than the one that this process says it is on."""
    camera.codec.host = "elsewhere"


def viewer(server):
    return connect(server.url, "viewer", server.viewer)


async def test_a_frame_is_read_where_it_lies(server, camera):
    """At any depth of a payload, without asking anybody; afterwards nothing is held."""
    async with viewer(server) as fc, fc.subscribe("flow.factory.camera.out.frame") as messages:
        camera.send({"frame": FRAME, "boxes": [{"crop": FRAME[:200, :200].copy()}], "small": np.arange(3)})
        payload = (await messages.next(5)).payload
        frame = payload["frame"]
        assert isinstance(frame, RemoteTensor)
        assert (frame.dtype, frame.shape, frame.ndim, frame.nbytes, frame.device) == (
            "uint8",
            (480, 640, 3),
            3,
            FRAME.nbytes,
            "cpu",
        )
        seen = await frame.numpy()
        assert (seen == FRAME).all()
        assert (await payload["boxes"][0]["crop"].numpy() == FRAME[:200, :200]).all()
        assert (await payload["small"].numpy()).tolist() == [0, 1, 2]
        assert camera.server.served_bytes == 0
        pool = camera.held[0][0].pool
        camera.held.clear()
        assert not pool.held_by_readers()
        assert (seen == FRAME).all()


async def test_a_frame_from_elsewhere_is_asked_for(server, camera, elsewhere):
    """By the right to hear the port it came from."""
    async with viewer(server) as fc, fc.subscribe("flow.factory.camera.out.frame") as messages:
        camera.send(FRAME)
        tensor = (await messages.next(5)).payload
        assert (await tensor.numpy() == FRAME).all()
        assert camera.server.served_bytes == FRAME.nbytes
        smooth = np.full((480, 640, 3), 90, np.uint8)
        camera.send(smooth)
        tensor = (await messages.next(5)).payload
        seen = await tensor.numpy(encode={"kind": "jpeg", "quality": 80})
        assert np.abs(seen.astype(int) - 90).max() <= 2
        assert camera.server.served_bytes < FRAME.nbytes + 50_000


async def test_an_old_handle_has_expired(server, camera):
    """Read or asked for: what comes is what was sent, or nothing."""
    async with viewer(server) as fc, fc.subscribe("flow.factory.camera.out.frame") as messages:
        for host in (camera.codec.host, "elsewhere"):
            camera.codec.host = host
            camera.send(FRAME)
            tensor = (await messages.next(5)).payload
            camera.held.clear()
            for _ in range(8):
                camera.codec.pools.alloc(FRAME.shape).numpy()[:] = 0
            with pytest.raises(BufferExpired):
                await tensor.numpy()


async def test_who_may_not_hear_a_port_may_not_ask_for_its_tensors(server, camera, elsewhere):
    """Refused by the bus at once, and by the camera where the bus cannot know: a slot of another port."""
    camera.send(FRAME, port="raw")
    async with viewer(server) as fc, connect(server.url, "nosy", server.nosy) as nosy:
        async with fc.subscribe("flow.factory.camera.out.frame") as messages:
            camera.send(FRAME)
            good = (await messages.next(5)).payload
        good.bind(nosy._memory, good._subject)
        with pytest.raises(PermissionError, match="permissions violation"):
            await asyncio.wait_for(good.fetch(), 2)
        lease = camera.held[0][0]
        forged = RemoteTensor(good._handle._replace(pool=lease.pool.id, slot=lease.slot, generation=lease.generation))
        forged.bind(fc._memory, good._subject)
        with pytest.raises(PermissionError, match="port 'frame'"):
            await forged.fetch()


async def test_a_large_text_is_a_remote_value(server, camera, elsewhere):
    """So is a payload that is too large as a whole, with tensors in it."""
    async with viewer(server) as fc, fc.subscribe("flow.factory.camera.out.frame") as messages:
        text = "größer als ein Umschlag " * 20_000
        camera.send({"text": text, "bytes": bytes(300_000)})
        payload = (await messages.next(5)).payload
        assert isinstance(payload["text"], RemoteValue) and payload["text"].kind == "text"
        assert await payload["text"].fetch() == text
        assert await payload["bytes"].fetch() == bytes(300_000)
        camera.send({"rows": list(range(1_000_000, 1_015_000)) * 5, "frame": FRAME})
        whole = (await messages.next(5)).payload
        assert whole.kind == "any"
        value = await whole.fetch()
        assert len(value["rows"]) == 75_000
        assert (await value["frame"].numpy() == FRAME).all()
        camera.send([{}] * 300_000)
        with pytest.raises(ValueError, match="elements"):
            await (await messages.next(5)).payload.fetch()


async def test_in_json_a_tensor_is_what_it_is(server, camera):
    """So that `flowcore sub` prints a line."""
    async with viewer(server) as fc, fc.subscribe("flow.factory.camera.out.frame") as messages:
        camera.send({"frame": FRAME, "n": np.float32([1, 2])})
        said = (await messages.next(5)).asdict()["payload"]
        assert said == {
            "frame": {"$tensor": {"dtype": "uint8", "shape": [480, 640, 3], "device": "cpu"}},
            "n": {"$tensor": {"dtype": "float32", "shape": [2], "device": "cpu"}},
        }


async def test_forged_handles_harm_nobody(server, camera, tmp_path):
    """They name files that are no pools, processes that are gone, sizes that are not: an error each, nothing read."""
    fifo, secret = tmp_path / "fifo", tmp_path / "secret"
    os.mkfifo(fifo)
    secret.write_bytes(b"secret" * 100_000)
    memfd = os.memfd_create("flowcore-pool")  # the right name, and anything in it
    os.write(memfd, b"FLOWPOOL" + b"\xff" * 100_000)
    opened = [os.open(fifo, os.O_RDWR), os.open(secret, os.O_RDONLY), memfd, os.open("/dev/zero", os.O_RDONLY)]
    camera.send(FRAME)
    async with viewer(server) as fc, fc.subscribe("flow.factory.camera.out.frame") as messages:
        camera.send(FRAME)
        good = (await messages.next(5)).payload._handle
        places = [good.owner._replace(fd=fd) for fd in (*opened, 999)]
        places += [good.owner._replace(start=1), Place(1, 1, 1), Place(2**40, 2**50, 2**60)]
        forged = [good._replace(pool=9, owner=place) for place in places]
        forged += [good._replace(pool=9, via=place) for place in places]
        forged += [good._replace(pool=good.pool + 2), good._replace(slot=2**32 - 1), good._replace(generation=1)]
        size = 1 << 29
        forged += [good._replace(nbytes=size, shape=(size,)), good._replace(device="cuda:99"), good._replace(host="x")]
        for handle in forged:
            camera.bus.publish(
                "flow.factory.camera.out.frame",
                join([pack({"epoch": 99, "seq": 1, "payload": Extension(TENSOR, handle.packed())})]),
            )
            tensor = (await messages.next(5)).payload
            with pytest.raises((BufferExpired, OSError)):  # TimeoutError is an OSError
                await tensor.fetch(timeout=0.1)
        head = good.packed()[:12]
        for bad in (
            b"\x93\x01\x02\x03",
            head + pack([0, 1, 10, "|O8", [10], "cpu", "", [1, 1, 1], None]),
            head + pack([0, 1, 2**63, "|u1", [10], "cpu", "", [1, 1, 1], None]),
            head + pack([7, 1, 10, "|u1", [10], "cpu", "", [1, 1, 1], None]),
            head + pack([0, 1, 10, "|u1", [-10, -1], "cpu", "", [1, 1, 1], None]),
        ):
            camera.bus.publish("flow.factory.camera.out.frame", join([pack({"payload": Extension(TENSOR, bad)})]))
        huge = Handle(0, 2, 0, 1, 1 << 40, "|u1", (1 << 40,), "cpu", "x", Place(1, 1, 1), None)
        camera.bus.publish("flow.factory.camera.out.frame", join([pack({"payload": Extension(TENSOR, huge.packed())})]))
        tensor = (await messages.next(5)).payload
        assert messages.malformed == 5
        with pytest.raises(ValueError, match="limit"):
            await tensor.numpy()
    for descriptor in opened:
        os.close(descriptor)
