"""What the Bluetooth LE nodes share: which radio, what the bytes of a characteristic mean, and boards that are known.

adapter ""                       the first radio of this machine
adapter hci1                     another one (Linux)
adapter played://127.0.0.1:5290  no radio: what `flowcore simulate nano` plays
"""

import math
import struct
from typing import Any, Literal

from pydantic import field_validator, model_validator

from flowcore.node import NodeConfig, field

PLAYED = "played://"
_CODES = {
    "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "float32": "f", "float64": "d",
}  # fmt: skip
_BASE = "-0000-1000-8000-00805f9b34fb"


def full_uuid(short: str) -> str:
    """The 128 bits of a UUID that may have been given as 16 or 32 of them.

    Raises:
        ValueError: it is none.
    """
    text = short.lower().removeprefix("0x")
    digits = text.replace("-", "")
    if not all(one in "0123456789abcdef" for one in digits) or len(digits) not in (4, 8, 32):
        raise ValueError(f"{short!r} is no UUID: 2a6e, or e905de3e-4002-44de-92c4-bb6e04fb0212")
    if len(digits) < 32:
        return digits.rjust(8, "0") + _BASE
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


class Characteristic(NodeConfig):
    """A value of a device: its characteristic, and what its bytes mean."""

    name: str = field(..., min_length=1, description="Its name in the flow")
    uuid: str = field(
        ..., description="UUID of the characteristic; its short form 2a6e is enough for those of the standard"
    )
    how: Literal["notify", "read", "write"] = field("notify", description="The device tells it, it is asked, or told")
    type: Literal["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64", "text", "bytes"] = field(
        "bytes", description="What the bytes are, little-endian as in Bluetooth"
    )
    fields: list[str] = field([], description="Names of several numbers in a row, such as x, y, z; empty: one number")
    scale: float = field(1.0, description="Numbers are multiplied by this")
    unit: str = field("", description="Unit, for people")
    every_s: float = field(
        0.0, ge=0, le=86_400, description="read: how often it is asked, in seconds; 0: only by message"
    )

    @field_validator("uuid")
    @classmethod
    def _is_uuid(cls, uuid: str) -> str:
        return full_uuid(uuid)

    @model_validator(mode="after")
    def _fits(self) -> "Characteristic":
        if not self.scale:
            raise ValueError(f"{self.name}: scale must not be 0")
        if self.fields and self.type not in _CODES:
            raise ValueError(f"{self.name}: {self.type} has no fields")
        return self

    @property
    def _struct(self) -> struct.Struct:
        return struct.Struct("<" + _CODES[self.type] * max(1, len(self.fields)))

    def decoded(self, data: bytes) -> Any:
        """The value of its bytes: a number (None where it is none), or a map of its fields.

        Raises:
            ValueError: too many or too few.
        """
        if self.type == "bytes":
            return bytes(data)
        if self.type == "text":
            return bytes(data).split(b"\0")[0].decode("utf-8", "replace")
        if len(data) != self._struct.size:
            raise ValueError(f"{self.name}: {self._struct.size} bytes are needed, got {len(data)} ({data[:20].hex()})")
        numbers = [self._scaled(raw) for raw in self._struct.unpack(data)]
        return dict(zip(self.fields, numbers, strict=True)) if self.fields else numbers[0]

    def _scaled(self, raw: float) -> float | None:
        if isinstance(raw, float) and not math.isfinite(raw):
            return None
        return raw if self.scale == 1 else round(raw * self.scale, 10)

    def encoded(self, value: Any) -> bytes:
        """The bytes of a value.

        Raises:
            ValueError: it is no such value, or does not fit.
        """
        if self.type in ("bytes", "text"):
            if not isinstance(value, (str, bytes)) or (self.type == "bytes" and isinstance(value, str)):
                raise ValueError(f"{self.name}: {self.type} is needed, got {value!r}")
            return value.encode() if isinstance(value, str) else value
        if self.fields:
            if not isinstance(value, dict) or set(value) != set(self.fields):
                raise ValueError(f"{self.name}: a map of {', '.join(self.fields)} is needed, got {value!r}")
            numbers = [value[name] for name in self.fields]
        else:
            numbers = [value]
        if bad := [one for one in numbers if isinstance(one, bool) or not isinstance(one, (int, float))]:
            raise ValueError(f"{self.name}: a number is needed, got {bad[0]!r}")
        raw = [one / self.scale for one in numbers]
        try:
            return self._struct.pack(*(raw if _CODES[self.type] in "fd" else map(round, raw)))
        except (struct.error, OverflowError, ValueError):
            raise ValueError(f"{self.name}: {value!r} does not fit {self.type}") from None


