import asyncio
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import field_validator, model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore_nodes.core.again import Again
from flowcore_nodes.iot.ble import BOARDS, Board, Characteristic, check_adapter, client_options, scanner_options

if TYPE_CHECKING:
    from bleak import BleakClient

_QUEUE = 10_000
_T = TypeVar("_T")


class BleDevice(Node):
    """Talk to a Bluetooth LE device: what it notifies and what is read goes out, what comes in is written.

    A device has one connection, so one node does all: each value is a message with its name as topic. A map at the
    input writes values by name and is done when the device has confirmed them; without a payload all values that can be
    read are read. A device that goes away, or no longer answers, is looked for until it is back, and notifies again;
    Bluetooth keeps nothing, so what it says meanwhile is lost, and `missed` tells how long it was away.
    """

    type = "iot/ble-device"
    title = "BLE device"
    category = "iot"
    icon = "bluetooth"
    needs = ("bleak",)
    install = "pip install 'flowcore[ble]'"

    class Config(NodeConfig):
        device: str = field(..., min_length=1, description="Address (AA:BB:CC:DD:EE:FF) or the name it advertises")
        adapter: str = field("", description="The radio, such as hci1; empty: the first; or played://host:port")
        board: Board = field(
            "none", description="A board whose values are known: Arduino Nano 33 BLE Sense, SIG service"
        )
        values: list[Characteristic] = field([], description="Further values")
        timeout_s: float = field(10.0, gt=0, le=120, description="Longest wait for the device, in seconds")

        @field_validator("adapter")
        @classmethod
        def _is_adapter(cls, adapter: str) -> str:
            return check_adapter(adapter)

        @model_validator(mode="after")
        def _has_values(self) -> "BleDevice.Config":
            names = [one.name for one in self.all_values()]
            if not names:
                raise ValueError("give a board, or values")
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"values have names of their own; twice: {', '.join(sorted(twice))}")
            return self

        def all_values(self) -> list[Characteristic]:
            """Of the board, and further ones."""
            return [*BOARDS[self.board], *self.values]

    in_ = In(description="name -> value, written to the device; nothing: read all")
    out = Out(description="a value; meta.ble has device and unit")
    missed = Out(dict, description="device and seconds it was away, when it is back")

    async def on_start(self) -> None:
        from bleak.exc import BleakError

        self._error = BleakError
        self._link = Again(self, self.config.device, (BleakError,))
        self._client: BleakClient | None = None
        self._gone: asyncio.Future[None] | None = None  # ends with this session
        self._values = {one.name: one for one in self.config.all_values()}
        self._heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_QUEUE)
        self._dropped, self._gone_s = 0, 0.0
        self._told: set[str] = set()

    async def run(self) -> None:
        self.spawn(self._link.run(self._session))
        while True:
            name, data = await self._heard.get()
            await self._pass_on(name, data)

    async def _session(self) -> None:
        from bleak import BleakClient, BleakScanner

        config = self.config

        def is_it(device: Any, data: Any) -> bool:
            wanted = config.device.lower()
            return wanted in (device.address.lower(), (data.local_name or device.name or "").lower())

        found = await BleakScanner.find_device_by_filter(is_it, config.timeout_s, **scanner_options(config.adapter))
        if found is None:
            raise ConnectionError(f"not heard within {config.timeout_s:g} s")
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def went(_: Any) -> None:
            if not gone.done():
                gone.set_result(None)

        client = BleakClient(found, went, timeout=config.timeout_s, **client_options(config.adapter))
        async with client:
            await self._begin(client)
            self._client, self._gone = client, gone
            self._link.up()
            if self._gone_s:
                away_s = time.monotonic() - self._gone_s
                await self.send({"device": config.device, "seconds": round(away_s, 3)}, port="missed")
            asking = [
                asyncio.create_task(self._ask(client, one))
                for one in self._values.values()
                if one.how == "read" and one.every_s
            ]
            try:
                done, _ = await asyncio.wait([gone, *asking], return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    one.result()
            finally:
                self._client, self._gone_s = None, time.monotonic()
                for one in (gone, *asking):
                    one.cancel()

    async def _begin(self, client: "BleakClient") -> None:
        """Have it notify; a value that it does not have is told once, and the others come all the same."""
        for one in self._values.values():
            if client.services.get_characteristic(one.uuid) is None:
                if one.name not in self._told:
                    self._told.add(one.name)
                    self.report(LookupError(f"{self.config.device} has no {one.name} ({one.uuid})"))
            elif one.how == "notify":

                def heard(_: Any, data: bytearray, name: str = one.name) -> None:
                    self._keep(name, bytes(data))

                await self._within(client.start_notify(one.uuid, heard))

    async def _within(self, asked: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout(self.config.timeout_s):
                return await asked
        except TimeoutError:
            raise TimeoutError(f"no answer within {self.config.timeout_s:g} s") from None

    def _keep(self, name: str, data: bytes) -> None:
        if self._heard.full():
            self._heard.get_nowait()
            self._dropped += 1
            self.set_status(f"{self._dropped} dropped: the flow is slower than the device", "warn")
        self._heard.put_nowait((name, data))

    async def _ask(self, client: "BleakClient", one: Characteristic) -> None:
        if client.services.get_characteristic(one.uuid) is None:
            await asyncio.Event().wait()
        while True:
            self._keep(one.name, bytes(await self._within(client.read_gatt_char(one.uuid))))
            await asyncio.sleep(one.every_s)

    async def _pass_on(self, name: str, data: bytes) -> None:
        one = self._values[name]
        try:
            value = one.decoded(data)
        except ValueError as e:
            self.report(ValueError(f"{self.config.device}: {e}"))
            return
        about = {"device": self.config.device} | ({"unit": one.unit} if one.unit else {})
        await self.send(value, topic=name, meta={"ble": about})

    async def on_message(self, message: Message) -> None:
        wanted = self._wanted(message.payload)
        while True:
            await self._link.until_up()
            client, gone = self._client, self._gone
            if client is None or gone is None:
                await asyncio.sleep(0.01)
                continue
            try:
                for one, data in wanted:
                    if client.services.get_characteristic(one.uuid) is None:
                        raise GiveUp(f"{self.config.device} has no {one.name} ({one.uuid})")
                    if data is None:
                        self._keep(one.name, bytes(await self._within(client.read_gatt_char(one.uuid))))
                    else:
                        await self._within(client.write_gatt_char(one.uuid, data, response=True))
                return
            except TimeoutError as e:  # it may answer over the next connection; what is written twice does no harm
                if not gone.done():
                    gone.set_exception(e)
                self._link.down()
            except (OSError, self._error) as e:
                if client.is_connected:  # it is there, and does not want it
                    raise GiveUp(f"{self.config.device}: {e or type(e).__name__}") from None
                self._link.down()

    def _wanted(self, payload: Any) -> list[tuple[Characteristic, bytes | None]]:
        if payload is None or payload == {}:
            return [(one, None) for one in self._values.values() if one.how == "read"]
        writable = [one.name for one in self._values.values() if one.how == "write"]
        if not isinstance(payload, dict):
            raise GiveUp(f"a map is needed, name by name ({', '.join(writable)}), got {type(payload).__name__}")
        wanted: list[tuple[Characteristic, bytes | None]] = []
        for name, value in payload.items():
            if name not in writable:
                raise GiveUp(f"no value {name!r} can be written; there is {', '.join(writable) or 'none'}")
            try:
                wanted.append((self._values[name], self._values[name].encoded(value)))
            except ValueError as e:
                raise GiveUp(str(e)) from None
        return wanted
