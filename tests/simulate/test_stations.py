"""What is played and spoken to: `flowcore simulate` as a process, and ordinary clients of each protocol."""

import asyncio
import json
import os
import signal
import sys

import aiohttp
import pytest

pytest.importorskip("asyncua")
pytest.importorskip("pymodbus")

from asyncua import Client, ua
from flowcore_nodes.iot.simulated.model import Air, Belt, Meter, Model, Press, Rooms, Weights
from flowcore_nodes.iot.simulated.nano import Shaking
from pymodbus.client import AsyncModbusTcpClient

MODELS = [Air, Belt, Meter, Press, Rooms, Weights, Shaking]


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_a_model_plays_alike_for_one_seed(kind):
    """In ten minutes of its time; with another seed otherwise; what is written changes what it should."""

    def played(seed: int) -> list[dict]:
        model, seen = kind("it", seed), []
        for _ in range(6000):
            model.step()
            seen.append(dict(model.values))
        json.dumps(seen[-1], allow_nan=False)
        return seen

    assert played(1) == played(1) != played(2)


def test_what_is_written_is_obeyed_and_the_rest_refused():
    air = Air("air", 1)
    assert air.write("setpoint_c", 24.0) == "air: setpoint_c 21.0 -> 24.0"
    for _ in range(600):
        air.step()
    assert 23 < air.values["supply_c"] < 25
    with pytest.raises(ValueError, match="supply_c can't be written"):
        air.write("supply_c", 1)
    press = Press("press", 1)
    for _ in range(600):
        press.step()
    strokes = press.values["strokes"]
    press.write("running", False)
    press.step()
    assert 55 <= strokes <= 62 and press.values["state"] == "stopped"


class Simulate:
    """`flowcore simulate ...` with JSON output."""

    async def start(self, folder, *arguments: str) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "flowcore.cli", "simulate", "--json", "--data", str(folder), *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def line(self, has: str) -> dict:
        """The next line that has this key."""
        async with asyncio.timeout(60):
            while True:
                said = json.loads(await self.process.stdout.readline())
                if has in said or "error" in said:
                    return said

    async def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            return await self.process.wait()


async def test_each_kind_of_station_is_there_and_ends_cleanly(tmp_path):
    """Modbus, OPC UA, HTTP, a serial port, Bluetooth: read, written, and gone with the process."""
    simulate, where = Simulate(), {}
    names = ("air", "press", "meter", "scale", "nano")
    ports = [part for name in names if name != "scale" for part in ("--at", f"{name}=0")]
    await simulate.start(tmp_path, *names, *ports)
    while len(where) < len(names):
        said = await simulate.line("listens")
        where[said["device"]] = said["listens"]

    modbus = AsyncModbusTcpClient("127.0.0.1", port=int(where["air"].split(",")[0].rpartition(":")[2]))
    await modbus.connect()
    assert (await modbus.read_holding_registers(1, count=2)).registers == [210, 60]
    assert (await modbus.read_coils(0, count=2)).bits[:2] == [True, False]
    await modbus.write_register(1, 235)
    assert (await simulate.line("event"))["event"] == "air: setpoint_c 21.0 -> 23.5"
    assert (await modbus.write_register(0, 1)).isError() and (await modbus.read_holding_registers(40)).isError()
    await simulate.line("event")
    modbus.close()

    async with Client(where["press"].split(", ")[0]) as client:
        index = await client.get_namespace_index("urn:flowcore:simulated")
        press = client.get_node(f"ns={index};s=strokes_per_min")
        assert await press.read_value() == 60
        await press.write_value(30, ua.VariantType.Int32)
        assert (await simulate.line("event"))["event"] == "press: strokes_per_min 60 -> 30"

    async with aiohttp.ClientSession() as session:
        url = where["meter"].split(",")[0]
        async with session.get(url) as answer:
            assert 200 < (await answer.json())["volts"] < 260
        async with session.post(url, json={"tariff": 2}) as answer:
            assert (await answer.json())["tariff"] == 2
        async with session.post(url, json={"volts": 2}) as answer:
            assert answer.status == 400

    port = tmp_path / "simulated" / "scale"
    with port.open("rb", buffering=0) as scale:
        line = await asyncio.wait_for(asyncio.to_thread(scale.readline), 20)
    assert line.endswith(b";g\r\n") and line.split(b";")[0].isdigit()

    reader, writer = await asyncio.open_connection("127.0.0.1", int(where["nano"].split(",")[0].rpartition(":")[2]))
    writer.write(b'{"scan": true}\n')
    assert json.loads(await reader.readline())["advert"]["name"].startswith("Nano33BLESense")
    writer.close()
    assert await simulate.end() == 0
    assert not os.path.lexists(port)


async def test_says_what_is_wrong(tmp_path):
    """A port that is taken, a name that is none, a file in the way."""
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    (tmp_path / "simulated").mkdir()
    (tmp_path / "simulated" / "scale").write_text("mine")
    cases = [
        (("meter", "--at", f"meter={port}"), "port"),
        (("air", "--at", "belt=5"), "nothing of that name listens"),
        (("air", "--at", "air=many"), "NAME=PORT"),
        (("scale",), "is no link"),
        (("bilding",), "did you mean 'building'"),
    ]
    for arguments, why in cases:
        simulate = Simulate()
        await simulate.start(tmp_path, *arguments)
        assert why in str(await simulate.line("error")), arguments
        assert await simulate.process.wait() in (1, 2)
    taken.close()


def test_a_set_is_what_it_stands_for():
    from flowcore.simulate.devices import make

    assert [one.name for one in make("line", 3, seed=1)] == ["belt", "press", "scale", "nano"]
    assert [one.name for one in make("building", 2, seed=1)][-2:] == ["presence-1", "presence-2"]
    assert isinstance(make("air", 1, seed=1)[0].model, Model)
