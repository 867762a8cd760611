"""How a model is spoken to: as a Modbus device, an OPC UA server, a web server, on a serial port.

Each serves with a library of its protocol, so what is tried against it is tried against the protocol.
"""

import contextlib
import logging
import os
import socket
import struct
import tty
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowcore.simulate.devices import At, CantServe
from flowcore_nodes.iot.simulated.model import Model

NAMESPACE = "urn:flowcore:simulated"  # of the values of an OpcuaStation: nsu=urn:flowcore:simulated;s=<name>


def needs(station: str, error: ModuleNotFoundError, extra: str) -> CantServe:
    """What is told when a library is missing."""
    return CantServe(f"{station}: {error.name} is not installed: pip install 'flowcore[{extra}]'")


@dataclass(frozen=True)
class Register:
    """Where a value stands in a Modbus device: a struct `code` such as "h" from a holding register on; "?": a coil."""

    address: int
    code: str
    scale: float = 1.0

    @property
    def size(self) -> int:
        """How many registers."""
        return (struct.calcsize(">" + self.code) + 1) // 2

    def words(self, value: float) -> list[int]:
        """The registers of a value."""
        raw = value / self.scale
        data = struct.pack(">" + self.code, raw if self.code in "fd" else round(raw))
        return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]

    def value(self, words: list[int]) -> float:
        """The value of its registers."""
        (raw,) = struct.unpack(">" + self.code, b"".join(word.to_bytes(2, "big") for word in words))
        return raw if self.scale == 1 else round(raw * self.scale, 6)


class ModbusStation:
    """A Modbus TCP device with id 1; a master reads holding registers and coils, and writes what the model takes."""

    def __init__(self, model: Model, port: int, registers: dict[str, Register]) -> None:
        self.name, self.model, self._port, self._registers = model.name, model, port, registers

    async def serve(self, at: At) -> None:
        """See Station."""
        try:
            from pymodbus.constants import ExcCodes
            from pymodbus.server import ModbusTcpServer
            from pymodbus.simulator import DataType, SimData, SimDevice
        except ModuleNotFoundError as e:
            raise needs(self.name, e, "modbus") from None

        async def asked(code: int, begin: int, address: int, count: int, held: list[int], new: list | None) -> Any:
            """pymodbus calls it at each request, before it looks into `held`."""
            if new is None:
                self._fill(held, begin, is_coils=code == 1)
                return None
            try:
                for line in self._written(address, new, is_coils=code in (5, 15)):
                    at.says(line)
            except ValueError as e:
                at.says(str(e))
                return ExcCodes.ILLEGAL_VALUE
            return None

        last = max(one.address + one.size for one in self._registers.values() if one.code != "?")
        device = SimDevice(
            1,
            (
                [SimData(0, values=[False] * 16, datatype=DataType.BITS)],
                [SimData(0, values=[False] * 16, datatype=DataType.BITS)],
                [SimData(0, count=last, datatype=DataType.REGISTERS)],
                [SimData(0, count=1, datatype=DataType.REGISTERS)],
            ),
            action=asked,
        )
        server = ModbusTcpServer(device, address=("127.0.0.1", self._port if at.port is None else at.port))
        try:
            if not await server.listen():
                raise CantServe(f"{self.name}: port {self._port if at.port is None else at.port} is taken")
            listener: Any = server.transport
            port = listener.sockets[0].getsockname()[1]
            at.listens(f"modbus tcp 127.0.0.1:{port}, device 1: {', '.join(map(self._where, self._registers))}")
            await self.model.live(lambda: None)
        finally:
            await server.shutdown()

    def _where(self, name: str) -> str:
        one = self._registers[name]
        scale = f" x{one.scale:g}" if one.scale != 1 else ""
        table = "coil" if one.code == "?" else "holding"
        return f"{name} {table} {one.address}{scale}"

    def _fill(self, held: list[int], begin: int, *, is_coils: bool) -> None:
        for name, one in self._registers.items():
            value = self.model.values[name]
            if is_coils and one.code == "?":
                held[0] = held[0] & ~(1 << one.address) | bool(value) << one.address
            elif not is_coils and one.code != "?":
                held[one.address - begin : one.address - begin + one.size] = one.words(value)

    def _written(self, address: int, new: list, *, is_coils: bool) -> list[str]:
        """Raises ValueError."""
        lines, left = [], {address + n for n in range(len(new))}
        for name, one in self._registers.items():
            part = new[one.address - address : one.address - address + one.size] if one.address >= address else []
            if (one.code == "?") != is_coils or len(part) != one.size:
                continue
            lines.append(self.model.write(name, bool(part[0]) if is_coils else one.value(part)))
            left -= {one.address + n for n in range(one.size)}
        if left:
            raise ValueError(f"{self.name}: nothing to write at {min(left)}")
        return lines


