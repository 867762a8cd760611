"""Modbus nodes against pymodbus's server, a process of its own that is killed, stopped and started again."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ports import free_port

pytest.importorskip("pymodbus")

from flowcore_nodes.iot.modbus import Line, Master, Value, blocks
from flowcore_nodes.iot.modbus_read import ModbusRead
from flowcore_nodes.iot.modbus_write import ModbusWrite

from flowcore.node.testing import drive

PROGRAM = Path(__file__).with_name("modbus_server.py")
RTU = "pymodbus's server, RTU on a pseudo-terminal"

VALUES = [
    {"name": "temp_c", "address": 0, "scale": 0.1},
    {"name": "level", "address": 1, "type": "int16"},
    {"name": "energy", "address": 2, "type": "int32"},
    {"name": "flow", "address": 4, "type": "float32"},
    {"name": "flow_swapped", "address": 6, "type": "float32", "order": "CDAB"},
    {"name": "total", "address": 8, "type": "uint64"},
    {"name": "label", "address": 12, "type": "text", "length": 3},
    {"name": "alarm", "address": 15, "type": "bit", "bit": 2},
    {"name": "counter", "table": "input", "address": 1},
    {"name": "pump", "table": "coil", "address": 2},
    {"name": "door", "table": "discrete", "address": 1, "device": 2},
]
READ = {
    "temp_c": 25.0, "level": -5, "energy": -70_000, "flow": 21.5, "flow_swapped": 21.5, "total": 2**40,
    "label": "Hello", "alarm": True, "counter": 8, "pump": True, "door": True,
}  # fmt: skip


class Server:
    """The process."""

    def __init__(self, kind: str, where: str) -> None:
        self.command = [sys.executable, str(PROGRAM), kind, where]

    def start(self) -> None:
        self.process = subprocess.Popen(self.command)
        while self.command[2] == "tcp":
            try:
                return socket.create_connection(("127.0.0.1", int(self.command[3]))).close()
            except OSError:
                assert self.process.poll() is None
                time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(port):
    made = Server("tcp", str(port))
    made.start()
    yield made
    made.kill()


def line(port: int) -> dict:
    return {"port": port, "timeout_s": 0.3}


def is_up(node) -> bool:
    return bool(node.statuses) and node.statuses[-1][1] == "ok"


@pytest.mark.survives("iot/modbus-read", "pymodbus's server, TCP", "peer restart", "slow peer", "malformed data")
async def test_values_are_read_whatever_happens_to_the_server(port, server):
    """Every type; an address and a device that are not there; a server killed, and one that stands still."""
    missing = [{"name": "nothing", "address": 60}, {"name": "nobody", "address": 0, "device": 9}]
    async with drive(ModbusRead, line=line(port), values=VALUES, every_s=0.1) as node:
        assert (await node.sent(1))[0] == READ
        server.kill()
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        server.start()
        await node.wait_for(lambda: is_up(node))
        os.kill(server.process.pid, signal.SIGSTOP)
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        os.kill(server.process.pid, signal.SIGCONT)
        await node.wait_for(lambda: is_up(node))
        assert (await node.sent(len(node.messages()) + 1))[-1] == READ
        gone = [error["error"] for error in node.errors if error["error"] == "ConnectionError"]
        assert (
            len(gone) == 2 and len(node.errors) <= 4
        )  # one for each time it went away, and what it was asked just then
    async with drive(ModbusRead, line=line(port), values=VALUES + missing, every_s=0) as node:
        await node.wait_for(lambda: is_up(node))
        await node.put("now")
        assert await node.sent() == [READ]
        errors = node.messages()[0].meta["errors"]
        assert "no such address" in errors["nothing"] and "device 9" in errors["nobody"]
        assert "2 values can't be read" in node.statuses[-1][0]


@pytest.mark.survives("iot/modbus-write", "pymodbus's server, TCP", "peer restart", "slow peer", "malformed data")
async def test_values_are_written_and_wait_for_the_server(port, server):
    values = [
        {"name": "set_c", "address": 100, "type": "int16", "scale": 0.1},
        {"name": "gain", "address": 101, "type": "float32", "order": "DCBA"},
        {"name": "text", "address": 103, "type": "text", "length": 2},
        {"name": "valve", "table": "coil", "address": 3},
        {"name": "missing", "address": 60},
    ]
    async with drive(ModbusWrite, line=line(port), values=values) as node:
        await node.put({"set_c": -12.5, "gain": 0.25, "text": "ab", "valve": True})
        assert len(await node.sent()) == 1
        await node.put({"set_c": 9999}, {"other": 1}, 5, {"gain": "x"}, {"valve": 7}, {"text": "abcde"}, {"missing": 1})
        reasons = [
            "does not fit int16",
            "no value 'other'",
            "a map is needed",
            "number",
            "true or false",
            "4 fit",
            "no such",
        ]
        assert len(node.errors) == len(reasons)
        for error, why in zip(node.errors, reasons, strict=True):
            assert why in error["text"]
        async with drive(ModbusRead, line=line(port), values=values[:4], every_s=0) as reader:
            await reader.wait_for(lambda: is_up(reader))
            await reader.put(None)
            assert await reader.sent() == [{"set_c": -12.5, "gain": 0.25, "text": "ab", "valve": True}]
        server.kill()
        putting = asyncio.create_task(node.put({"set_c": 1}))
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        server.start()
        await putting
        assert len(await node.sent()) == 2 and is_up(node)
        os.kill(server.process.pid, signal.SIGSTOP)
        putting = asyncio.create_task(node.put({"set_c": 2}, {"set_c": 3}))
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        assert not putting.done()
        os.kill(server.process.pid, signal.SIGCONT)
        await putting
        assert (await node.sent())[2:] == [{"set_c": 2}, {"set_c": 3}] and is_up(node)


class Wire:
    """Two serial ports and the line between them; `noise` is what becomes of the answers on it."""

    def __init__(self) -> None:
        self.noise: Callable[[bytes], bytes] = bytes
        self._ours, self._theirs = os.openpty(), os.openpty()
        for _, end in (self._ours, self._theirs):
            tty.setraw(end)
        self.ours, self.theirs = os.ttyname(self._ours[1]), os.ttyname(self._theirs[1])
        for begin, end in ((self._ours[0], self._theirs[0]), (self._theirs[0], self._ours[0])):
            threading.Thread(target=self._carry, args=(begin, end), daemon=True).start()

    def _carry(self, begin: int, end: int) -> None:
        try:
            while data := os.read(begin, 4096):
                os.write(end, self.noise(data) if begin == self._theirs[0] else data)
        except OSError:
            pass

    def close(self) -> None:
        for one in (*self._ours, *self._theirs):
            os.close(one)


@pytest.fixture(scope="module")
def wire():
    """One for all tests, with a server at its end, which they leave running."""
    made = Wire()
    made.server = Server("rtu", made.theirs)
    made.server.start()
    yield made
    made.server.kill()
    made.close()


def rtu(wire: Wire, timeout_s: float = 1.0) -> dict:
    return {"kind": "rtu", "serial": wire.ours, "parity": "none", "timeout_s": timeout_s}


@pytest.mark.survives("iot/modbus-read", RTU, "peer restart")
async def test_rtu_on_a_serial_line_that_two_nodes_share(wire):
    """Two masters in turn: each gets its own answers."""
    config = {"line": rtu(wire), "values": VALUES, "every_s": 0.05}
    async with drive(ModbusRead, **config) as one, drive(ModbusRead, **config) as two:
        for node in (one, two):
            await node.wait_for(lambda node=node: [one.payload for one in node.messages()].count(READ) >= 5, timeout=30)
        wire.server.kill()
        await one.wait_for(lambda: one.statuses[-1][1] == "error")
        wire.server.start()
        await one.wait_for(lambda: is_up(one))
        before = len(two.messages())
        await two.wait_for(lambda: READ in [one.payload for one in two.messages()[before:]])


async def test_who_no_longer_waits_for_a_serial_line_does_not_keep_it():
    """A handler that is ended while another node has its turn."""
    end, other = os.openpty()
    one, two = (Master(Line(kind="rtu", serial=os.ttyname(other), parity="none")) for _ in range(2))
    async with asyncio.timeout(5):
        async with one.turn():
            waiting = asyncio.create_task(two.turn().__aenter__())
            await asyncio.sleep(0.05)  # a thread waits for the lock by now
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(0.05)  # and has got it
        async with one.turn():
            pass
    os.close(end)
    os.close(other)


@pytest.mark.survives("iot/modbus-read", RTU, "slow peer", "malformed data")
async def test_rtu_noise_on_the_line_is_never_a_value(wire):
    """A flipped bit, so that the CRC is wrong; answers cut short; rubbish alone; a device that stands still."""
    noises = [lambda data: data[:-3] + bytes([data[-3] ^ 0x10]) + data[-2:], lambda data: data[: len(data) // 2],
              lambda data: b"\xff\x00\x01\x83" * 8]  # fmt: skip
    config = {"line": rtu(wire, 0.2), "values": VALUES, "every_s": 0.05}
    async with drive(ModbusRead, **config) as node:
        await node.wait_for(lambda: [one.payload for one in node.messages()].count(READ) >= 2, timeout=30)
        for noise in noises:
            wire.noise = noise
            await node.wait_for(lambda: node.statuses[-1][1] == "error")
            wire.noise = bytes
            await node.wait_for(lambda: is_up(node))
        os.kill(wire.server.process.pid, signal.SIGSTOP)
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        os.kill(wire.server.process.pid, signal.SIGCONT)
        await node.wait_for(lambda: is_up(node))
        heard = len(node.messages())
        await node.wait_for(lambda: READ in [one.payload for one in node.messages()[heard:]])
        for message in node.messages():  # what came is right, and what did not is named
            assert {**message.payload, **dict.fromkeys(message.meta.get("errors", {}))} == {
                name: None if name in message.meta.get("errors", {}) else value for name, value in READ.items()
            }


def test_few_requests_are_made():
    """Neighbours together, not across devices, tables, gaps and what one request may ask for."""
    values = [Value(name=str(n), address=n) for n in (0, 1, 5, 20, 140, 145)] + [
        Value(name="x", address=0, table="coil"),
        Value(name="y", address=2, device=2),
    ]
    assert [[value.name for value in block] for block in blocks(values, 8)] == [
        ["x"], ["0", "1", "5"], ["20"], ["140", "145"], ["y"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"values": []}, "at least 1"),
        ({"values": [{"name": "a", "address": 1}] * 2}, "twice: a"),
        ({"values": [{"name": "a", "address": 1, "scale": 0}]}, "scale"),
        ({"values": [{"name": "a", "address": 1}], "line": {"kind": "rtu"}}, "serial"),
    ],
)
async def test_wrong_settings_are_refused(config, why):
    with pytest.raises(ValueError, match=why):
        async with drive(ModbusRead, **config):
            pass
