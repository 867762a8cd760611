"""`iot/serial` on a pseudo-terminal: the kernel's own terminal, without the wire."""

import asyncio
import os
import tty

import pytest

pytest.importorskip("serial")

from flowcore_nodes.iot.serial import Serial

from flowcore.node.testing import drive


def is_up(node) -> bool:
    return bool(node.statuses) and node.statuses[-1][1] == "ok"


class Device:
    """What is at the other end; plugged in under a name that stays."""

    def __init__(self, link) -> None:
        self.link = link

    def plug_in(self) -> None:
        self.fd, other = os.openpty()
        tty.setraw(other)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(other))
        os.close(other)
        os.set_blocking(self.fd, False)

    def unplug(self) -> None:
        os.close(self.fd)
        self.link.unlink()

    async def heard(self, count: int) -> bytes:
        got = b""
        async with asyncio.timeout(5):
            while len(got) < count:
                try:
                    got += os.read(self.fd, 4096)
                except OSError:
                    await asyncio.sleep(0.01)
        return got


@pytest.fixture
def device(tmp_path):
    made = Device(tmp_path / "ttyUSB0")
    made.plug_in()
    yield made


@pytest.mark.survives("iot/serial", "a pseudo-terminal (pyserial)", "peer restart", "malformed data")
async def test_it_reads_writes_and_comes_back(device):
    """Unplugged and plugged in again; rubbish between, a line that never ends."""
    async with drive(Serial, port=str(device.link), baud=115200, format="json", max_frame_bytes=50) as node:
        await node.wait_for(lambda: is_up(node))
        os.write(device.fd, b'{"t": 1}\n\xff\n{"t": ')
        os.write(device.fd, b"2}\n")
        assert await node.sent(2) == [{"t": 1}, {"t": 2}]
        os.write(device.fd, b"x" * 60)
        await node.wait_for(lambda: len(node.errors) == 2)
        os.write(device.fd, b'{"t": 3}\n')
        assert await node.sent(3) == [{"t": 1}, {"t": 2}, {"t": 3}]
        await node.put({"set": 5}, "go")
        assert await device.heard(13) == b'{"set":5}\ngo\n'
        device.unplug()
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        putting = asyncio.create_task(node.put("again"))
        device.plug_in()
        await putting
        assert await device.heard(6) == b"again\n"
        os.write(device.fd, b"4\n")
        assert (await node.sent(4))[-1] == 4
        device.unplug()


@pytest.mark.survives("iot/serial", "a pseudo-terminal (pyserial)", "slow peer")
async def test_a_device_that_takes_nothing_is_waited_for_and_still_heard(device):
    """The system's buffer for the port is full: the message waits, what the device says comes, no byte is lost."""
    text = "".join(f"{n:07}\n" for n in range(5_000))
    async with drive(Serial, port=str(device.link)) as node:
        await node.wait_for(lambda: is_up(node))
        putting = asyncio.create_task(node.put(text))
        await node.wait_for(lambda: node.engine.turns.busy)
        os.write(device.fd, b"busy\n")
        await node.wait_for(lambda: [one.payload for one in node.messages()] == ["busy"])
        assert not putting.done()
        assert (await device.heard(len(text) + 1)).decode() == text + "\n"
        await putting
        assert not node.errors
        device.unplug()


async def test_silence_ends_a_message(device):
    async with drive(Serial, port=str(device.link), frame="time", silence_s=0.05, format="bytes") as node:
        await node.wait_for(lambda: is_up(node))
        os.write(device.fd, b"\x01\x02")
        await asyncio.sleep(0.01)
        os.write(device.fd, b"\x03")
        assert await node.sent(1) == [b"\x01\x02\x03"]
        device.unplug()