def _nano(number: int) -> str:
    return f"e905de3e-{number}-44de-92c4-bb6e04fb0212"


def _of(name: str, uuid: str, type_: str, how: str = "notify", fields: str = "", **more: Any) -> Characteristic:
    return Characteristic(name=name, uuid=uuid, type=type_, how=how, fields=fields.split(), **more)  # type: ignore[arg-type]


# The service e905de3e-0000-44de-92c4-bb6e04fb0212 of the Arduino Nano 33 BLE Sense, as documented in
# https://github.com/njanssen/ArduinoAI, BLE_specification.md.
_MOTION = [
    _of("acceleration", _nano(3001), "float32", fields="x y z", unit="g"),
    _of("gyroscope", _nano(3002), "float32", fields="x y z", unit="°/s"),
    _of("magnetic_field", _nano(3003), "float32", fields="x y z", unit="µT"),
    _of("orientation", _nano(3004), "float32", fields="heading pitch roll", unit="rad"),
]
_ENVIRONMENT = [
    _of("pressure", _nano(4001), "float32", "read", unit="kPa", every_s=1.0),
    _of("temperature", _nano(4002), "float32", "read", unit="°C", every_s=1.0),
    _of("humidity", _nano(4003), "float32", "read", unit="%", every_s=1.0),
    _of("light", _nano(2001), "uint16"),
    _of("colour", _nano(2002), "uint16", fields="r g b"),
    _of("proximity", _nano(2003), "uint8"),
    _of("microphone", _nano(5001), "int16", unit="RMS"),
]
_LED = [_of("led", _nano(6001), "uint8", "write", "r g b")]
# The Environmental Sensing Service 181a of the Bluetooth SIG, with the formats of its GATT Specification Supplement.
_SIG_ENVIRONMENT = [
    _of("temperature", "2a6e", "int16", scale=0.01, unit="°C"),
    _of("humidity", "2a6f", "uint16", scale=0.01, unit="%"),
    _of("pressure", "2a6d", "uint32", scale=0.1, unit="Pa"),
]

Board = Literal["none", "nano33-motion", "nano33-environment", "nano33", "environmental-sensing"]
BOARDS: dict[str, list[Characteristic]] = {
    "none": [], "nano33-motion": _MOTION, "nano33-environment": _ENVIRONMENT,
    "nano33": _MOTION + _ENVIRONMENT + _LED, "environmental-sensing": _SIG_ENVIRONMENT,
}  # fmt: skip
NANO_SERVICE = "e905de3e-0000-44de-92c4-bb6e04fb0212"


def scanner_options(adapter: str) -> dict[str, Any]:
    """What bleak's BleakScanner is made with, for this radio. Raises ValueError."""
    if adapter.startswith(PLAYED):
        from flowcore_nodes.iot.ble_played import scanner

        return {"backend": scanner(adapter.removeprefix(PLAYED))}
    return {"bluez": {"adapter": adapter}} if adapter else {}


def client_options(adapter: str) -> dict[str, Any]:
    """What bleak's BleakClient is made with."""
    if adapter.startswith(PLAYED):
        from flowcore_nodes.iot.ble_played import client

        return {"backend": client(adapter.removeprefix(PLAYED))}
    return {"bluez": {"adapter": adapter}} if adapter else {}


def check_adapter(adapter: str) -> str:
    """A name of a radio, or played://host:port. Raises ValueError."""
    if adapter.startswith(PLAYED):
        host, _, port = adapter.removeprefix(PLAYED).rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"{adapter!r}: played:// is followed by host:port")
    elif "/" in adapter or ":" in adapter:
        raise ValueError(f"{adapter!r} is no radio: empty, hci0, or played://host:port")
    return adapter
