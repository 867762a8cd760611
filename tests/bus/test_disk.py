"""A full disk: an error at once, recovery by itself, nothing else harmed. On a small tmpfs; needs root to mount it."""

import asyncio
import contextlib
import os
import signal
import subprocess

import nats.errors
import pytest
from nats.js.errors import APIError

from flowcore.bus import storage
from flowcore.bus.connection import Connection
from flowcore.bus.permissions import full_user
from flowcore.bus.server import EmbeddedServer

WIRE = {"producer": "a", "port": "out", "consumer": "b", "in_port": "in", "delivery": "durable"}


@contextlib.contextmanager
def mounted(folder, size_mb):
    """A file system of its own; skips where it cannot be mounted."""
    folder = folder / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small tmpfs: {done.stderr.decode().strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """32 MB; `fill(leave)` lets another program take all but `leave` bytes, `free()` gives it back."""
    with mounted(tmp_path, 32) as disk:
        yield disk


class SmallDisk:
    def __init__(self, folder):
        self.folder, self._hog = folder, folder / "hog"

    def fill(self, leave):
        disk = os.statvfs(self.folder)
        fd = os.open(self._hog, os.O_WRONLY | os.O_CREAT)
        try:
            os.write(fd, bytes(disk.f_bavail * disk.f_frsize - leave))
        finally:
            os.close(fd)

    def free(self):
        self._hog.unlink()


class Bus:
    """A server on the small disk, and what happened to it, to be waited for."""

    def __init__(self, folder):
        self.events = asyncio.Queue()
        self.server = EmbeddedServer(folder, nats_port=0, mqtt_port=0, on_event=lambda *e: self.events.put_nowait(e))
        self.user, self.up = full_user("host"), asyncio.Event()

    async def __aenter__(self):
        await self.server.start([self.user])
        self.connection = Connection(
            self.server.url, user="host", password=self.user.password, on_up=self.up.set, on_down=self.up.clear
        )
        await self.connection.connect(5)
        return self

    async def __aexit__(self, *_):
        await self.connection.close()
        await self.server.stop()

    async def event(self, kind):
        async with asyncio.timeout(15):
            while (await self.events.get())[0] != kind:
                pass

    async def publish(self, subject, data):
        """Until it is confirmed: the client may be reconnecting."""
        async with asyncio.timeout(20):
            while True:
                try:
                    return await self.connection.jetstream(timeout=0.5).publish(subject, data)
                except nats.errors.Error:
                    await asyncio.sleep(0.05)


async def test_short_of_room_a_durable_wire_says_so_at_once(small_disk):
    """Below the low mark a publish is refused in milliseconds; buckets still take; with room again it goes on."""
    async with Bus(small_disk.folder) as bus:
        js = bus.connection.jetstream(timeout=1)
        state = await js.create_key_value(bucket="state", max_bytes=1_000_000, direct=True)
        where = await storage.ensure_wire(js, "f", WIRE | {"durable": {"max_bytes": 8_000_000}})
        for _ in range(20):
            await js.publish(where.subject, bytes(50_000))
        small_disk.fill(leave=1_000_000)
        await bus.event("disk_full")
        with pytest.raises(APIError, match="maximum bytes exceeded"):
            async with asyncio.timeout(1):
                while True:  # the event comes just before the streams are lowered
                    await js.publish(where.subject, b"no room")
        await state.put("f.n", b"still works")
        held = (await js.stream_info(where.stream)).state.messages
        small_disk.free()
        await bus.event("disk_free")
        await js.publish(where.subject, bytes(50_000))
        after = await js.stream_info(where.stream)
        assert after.config.max_bytes == 8_000_000 and after.state.messages == held + 1 >= 21


async def test_a_store_that_died_on_a_full_disk_comes_back(small_disk):
    """A write that failed kills a stream until the server is restarted: with room again, we do that."""
    async with Bus(small_disk.folder) as bus:
        js = bus.connection.jetstream(timeout=0.5)
        where = await storage.ensure_wire(js, "f", WIRE | {"durable": {"max_bytes": 12_000_000}})
        small_disk.fill(leave=2_000_000)  # above the low mark: the wire itself takes the rest, faster than we look
        confirmed = 0
        with pytest.raises(nats.errors.Error):
            for _ in range(24):
                await js.publish(where.subject, bytes(500_000))
                confirmed += 1
        small_disk.free()
        await bus.event("store_restart")
        await bus.event("restarted")
        await bus.publish(where.subject, b"after")
        assert (await bus.connection.jetstream().stream_info(where.stream)).state.messages == confirmed + 1


async def test_a_server_started_without_room_is_restarted_when_there_is_some(small_disk):
    """Killed on a full disk it comes back for plain messages; stores work when there is room again."""
    async with Bus(small_disk.folder) as bus:
        js = bus.connection.jetstream(timeout=1)
        where = await storage.ensure_wire(js, "f", WIRE | {"durable": {"max_bytes": 8_000_000}})
        await js.publish(where.subject, b"before")
        small_disk.fill(leave=0)
        os.kill(bus.server.pid, signal.SIGKILL)
        await bus.event("restarted")
        arrived = asyncio.Event()
        await asyncio.wait_for(bus.up.wait(), 10)
        await bus.connection.subscribe("core.x", lambda *_: arrived.set())
        async with asyncio.timeout(10):
            await bus.connection.flush()
            bus.connection.publish("core.x", b"")
            await arrived.wait()
        small_disk.free()
        await bus.event("store_restart")
        await bus.publish(where.subject, b"after")
        assert (await bus.connection.jetstream().stream_info(where.stream)).state.messages == 2


@pytest.mark.parametrize(("size_mb", "share"), [(500, 1 / 8), (120, 1 / 16)])
async def test_a_small_disk_gets_small_streams(tmp_path, size_mb, share):
    """The engine's streams take at most half of the room, so that a durable wire finds some; they keep their sizes."""
    with mounted(tmp_path, size_mb) as disk:
        for start in ("first", "again"):
            async with Bus(disk.folder) as bus:
                js = bus.connection.jetstream()
                await storage.ensure(js, bus.server.room_bytes)
                where = await storage.ensure_wire(js, "f", WIRE | {"durable": {"max_bytes": 16_000_000}})
                assert (await js.stream_info("KV_state")).config.max_bytes == 256 * storage.MB * share
                if start == "first":
                    disk.fill(leave=2 * storage.MB)
                    await bus.event("disk_full")
                    continue
                # The server started with little free: what is there was left as it is, and is whole again with room.
                disk.free()
                await bus.event("disk_free")
                js = bus.connection.jetstream()
                assert (await js.stream_info(where.stream)).config.max_bytes == 16_000_000
                await bus.publish(where.subject, bytes(1_000_000))


async def test_a_disk_without_room_is_refused_with_the_figure(small_disk):
    """Too small for the smallest sizes: how much must be free is said."""
    async with Bus(small_disk.folder) as bus:
        with pytest.raises(storage.NoRoom, match=r"needs \d+ MB free"):
            await storage.ensure(bus.connection.jetstream(), bus.server.room_bytes)
