"""An Arduino Nano 33 BLE Sense on a machine that shakes, played for bleak's backends of `ble_played`."""

import asyncio
import contextlib
import json
import math
import random
from typing import Any

from flowcore.simulate.devices import At, CantServe
from flowcore_nodes.iot.ble import BOARDS, NANO_SERVICE, Characteristic
from flowcore_nodes.iot.simulated.model import STEP_S, Model

ADDRESS, NAME = "E4:19:C1:00:7C:1F", "Nano33BLESense-7C1F"
ARDUINO = 0x09A3  # its company number in advertisements


class Shaking(Model):
    """What the board measures: it lies on a machine that vibrates, and warms up."""

    writable = frozenset({"led"})

    def begin(self) -> None:
        self.values = {
            "acceleration": {"x": 0.0, "y": 0.0, "z": 1.0}, "gyroscope": {"x": 0.0, "y": 0.0, "z": 0.0},
            "magnetic_field": {"x": 21.0, "y": 3.0, "z": -42.0},
            "orientation": {"heading": 0.14, "pitch": 0.0, "roll": 0.0}, "pressure": 101.3, "temperature": 24.0,
            "humidity": 41.0, "light": 320, "colour": {"r": 90, "g": 80, "b": 70}, "proximity": 255, "microphone": 40,
            "led": {"r": 0, "g": 0, "b": 0},
        }  # fmt: skip
        self._t_s = 0.0

    def step(self) -> None:
        self._t_s += STEP_S
        shake = {axis: self.chance.gauss(0, 0.02) for axis in "xyz"}
        swing = 0.1 * math.sin(2 * math.pi * 0.7 * self._t_s)
        self.values["acceleration"] = {
            "x": round(swing + shake["x"], 4), "y": round(shake["y"], 4), "z": round(1 + shake["z"], 4)
        }  # fmt: skip
        self.values["gyroscope"] = {axis: round(25 * value, 3) for axis, value in shake.items()}
        self.values["orientation"] = {"heading": 0.14, "pitch": round(swing, 4), "roll": round(shake["y"], 4)}
        self.near("temperature", 31.0, 300.0, 0.01)
        self.near("humidity", 38.0, 300.0, 0.02)
        self.near("pressure", 101.3, 60.0, 0.001, 3)
        self.values["light"] = max(0, round(self.chance.gauss(320, 8)))
        self.values["microphone"] = round(self.chance.gauss(40, 6))


class NanoStation:
    """The board, at a TCP port."""

    def __init__(self, seed: int, port: int = 5290) -> None:
        self.name, self.model, self._port = "nano", Shaking("nano", seed), port
        self._parts = {one.uuid: one for one in BOARDS["nano33"]}
        self._links: set[_Connected] = set()
        self._talks: dict[asyncio.StreamWriter, asyncio.Task] = {}

    async def serve(self, at: At) -> None:
        """See Station."""
        self._says = at.says
        port = self._port if at.port is None else at.port
        try:
            server = await asyncio.start_server(self._talk, "127.0.0.1", port)
        except OSError as e:
            raise CantServe(f"{self.name}: port {port}: {e.strerror}") from None
        try:
            where = "{}:{}".format(*server.sockets[0].getsockname()[:2])
            at.listens(f"played://{where}, {NAME}, {ADDRESS}: {', '.join(one.name for one in self._parts.values())}")
            await self.model.live(self._notify)
        finally:
            server.close()
            for writer in self._talks:
                writer.close()
            await asyncio.gather(*self._talks.values(), return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._talks[writer] = asyncio.current_task()  # type: ignore[assignment]
        with contextlib.suppress(OSError, ValueError, KeyError):
            first = json.loads(await reader.readline())
            if first.get("scan"):
                await self._advertise(writer)
            elif str(first.get("connect")).upper() != ADDRESS:
                _say(writer, error=f"no device {first.get('connect')} is around")
            else:
                await self._connected(reader, writer)
        del self._talks[writer]
        writer.close()

    async def _advertise(self, writer: asyncio.StreamWriter) -> None:
        strength = random.Random(NAME)  # not the model's: who listens changes nothing
        while not writer.is_closing():
            rssi = round(strength.gauss(-58, 3))
            manufacturer = {str(ARDUINO): "0133"}
            _say(writer, advert={"address": ADDRESS, "name": NAME, "rssi": rssi, "services": [NANO_SERVICE],
                                 "manufacturer": manufacturer})  # fmt: skip
            await writer.drain()
            await asyncio.sleep(0.1)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = [{"uuid": uuid, "properties": [one.how]} for uuid, one in self._parts.items()]
        _say(writer, services=[{"uuid": NANO_SERVICE, "characteristics": parts}])
        link = _Connected(writer)
        self._links.add(link)
        self._says(f"{self.name}: connected")
        try:
            while line := await reader.readline():
                asked = json.loads(line)
                try:
                    _say(writer, id=asked["id"], **self._answer(link, asked))
                except (ValueError, KeyError) as e:
                    _say(writer, id=asked["id"], error=str(e))
        finally:
            self._links.discard(link)
            self._says(f"{self.name}: disconnected")

    def _answer(self, link: "_Connected", asked: dict[str, Any]) -> dict[str, Any]:
        if "notify" in asked:
            part = self._parts[asked["notify"]]
            (link.wanted.add if asked["on"] else link.wanted.discard)(part.uuid)
            return {}
        if "read" in asked:
            return {"data": self._data(self._parts[asked["read"]])}
        part = self._parts[asked["write"]]
        self._says(self.model.write(part.name, part.decoded(bytes.fromhex(asked["data"]))))
        return {}

    def _data(self, part: Characteristic) -> str:
        return part.encoded(self.model.values[part.name]).hex()

    def _notify(self) -> None:
        for link in self._links:
            for uuid in link.wanted:
                if link.writer.transport.get_write_buffer_size() < 1 << 16:  # who does not listen misses it
                    _say(link.writer, notified=uuid, data=self._data(self._parts[uuid]))


class _Connected:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.wanted: set[str] = set()


def _say(writer: asyncio.StreamWriter, **what: Any) -> None:
    writer.write(json.dumps(what).encode() + b"\n")
