"""What the Modbus nodes share: how a line is reached, and what its registers mean.

    DeviceRefused   a device answers that it has no such register, or does not take this value

A TCP connection is kept. A serial line is opened for each turn, under a lock that all processes of the user respect:
two nodes may share it, and no answer gets to the wrong one.
"""

import asyncio
import contextlib
import fcntl
import logging
import math
import os
import struct
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator, model_validator

from flowcore.node import NodeConfig, field

WORDS = {"int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "float32": 2, "int64": 4, "uint64": 4, "float64": 4}
_CODES = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "float32": "f", "int64": "q", "uint64": "Q",
    "float64": "d",
}  # fmt: skip
_MOST = {"holding": 125, "input": 125, "coil": 2000, "discrete": 2000}  # that one request may ask for
_REFUSALS = {
    1: "it does not know this function", 2: "it has no such address", 3: "it does not take this value",
    4: "it has failed", 6: "it is busy", 10: "no way to it", 11: "the device behind the gateway does not answer",
}  # fmt: skip


logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # what it has to say, the node says once


class DeviceRefused(ValueError):
    """An exception response."""


class Line(NodeConfig):
    """A Modbus line and how to reach it; as a resource `iot/modbus-line` nodes share it."""

    kind: Literal["tcp", "rtu", "rtu_over_tcp"] = field(
        "tcp", description="Modbus TCP, RTU on a serial port, RTU by TCP"
    )
    host: str = field("127.0.0.1", description="tcp: name or address of device or gateway")
    port: int = field(502, ge=1, le=65535, description="tcp: port")
    serial: str = field("", description="rtu: the serial port, such as /dev/ttyUSB0")
    baud: int = field(19200, ge=50, le=4_000_000, description="rtu: speed, in bits a second")
    parity: Literal["none", "even", "odd"] = field("even", description="rtu: parity")
    stop_bits: Literal[1, 2] = field(1, description="rtu: stop bits")
    timeout_s: float = field(1.0, gt=0, le=60, description="Longest wait for an answer, in seconds")

    @model_validator(mode="after")
    def _is_whole(self) -> "Line":
        if self.kind == "rtu" and not self.serial:
            raise ValueError("rtu needs the serial port: serial")
        return self

    def __str__(self) -> str:
        return f"modbus rtu {self.serial}" if self.kind == "rtu" else f"modbus {self.host}:{self.port}"


class Value(NodeConfig):
    """A value of a device: where it stands, and what its bits mean."""

    name: str = field(..., min_length=1, description="Its name in the payload")
    table: Literal["holding", "input", "coil", "discrete"] = field("holding", description="Which of the four tables")
    address: int = field(..., ge=0, le=65535, description="Address from 0, as on the wire: register 40001 is holding 0")
    type: Literal[
        "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bit", "text", "bool"
    ] = field("uint16", description="What it is; of coils and discrete inputs always bool; bit: one bit of a register")
    order: Literal["ABCD", "CDAB", "BADC", "DCBA"] = field(
        "ABCD", description="Order of the bytes: as sent, words swapped, bytes of each word swapped, both"
    )
    bit: int = field(0, ge=0, le=15, description="bit: which, from the least significant")
    length: int = field(8, ge=1, le=125, description="text: registers")
    scale: float = field(1.0, description="The raw number is multiplied by this")
    offset: float = field(0.0, description="and this is added, in the unit of the value")
    device: int = field(1, ge=0, le=255, description="Id of the device on the line (unit id)")
    every_s: float = field(0.0, ge=0, le=86_400, description="How often it is read, in seconds; 0: as the node says")

    @field_validator("scale")
    @classmethod
    def _is_not_none(cls, scale: float) -> float:
        if not scale:
            raise ValueError("scale must not be 0")
        return scale

    @property
    def is_bits(self) -> bool:
        """A coil or a discrete input."""
        return self.table in ("coil", "discrete")

    @property
    def size(self) -> int:
        """How many registers, or bits."""
        return 1 if self.is_bits else self.length if self.type == "text" else WORDS.get(self.type, 1)

    def decoded(self, raw: Sequence[Any]) -> Any:
        """The value of its registers or its bit."""
        if self.is_bits:
            return bool(raw[0])
        if self.type in ("bit", "bool"):
            return bool(raw[0] >> self.bit & 1)
        data = _ordered(b"".join(word.to_bytes(2, "big") for word in raw), self.order)
        if self.type == "text":
            return data.split(b"\0")[0].decode("latin-1").rstrip()
        (number,) = struct.unpack(">" + _CODES[self.type], data)
        if isinstance(number, float) and not math.isfinite(number):
            return None
        if self.scale == 1 and self.offset == 0:
            return number
        return round(number * self.scale + self.offset, 10)

    def check(self, value: Any) -> None:
        """Raise ValueError when this can't be written: no such value, or it does not fit."""
        if self.is_bits or self.type in ("bit", "bool"):
            if not isinstance(value, bool) and value not in (0, 1):
                raise ValueError(f"{self.name}: true or false is needed, got {value!r}")
        else:
            self.encoded(value)

    def encoded(self, value: Any) -> list[int]:
        """The registers of a value.

        Raises:
            ValueError: it is no such value, or does not fit.
        """
        if self.type == "text":
            data = str(value).encode("latin-1", "replace")
            if len(data) > 2 * self.length:
                raise ValueError(f"{self.name}: {len(data)} characters, {2 * self.length} fit")
            data = data.ljust(2 * self.length, b"\0")
        else:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(f"{self.name}: a number is needed, got {value!r}")
            number = (value - self.offset) / self.scale if self.scale != 1 or self.offset else value
            code = _CODES[self.type]
            try:
                data = struct.pack(">" + code, number if code in "fd" else round(number))
            except (struct.error, OverflowError):
                raise ValueError(f"{self.name}: {value!r} does not fit {self.type} (raw {number:g})") from None
        data = _ordered(data, self.order)
        return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


