import asyncio
import time
from typing import Any

from pydantic import field_validator

from flowcore.node import Node, NodeConfig, Out, field
from flowcore_nodes.core.again import Again
from flowcore_nodes.iot.ble import check_adapter, full_uuid, scanner_options

_QUEUE = 1000


class BleScan(Node):
    """Hear which Bluetooth LE devices are around: a message for each advertisement.

    It has what the device says of itself, its service and manufacturer data as bytes, and how strongly it was heard.
    While the flow is slower than the devices the oldest is dropped, and the badge says how many.
    """

    type = "iot/ble-scan"
    title = "BLE scan"
    category = "iot"
    icon = "bluetooth-searching"
    needs = ("bleak",)
    install = "pip install 'flowcore[ble]'"

    class Config(NodeConfig):
        adapter: str = field("", description="The radio, such as hci1; empty: the first; or played://host:port")
        names: list[str] = field([], description="Only devices whose name begins so; empty: all")
        services: list[str] = field([], description="Only devices with one of these services (UUID); empty: all")
        weakest_dbm: int = field(-127, ge=-127, le=20, description="Only what is heard at least so strongly, in dBm")
        every_s: float = field(1.0, ge=0, le=86_400, description="At most one message of a device in so many seconds")

        @field_validator("adapter")
        @classmethod
        def _is_adapter(cls, adapter: str) -> str:
            return check_adapter(adapter)

        @field_validator("services")
        @classmethod
        def _are_uuids(cls, services: list[str]) -> list[str]:
            return [full_uuid(one) for one in services]

    out = Out(dict, description="address, name, rssi_dbm, services, manufacturer and service_data (bytes by id)")

    async def on_start(self) -> None:
        from bleak.exc import BleakError

        self._link = Again(self, self.config.adapter or "the first radio", (BleakError,))
        self._heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_QUEUE)
        self._last_s: dict[str, float] = {}
        self._dropped = 0

    async def run(self) -> None:
        self.spawn(self._link.run(self._session))
        while True:
            one = await self._heard.get()
            try:
                await self.send(one, topic=one["address"])
            except (TypeError, ValueError) as e:
                self.report(ValueError(f"{one['address']}: {e}"))

    async def _session(self) -> None:
        from bleak import BleakScanner

        config = self.config
        scanner = BleakScanner(
            self._on_advert, service_uuids=config.services or None, **scanner_options(config.adapter)
        )
        async with scanner:
            self._link.up(f"listening: {self._link.where}")
            await asyncio.Event().wait()

    def _on_advert(self, device: Any, data: Any) -> None:
        config, now_s = self.config, time.monotonic()
        name = data.local_name or device.name or ""
        if data.rssi < config.weakest_dbm or (config.names and not name.startswith(tuple(config.names))):
            return
        if now_s - self._last_s.get(device.address, -1e9) < config.every_s:
            return
        self._last_s[device.address] = now_s
        if self._heard.full():
            self._heard.get_nowait()
            self._dropped += 1
            self.set_status(f"{self._dropped} dropped: the flow is slower than the devices", "warn")
        self._heard.put_nowait(
            {
                "address": device.address, "name": name, "rssi_dbm": data.rssi, "services": list(data.service_uuids),
                "manufacturer": {str(company): bytes(one) for company, one in data.manufacturer_data.items()},
                "service_data": {uuid: bytes(one) for uuid, one in data.service_data.items()},
            }
        )  # fmt: skip