class OpcuaStation:
    """An OPC UA server without security; each value is a variable."""

    def __init__(self, model: Model, port: int) -> None:
        self.name, self.model, self._port = model.name, model, port

    async def serve(self, at: At) -> None:
        """See Station."""
        try:
            from asyncua import Server, ua
            from asyncua.common.callback import CallbackType
        except ModuleNotFoundError as e:
            raise needs(self.name, e, "opcua") from None
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)
        port = _free(self.name, self._port if at.port is None else at.port)
        server = Server()
        await server.init()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        index: Any = await server.register_namespace(NAMESPACE)
        top = await server.nodes.objects.add_object(ua.NodeId(ua.String(self.name), index), self.name)
        kinds = {bool: ua.VariantType.Boolean, int: ua.VariantType.Int32, str: ua.VariantType.String}
        nodes, names = {}, {}
        for name, value in self.model.values.items():
            kind = kinds.get(type(value), ua.VariantType.Double)
            nodes[name] = node = await top.add_variable(
                ua.NodeId(ua.String(name), index), name, ua.Variant(value, kind)
            )
            names[node.nodeid] = name
            if name in self.model.writable:
                await node.set_writable()
        shown = dict(self.model.values)

        def written(event: Any, _: Any = None) -> None:
            for one in event.request_params.NodesToWrite if event.is_external else ():
                if (name := names.get(one.NodeId)) in self.model.writable:
                    at.says(self.model.write(str(name), one.Value.Value.Value))

        server.subscribe_server_callback(CallbackType.PostWrite, written)

        async def show() -> None:
            for name, value in self.model.values.items():
                if value != shown[name]:
                    shown[name] = value
                    kind = kinds.get(type(value), ua.VariantType.Double)
                    await server.write_attribute_value(nodes[name].nodeid, ua.DataValue(ua.Variant(value, kind)))

        async with server:
            at.listens(f"opc.tcp://127.0.0.1:{port}/, nsu={NAMESPACE};s= {', '.join(nodes)}")
            await self.model.live(show)


class HttpStation:
    """A device with a web interface: GET /api gives all values, POST /api writes some."""

    def __init__(self, model: Model, port: int) -> None:
        self.name, self.model, self._port = model.name, model, port

    async def serve(self, at: At) -> None:
        """See Station."""
        from aiohttp import web

        async def read(_: web.Request) -> web.Response:
            return web.json_response(self.model.values)

        async def write(request: web.Request) -> web.Response:
            try:
                wanted = await request.json()
                for name, value in dict(wanted).items():
                    at.says(self.model.write(name, value))
            except (ValueError, TypeError) as e:
                return web.json_response({"error": str(e)}, status=400)
            return web.json_response(self.model.values)

        app = web.Application()
        app.router.add_get("/api", read)
        app.router.add_post("/api", write)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            port = _free(self.name, self._port if at.port is None else at.port)
            await web.TCPSite(runner, "127.0.0.1", port).start()
            at.listens(f"http://127.0.0.1:{port}/api, GET, and POST of {', '.join(sorted(self.model.writable))}")
            await self.model.live(lambda: None)
        finally:
            await runner.cleanup()


class SerialStation:
    """A device on a serial port: a line whenever `tells` has one. The port is a pseudo-terminal with a lasting name."""

    def __init__(self, model: Model, tells: Callable[[dict[str, Any]], str | None]) -> None:
        self.name, self.model, self._tells = model.name, model, tells

    async def serve(self, at: At) -> None:
        """See Station."""
        ours, theirs = os.openpty()
        name = at.folder / self.name
        try:
            tty.setraw(theirs)
            os.set_blocking(ours, False)
            name.parent.mkdir(parents=True, exist_ok=True)
            _point(name, os.ttyname(theirs))
            at.listens(f"serial {name} ({os.ttyname(theirs)})")

            def tell() -> None:
                line = self._tells(self.model.values)
                if line is not None:
                    with contextlib.suppress(BlockingIOError):  # nobody reads: a device does not wait
                        os.write(ours, line.encode() + b"\r\n")

            await self.model.live(tell)
        finally:
            name.unlink(missing_ok=True)
            os.close(ours)
            os.close(theirs)


def _point(name: Path, device: str) -> None:
    """A link at `name`, in place of one that was left there; never of a file."""
    if name.exists() and not name.is_symlink():
        raise CantServe(f"{name} is there already, and is no link")
    name.unlink(missing_ok=True)
    name.symlink_to(device)


def _free(name: str, port: int) -> int:
    """The port, or a free one for 0. Raises CantServe when it is taken."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError as e:
            raise CantServe(f"{name}: port {port}: {e.strerror}") from None
        return int(sock.getsockname()[1])
