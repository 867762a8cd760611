"""`core/buffer`: what the far end has not acked stays on the disk, and goes on in the order of the lanes."""

import asyncio
import contextlib
import sqlite3

import numpy as np
import pytest
from flowcore_nodes.core.buffer import Buffer
from flowcore_nodes.core.disk_queue import DiskQueue, Unreadable

from flowcore.node.testing import drive
from flowcore.wires.frames import Ack
from flowcore.wires.out_wire import OutWire, WireEnds


class FarEnd:
    """A reliable wire on the buffer's output; it acks when the test says so."""

    def __init__(self, node) -> None:
        self.node, self._n = node, 0
        port = node.engine.emitter.ports["out"]
        self._wire = OutWire(WireEnds("test", "node", "out", "sink", "in"), port, lambda subject, data: True)
        port.wires.append(self._wire)

    def ack(self, seq: int) -> None:
        """It is done with the first `seq` messages."""
        self._n += 1
        self._wire.on_ack(Ack(inc=1, n=self._n, epoch=1, next=seq + 1, floor=seq), 0.0)

    async def take(self, count: int) -> list:
        """Ack what comes until there are so many payloads."""
        while len(self.node.messages("out")) < count:
            self.ack(len(self.node.messages("out")))
            await self.node.sent(len(self.node.messages("out")) + 1, port="out")
        self.ack(count)
        return await self.node.sent(port="out")


@contextlib.asynccontextmanager
async def buffer(folder, **config):
    """A buffer with a far end that acks nothing yet."""
    async with drive(Buffer, extras={"data_folder": str(folder)}, **config) as node:
        yield node, FarEnd(node)


def event(node, name: str) -> dict | None:
    """The first event of that name."""
    return next((one.payload for one in node.messages("events") if one.payload["event"] == name), None)


async def put(node, *payloads, lane="") -> None:
    await node.put(*payloads, meta={"lane": lane} if lane else {})


@pytest.mark.parametrize("compress", ["zstd", "none"])
async def test_urgent_ones_go_first_and_each_lane_keeps_its_order(tmp_path, compress):
    async with buffer(tmp_path, in_flight=2, compress=compress) as (node, far):
        await put(node, *(f"bulk {n} " + "x" * 200 for n in range(20)), lane="bulk")
        await put(node, *(f"normal {n}" for n in range(70)))
        await put(node, *(f"critical {n}" for n in range(5)), lane="critical")
        got = [text.split()[:2] for text in await far.take(95)]
        assert [one[0] for one in got[2:]] == ["critical"] * 5 + ["normal"] * 70 + ["bulk"] * 18
        for lane, count in (("critical", 5), ("normal", 70), ("bulk", 20)):
            assert [int(n) for name, n in got if name == lane] == list(range(count))
        await node.wait_for(lambda: node.statuses[-1][0] == "empty")
        assert not node.errors


async def test_a_message_comes_out_as_it_came(tmp_path):
    """Payload, topic and meta, also what is large, and a tensor."""
    async with buffer(tmp_path) as (node, far):
        payload = {
            "picture": np.arange(30_000, dtype=np.uint16).reshape(100, 300),
            "b": b"\x00\xff",
            "n": 2**53,
            "list": [None, 1.5],
            "large": "x" * 300_000,
        }
        await node.put(payload, topic="plant/1", meta={"lane": "bulk", "k": 1})
        await far.take(1)
        (message,) = node.messages("out")
        picture = message.payload.pop("picture")
        assert np.array_equal(picture.numpy(), payload.pop("picture"))
        assert (message.payload, message.topic, message.meta) == (payload, "plant/1", {"lane": "bulk", "k": 1})


async def test_what_was_not_acked_is_there_after_a_restart(tmp_path):
    """In order, and what was acked does not come again."""
    async with buffer(tmp_path, in_flight=4) as (node, far):
        await node.put(*range(10))
        await node.sent(4, port="out")
        far.ack(3)
        await node.sent(7, port="out")
    async with buffer(tmp_path) as (node, far):
        got = await far.take(10)  # they were stored as one bundle, of which three were acked
        assert got == list(range(10))
    async with buffer(tmp_path) as (node, far):
        await node.put("new")
        assert await far.take(1) == ["new"]


async def test_what_was_compressed_is_kept_whatever_is_set_or_installed_later(tmp_path):
    """Switched to no compression it is read all the same; without the library it is waited for, not thrown away."""
    sent = [f"{n} " + "x" * 500 for n in range(10)]
    async with buffer(tmp_path, compress="zstd") as (node, _):
        await put(node, *sent)
        await node.sent(10, port="out")
    with pytest.raises(Unreadable, match="pip install"):
        DiskQueue(tmp_path / "buffer.sqlite", zstd=None)
    async with buffer(tmp_path, compress="none") as (node, far):
        assert await far.take(10) == sent and not node.errors


