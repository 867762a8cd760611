"""The server of opcua_server.py as a process that a test starts, stops and kills."""

import socket
import subprocess
import sys
import time
from pathlib import Path

from asyncua import Client, ua

from tests.ports import free_port

PROGRAM = Path(__file__).with_name("opcua_server.py")
LINE = "nsu=http://plant.example/line;s="
PEER = "asyncua's server"


class Server:
    """The process."""

    def __init__(self, folder: Path | None = None) -> None:
        self.port = free_port()
        self.url = f"opc.tcp://127.0.0.1:{self.port}/plant"
        self._command = [sys.executable, str(PROGRAM), str(self.port), *([str(folder)] if folder else [])]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command)
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                assert self.process.poll() is None
                time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    async def write(self, name: str, value, kind=ua.VariantType.Double) -> None:
        """As somebody else would."""
        async with Client(self.url) as client:
            index = await client.get_namespace_index("http://plant.example/line")
            if not isinstance(value, ua.DataValue):
                value = ua.DataValue(ua.Variant(value, kind))
            await client.get_node(f"ns={index};s={name}").write_value(value)


def values(*names: str, **more) -> list[dict]:
    """What a node's `values` takes."""
    return [{"name": name, "node": LINE + name, **more} for name in names]
