"""A Modbus server as a process: `python modbus_server.py tcp PORT` or `rtu DEVICE`. pymodbus's own, not ours."""

import asyncio
import struct
import sys

from pymodbus.framer import FramerType
from pymodbus.server import StartAsyncSerialServer, StartAsyncTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def words(code: str, number: float) -> list[int]:
    """Big-endian registers."""
    data = struct.pack(">" + code, number)
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


def device(number: int) -> SimDevice:
    """Its registers: see the tests."""
    low, high = words("f", 21.5)
    holding = [
        250, 0xFFFB, *words("i", -70_000), low, high, high, low, *words("q", 2**40), 0x4865, 0x6C6C, 0x6F00, 0b100,
    ]  # fmt: skip
    registers = DataType.REGISTERS
    return SimDevice(
        number,
        (
            [SimData(0, values=[True, False, True, False] * 4, datatype=DataType.BITS)],
            [SimData(0, values=[False, True] * 8, datatype=DataType.BITS)],
            [SimData(0, values=holding, datatype=registers), SimData(100, count=20, datatype=registers)],
            [SimData(0, values=[7, 8, 9], datatype=registers)],
        ),
    )


async def main(kind: str, where: str) -> None:
    """Serve until killed."""
    devices = [device(1), device(2)]
    if kind == "tcp":
        await StartAsyncTcpServer(devices, address=("127.0.0.1", int(where)), ignore_missing_devices=True)
    else:
        await StartAsyncSerialServer(
            devices, port=where, framer=FramerType.RTU, baudrate=19200, ignore_missing_devices=True
        )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
