"""Peers of the nodes of factories: Modbus, OPC UA, MQTT, Bluetooth LE, a serial line."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from flowcore_nodes.iot.mqtt_out import MqttOut
from flowcore_nodes.iot.simulated.nano import NAME, NanoStation

from flowcore.node.testing import drive
from flowcore.simulate.devices import At
from tests.drills.peers.peer import Peer, Process
from tests.nodes.iot.conftest import NatsServer

PROGRAMS = Path(__file__).parents[2] / "nodes" / "iot"


class Modbus(Process):
    """pymodbus's server; what is written is read back."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.command = (str(PROGRAMS / "modbus_server.py"), "tcp", str(self.port))
        self.config = {
            "line": {"port": self.port, "timeout_s": 1},
            "values": [{"name": "n", "address": 100, "type": "int32"}],
        }

    async def got(self) -> set[int]:
        from pymodbus.client import AsyncModbusTcpClient

        client = AsyncModbusTcpClient("127.0.0.1", port=self.port)
        await client.connect()
        high, low = (await client.read_holding_registers(100, count=2)).registers
        client.close()
        return {high << 16 | low}


class ModbusRtu(Process):
    """pymodbus's server at one end of a serial line; the line stays when it goes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from tests.nodes.iot.test_modbus import Wire

        self._wire = Wire()
        self._device = self._wire.theirs
        self.command = (str(PROGRAMS / "modbus_server.py"), "rtu", self._device)
        self.config = {
            "line": {"kind": "rtu", "serial": self._wire.ours, "parity": "none", "timeout_s": 1},
            "values": [{"name": "n", "address": 100, "type": "int32"}],
        }

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(sys.executable, *self.command)
        while not self._has_line():  # noqa: ASYNC110 - it opens it some time
            await asyncio.sleep(0.01)

    def _has_line(self) -> bool:
        with contextlib.suppress(OSError):  # a file that was closed just now
            files = Path(f"/proc/{self._process.pid}/fd").iterdir()
            return self._device in [str(one.readlink()) for one in files]
        return False

    async def remove(self) -> None:
        self._wire.close()


class Opcua(Process):
    """asyncua's server."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.command = (str(PROGRAMS / "opcua_server.py"), str(self.port))
        self._name = "speed"
        self.config = {"server": {"url": f"opc.tcp://127.0.0.1:{self.port}/plant", "timeout_s": 1}}
        self.config["values"] = [{"name": "n", "node": f"nsu=http://plant.example/line;s={self._name}"}]

    async def got(self) -> set[int]:
        from asyncua import Client

        async with Client(self.config["server"]["url"]) as client:
            index = await client.get_namespace_index("http://plant.example/line")
            return {int(await client.get_node(f"ns={index};s={self._name}").read_value())}


class OpcuaCounts(Opcua):
    """Its counter counts by itself, and begins anew with the server."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config["values"][0]["node"] = "nsu=http://plant.example/line;s=counter"
        self.config |= {"publish_ms": 50}


class Mqtt(Peer):
    """nats-server's MQTT listener, which keeps sessions on disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._broker = NatsServer(folder)
        self._broker.port = self.port
        self._seen: set[int] = set()
        self.config = {"broker": self._broker.config | {"longest_wait_s": 1.5}, "topic": "numbers"}

    async def start(self) -> None:
        await self._broker.start()
        self._hears = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())
        await self._hears.wait()

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(Exception):
                async with self._broker.client(identifier="judge", clean_session=False) as client:
                    await client.subscribe("numbers", 1)
                    self._hears.set()
                    async for message in client.messages:
                        self._seen.add(int(message.payload))
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        self._listening.cancel()
        self._broker.kill()

    async def got(self) -> set[int]:
        return set(self._seen)

    async def feed(self, numbers: range) -> None:
        await self._broker.publish("numbers", *map(str, numbers))


class MqttKept(Mqtt):
    """The same, and the node's session is kept."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config |= {"clean_session": False, "format": "json"}


class MqttBehind(Mqtt):
    """The same, behind a buffer and an `iot/mqtt-out`, which acks to the buffer what the broker has."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._out_config, self.config = self.config, {}

    @contextlib.asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        from tests.nodes.core.test_buffer import FarEnd

        self._count = 0
        far = FarEnd(self.node)
        async with drive(MqttOut, **self._out_config) as out:
            carrying = asyncio.create_task(self._carry(far, out))
            try:
                yield
            finally:
                carrying.cancel()

    async def _carry(self, far: Any, out: Any) -> None:
        while True:
            if waiting := self.node.messages("out")[self._count :]:
                with contextlib.suppress(TimeoutError):  # it waits for the broker
                    await out.put(*(message.payload for message in waiting))
                self._count += len(waiting)
                while out.engine.counts["handled"] < self._count:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
                far.ack(self._count)
            await asyncio.sleep(0.001)

    async def caught_up(self) -> None:
        while self._count < self.node.engine.counts["handled"]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


class Board(Peer):
    """A simulated Arduino, through bleak's backend seam."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"device": NAME, "adapter": f"played://127.0.0.1:{self.port}", "board": "nano33-motion"}
        self.config["timeout_s"] = 2.0

    async def start(self) -> None:
        there = asyncio.Event()
        at = At(self.port, self.folder, lambda _: there.set(), lambda _: None)
        self._task = asyncio.create_task(NanoStation(seed=1).serve(at))
        await there.wait()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Around(Board):
    """The same, and who listens hears that it is around."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = {"adapter": f"played://127.0.0.1:{self.port}", "every_s": 0}


class Serial(Peer):
    """A device on a pseudo-terminal that notes lines; unplugged, and plugged in under its name again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from tests.nodes.iot.test_serial import Device

        self._device = Device(folder / "ttyUSB0")
        self._seen: set[int] = set()
        self.config = {"port": str(self._device.link), "baud": 115_200}

    async def start(self) -> None:
        self._device.plug_in()
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        rest = b""
        while True:
            try:
                rest += os.read(self._device.fd, 65_536)
            except OSError:  # nothing, or nobody has it open
                await asyncio.sleep(0.002)
            *lines, rest = rest.split(b"\n")
            self._seen.update(map(int, lines))

    async def stop(self) -> None:
        self._listening.cancel()
        self._device.unplug()

    async def got(self) -> set[int]:
        return set(self._seen)