async def test_it_says_that_the_far_end_is_away_and_back(tmp_path):
    async with buffer(tmp_path, away_after_s=0.2, in_flight=2) as (node, far):
        await node.put(1, 2, 3)
        await node.wait_for(lambda: event(node, "away"))
        assert event(node, "away")["waiting"] == 3
        assert (node.statuses[-1][1] == "warn") and "far end away: 3 waiting" in node.statuses[-1][0]
        assert await far.take(3) == [1, 2, 3]
        await node.wait_for(lambda: event(node, "back"))
        assert event(node, "back")["away_s"] >= 0.2


async def test_full_it_drops_the_oldest_of_the_least_urgent_lane(tmp_path):
    """And says so; near full it raises an alert, and takes it back when there is room."""
    async with buffer(tmp_path, keep_count=10, in_flight=1) as (node, far):
        for n in range(6):
            await put(node, f"bulk {n}", lane="bulk")
        for n in range(6):
            await put(node, f"critical {n}", lane="critical")
        await node.wait_for(lambda: event(node, "near_full"))
        assert event(node, "dropped")["messages"] == 1
        assert await far.take(10) == ["bulk 0", *(f"critical {n}" for n in range(6)), "bulk 3", "bulk 4", "bulk 5"]
        await node.wait_for(lambda: event(node, "room"))
        assert "2 dropped" in node.statuses[-1][0]


async def test_full_it_can_push_back_instead(tmp_path):
    async with buffer(tmp_path, keep_count=4, in_flight=1, when_full="block") as (node, far):
        for n in range(4):
            await node.put(n)
        putting = asyncio.create_task(node.put(4))
        await node.wait_for(lambda: event(node, "near_full"))
        assert not putting.done()
        assert await far.take(5) == [0, 1, 2, 3, 4]
        await putting
        assert event(node, "dropped") is None


async def test_what_is_too_old_is_dropped(tmp_path):
    async with buffer(tmp_path, keep_hours=1, in_flight=1) as (node, far):
        await node.put("sent")
        await node.put("old")
        await node.advance(3000)
        await node.put("young")
        await node.advance(1000)
        await node.wait_for(lambda: event(node, "dropped"))
        assert event(node, "dropped")["why"] == "too old"
        assert await far.take(2) == ["sent", "young"]


async def test_it_keeps_to_its_bandwidth(tmp_path):
    """20 messages of some 1,000 bytes at 20,000 bytes a second: a second, and none is lost."""
    async with buffer(tmp_path, bytes_per_s=20_000) as (node, far):
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        await node.put(*(f"{n:04}" + "x" * 1000 for n in range(20)))
        assert len(await far.take(20)) == 20
        assert 0.9 <= loop.time() - begin_s < 3


async def test_a_damaged_message_is_told_and_the_rest_goes_on(tmp_path):
    """A flipped bit in the file, and one in its structure."""
    path = tmp_path / "buffer.sqlite"
    async with buffer(tmp_path, in_flight=1) as (node, _):
        for n in range(3):
            await node.put(n)
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE bundle SET body = zeroblob(length(body)) WHERE id = 2")
        file.commit()
    async with buffer(tmp_path) as (node, far):
        assert await far.take(2) == [0, 2]
        assert "CRC-32" in node.errors[0]["text"]
    path.write_bytes(b"no database at all" * 500)
    async with buffer(tmp_path) as (node, far):
        await node.put("new")
        assert await far.take(1) == ["new"]
        assert "begun anew" in node.errors[0]["text"]
        assert len(list(tmp_path.glob("buffer.sqlite.broken-*"))) == 1


async def test_a_disk_that_takes_nothing_makes_those_before_wait(tmp_path):
    """A folder that can't be made: it says so, and goes on when it can."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    starting = asyncio.create_task(run_one(blocked / "buffer.sqlite"))
    await asyncio.sleep(0.1)
    blocked.unlink()
    assert await asyncio.wait_for(starting, 10) == ["kept"]


async def run_one(path) -> list:
    async with drive(Buffer, path=str(path)) as node:
        far = FarEnd(node)
        await node.put("kept")
        assert any(kind == "error" for _, kind in node.statuses)
        return await far.take(1)


@pytest.mark.parametrize(
    ("config", "why"),
    [({"lanes": []}, "names"), ({"lanes": ["a", "a"]}, "once"), ({"lanes": ["a"]}, "other_lane 'normal'")],
)
async def test_wrong_lanes_are_refused(config, why):
    with pytest.raises(ValueError, match=why):
        async with drive(Buffer, **config):
            pass