def _ordered(data: bytes, order: str) -> bytes:
    words = [data[at : at + 2] for at in range(0, len(data), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    return b"".join(words)


def blocks(values: Sequence[Value], gap: int) -> list[list[Value]]:
    """Values that are read by one request each: of one device and table, at most `gap` unused addresses between."""
    made: list[list[Value]] = []
    for value in sorted(values, key=lambda one: (one.device, one.table, one.address)):
        block = made[-1] if made else []
        if block and (block[0].device, block[0].table) == (value.device, value.table):
            begin, end = block[0].address, max(one.address + one.size for one in block)
            if value.address <= end + gap and value.address + value.size - begin <= _MOST[value.table]:
                block.append(value)
                continue
        made.append([value])
    return made


def _let_go(locking: "asyncio.Future[int]") -> None:
    if not locking.cancelled() and locking.exception() is None:
        os.close(locking.result())


class Master:
    """One master's end of a line."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self._client: Any = None

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator["Master"]:
        """Have the line: requests may be made. Raises ConnectionError, OSError when it can't be had."""
        if self.line.kind != "rtu":
            await self._connect()
            yield self
            return
        locking = asyncio.ensure_future(asyncio.to_thread(self._locked))
        try:
            descriptor = await asyncio.shield(locking)
        except asyncio.CancelledError:  # the thread gets the lock all the same, later: then it must not be kept
            locking.add_done_callback(_let_go)
            raise
        try:
            await self._connect()
            yield self
        finally:
            self.close()
            os.close(descriptor)

    def _locked(self) -> int:
        """Have the serial line to ourselves until the descriptor is closed."""
        name = str(Path(self.line.serial).resolve()).replace("/", "_")
        path = Path(tempfile.gettempdir()) / f"flowcore-serial-{os.getuid()}{name}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    async def _connect(self) -> None:
        if self._client is not None and self._client.connected:
            return
        from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
        from pymodbus.framer import FramerType

        self.close()
        line = self.line
        common: dict[str, Any] = {"timeout": line.timeout_s, "retries": 1, "reconnect_delay": 0}
        if line.kind == "rtu":
            self._client = AsyncModbusSerialClient(
                line.serial, baudrate=line.baud, parity=line.parity[0].upper(), stopbits=line.stop_bits, **common
            )
        else:
            framer = FramerType.SOCKET if line.kind == "tcp" else FramerType.RTU
            self._client = AsyncModbusTcpClient(line.host, port=line.port, framer=framer, **common)
        if not await self._client.connect():
            self.close()
            raise ConnectionError("can't be reached")

    def close(self) -> None:
        """Let go of the line."""
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def is_connected(self) -> bool:
        """The connection stands."""
        return self._client is not None and self._client.connected

    async def read(self, block: Sequence[Value]) -> dict[str, Any]:
        """The values of a block.

        Raises:
            DeviceRefused, TimeoutError, ConnectionError
        """
        first = block[0]
        begin, count = first.address, max(one.address + one.size for one in block) - first.address
        asks = {
            "holding": "read_holding_registers", "input": "read_input_registers",
            "coil": "read_coils", "discrete": "read_discrete_inputs",
        }  # fmt: skip
        answer = await self._ask(asks[first.table], first, begin, count=count)
        raw = answer.bits if first.is_bits else answer.registers
        if len(raw) < count:
            raise DeviceRefused(f"device {first.device} answers {len(raw)} of {count} {first.table} from {begin}")
        return {one.name: one.decoded(raw[one.address - begin : one.address - begin + one.size]) for one in block}

    async def write(self, value: Value, new: Any) -> None:
        """Write one value that was checked. Raises DeviceRefused, TimeoutError, ConnectionError."""
        if value.table == "coil":
            await self._ask("write_coil", value, value.address, bool(new))
        elif value.type in ("bit", "bool"):
            mask = 1 << value.bit
            await self._ask(
                "mask_write_register", value, value.address, and_mask=0xFFFF & ~mask, or_mask=mask if new else 0
            )
        else:
            await self._ask("write_registers", value, value.address, value.encoded(new))

    async def _ask(self, name: str, value: Value, address: int, *args: Any, **kwargs: Any) -> Any:
        from pymodbus.exceptions import ModbusException

        where = f"device {value.device}, {value.table} {address}"
        if not self.is_connected:
            raise ConnectionError("the connection is gone")
        if name == "mask_write_register":
            kwargs["address"], args = address, ()
        else:
            args = (address, *args)
        try:
            answer = await getattr(self._client, name)(*args, device_id=value.device, **kwargs)
        except ModbusException as e:
            if not self.is_connected:
                raise ConnectionError(str(e)) from None
            raise TimeoutError(f"device {value.device}: no answer within {self.line.timeout_s:g} s") from None
        if answer.isError():
            code = getattr(answer, "exception_code", 0)
            raise DeviceRefused(f"{where}: {_REFUSALS.get(code, f'exception {code}')}")
        return answer
