"""bleak's backends for devices that are played by another process: no radio, all else as with one.

One TCP connection a scan or a connected device, a JSON object a line. The first line says what is wanted:

    {"scan": true}          then {"advert": {"address", "name", "rssi", "services", "manufacturer"}} again and again
    {"connect": ADDRESS}    then {"services": [{"uuid", "characteristics": [{"uuid", "properties"}]}]}, and
    {"id": 1, "read": UUID}, {"id": 2, "write": UUID, "data": HEX}, {"id": 3, "notify": UUID, "on": true}
                            are answered with {"id": 1, "data": HEX} or {"id": 1, "error": TEXT};
                            {"notified": UUID, "data": HEX} comes by itself. Its end is that of the connection.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from typing import Any

from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError

_MTU = 247
_AGAIN_S = 0.2
_BROKEN = (ValueError, TypeError, KeyError, AttributeError)  # a line that is not as above
_log = logging.getLogger(__name__)


async def _dial(address: str, first: dict[str, Any]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    try:
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
    except OSError as e:
        raise BleakError(f"nobody plays at {address}: {e.strerror or e}") from None
    writer.write(json.dumps(first).encode() + b"\n")
    return reader, writer


def scanner(address: str) -> type[BaseBleakScanner]:
    """The backend of a BleakScanner for what is played at host:port."""

    class PlayedScanner(BaseBleakScanner):
        """See the module."""

        def __init__(self, detection_callback: Any, service_uuids: Any, scanning_mode: Any = None, **_: Any) -> None:
            super().__init__(detection_callback, service_uuids)
            self._task: asyncio.Task[None] | None = None

        async def start(self) -> None:
            self.seen_devices = {}
            reader, self._writer = await _dial(address, {"scan": True})
            self._task = asyncio.create_task(self._hear(reader))

        async def _hear(self, reader: asyncio.StreamReader) -> None:
            while True:
                try:
                    line = await reader.readline()
                    if line:
                        self._take(json.loads(line)["advert"])
                        continue
                except _BROKEN as e:  # as a radio: what is garbled on the air is not heard
                    _log.warning("%s plays what is no advertisement: %s", address, e)
                    continue
                except OSError:
                    pass
                self._writer.close()
                reader = await self._around_again()

        def _take(self, one: dict[str, Any]) -> None:
            manufacturer = {int(company): bytes.fromhex(data) for company, data in one["manufacturer"].items()}
            data = AdvertisementData(one["name"], manufacturer, {}, one["services"], None, one["rssi"], ())
            if self.is_allowed_uuid(data.service_uuids):
                device = self.create_or_update_device(one["address"], one["address"], one["name"], None, data)
                self.call_detection_callbacks(device, data)

        async def _around_again(self) -> asyncio.StreamReader:
            while True:  # as a radio: it goes on listening when a device is no longer around
                await asyncio.sleep(_AGAIN_S)
                with contextlib.suppress(BleakError):
                    reader, self._writer = await _dial(address, {"scan": True})
                    return reader

        async def stop(self) -> None:
            if self._task is not None:
                self._task.cancel()
                self._writer.close()

    return PlayedScanner


def client(address: str) -> type[BaseBleakClient]:
    """The backend of a BleakClient for what is played at host:port."""

    class PlayedClient(BaseBleakClient):
        """See the module."""

        def __init__(self, device: Any, *, disconnected_callback: Any, timeout: float, **_: Any) -> None:
            super().__init__(device, disconnected_callback=disconnected_callback, timeout=timeout)
            self._writer: asyncio.StreamWriter | None = None
            self._asked: dict[int, asyncio.Future[dict]] = {}
            self._heard: dict[str, Callable[[bytearray], None]] = {}
            self._n = 0

        @property
        def name(self) -> str:
            return self.address

        @property
        def mtu_size(self) -> int:
            return _MTU

        @property
        def is_connected(self) -> bool:
            return self._writer is not None

        async def connect(self, pair: bool, **_: Any) -> None:
            reader, writer = await _dial(address, {"connect": self.address})
            try:
                async with asyncio.timeout(self._timeout):
                    line = await reader.readline()
            except BaseException:
                writer.close()
                raise
            told: dict[str, Any] = json.loads(line) if line else {"error": "the device does not answer"}
            if "services" not in told:
                writer.close()
                raise BleakError(told["error"])
            self.services = _collection(told["services"])
            self._writer = writer
            self._task = asyncio.create_task(self._hear(reader))

        async def _hear(self, reader: asyncio.StreamReader) -> None:
            with contextlib.suppress(OSError, *_BROKEN):  # no telling what a garbled answer was to
                while line := await reader.readline():
                    told = json.loads(line)
                    if "notified" in told:
                        if (heard := self._heard.get(told["notified"])) is not None:
                            heard(bytearray.fromhex(told["data"]))
                    elif (asked := self._asked.pop(told["id"], None)) is not None and not asked.done():
                        asked.set_result(told)
            self._end()
            if self._disconnected_callback is not None:
                self._disconnected_callback()

        def _end(self) -> None:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            for asked in self._asked.values():
                if not asked.done():
                    asked.set_exception(BleakError("the device has gone"))
            self._asked.clear()

        async def disconnect(self) -> None:
            if self._writer is not None:
                self._task.cancel()
                self._end()

        async def _ask(self, **what: Any) -> dict:
            if self._writer is None:
                raise BleakError("not connected")
            self._n += 1
            asked = self._asked[self._n] = asyncio.get_running_loop().create_future()
            self._writer.write(json.dumps({"id": self._n, **what}).encode() + b"\n")
            async with asyncio.timeout(self._timeout):
                told = await asked
            if "error" in told:
                raise BleakError(told["error"])
            return told

        async def read_gatt_char(
            self, characteristic: BleakGATTCharacteristic, *, use_cached: bool = False, **_: Any
        ) -> bytearray:
            return bytearray.fromhex((await self._ask(read=characteristic.uuid))["data"])

        async def write_gatt_char(self, characteristic: BleakGATTCharacteristic, data: Any, response: bool) -> None:
            await self._ask(write=characteristic.uuid, data=bytes(data).hex())

        async def start_notify(
            self, characteristic: BleakGATTCharacteristic, callback: Callable[[bytearray], None], **_: Any
        ) -> None:
            self._heard[characteristic.uuid] = callback
            await self._ask(notify=characteristic.uuid, on=True)

        async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
            self._heard.pop(characteristic.uuid, None)
            await self._ask(notify=characteristic.uuid, on=False)

        async def read_gatt_descriptor(self, descriptor: Any, *, use_cached: bool = False, **_: Any) -> bytearray:
            raise BleakError("what is played has no descriptors")

        async def write_gatt_descriptor(self, descriptor: Any, data: Any) -> None:
            raise BleakError("what is played has no descriptors")

        async def pair(self, *_: Any, **__: Any) -> None:
            return None

        async def unpair(self) -> None:
            return None

    return PlayedClient


def _collection(services: list[dict[str, Any]]) -> BleakGATTServiceCollection:
    made, handle = BleakGATTServiceCollection(), 0
    for one in services:
        handle += 1
        service = BleakGATTService(None, handle, one["uuid"])
        made.add_service(service)
        for found in one["characteristics"]:
            handle += 1
            made.add_characteristic(
                BleakGATTCharacteristic(None, handle, found["uuid"], found["properties"], lambda: _MTU - 3, service)
            )
    return made
