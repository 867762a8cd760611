"""The bus is away for a while: a server of the drill's own, so that nobody starts it again before its time."""

import asyncio
import socket
from pathlib import Path

from flowcore.bus.config import nats_server_program
from tests.drills.drill import Findings, drill
from tests.drills.flows import line, numbers_file
from tests.drills.record import Record, judge
from tests.drills.runtime import Runtime, until

_CONFIGURATION = """
listen: "127.0.0.1:{port}"
server_name: drill
max_payload: 8MB
jetstream {{
  store_dir: "{store}"
}}
authorization {{
  user: drill
  password: drill
}}
"""


class Server:
    """A nats-server that is started and killed by hand."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"nats://drill:drill@127.0.0.1:{self.port}"
        self._conf = folder / "server.conf"
        self._conf.write_text(_CONFIGURATION.format(port=self.port, store=folder / "store"))
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        quiet = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            str(nats_server_program()), "-c", str(self._conf), stdout=quiet, stderr=quiet
        )
        await until(self._listens, "nats-server to listen")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    async def kill(self) -> None:
        """SIGKILL."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await process.wait()


@drill(
    "nats-server killed, and down for a long time",
    short={"messages": 2_000, "down_s": 5.0, "rate_hz": 700},
    long={"messages": 20_000, "down_s": 150.0, "rate_hz": 2_000},
)
async def bus_away(folder: Path, messages: int, down_s: float, rate_hz: float) -> Findings:
    """Everything reconnects by itself, nothing is lost on reliable wires, no process is restarted, logs stay short."""
    found, record, server = Findings(), Record(folder / "out.jsonl"), Server(folder)
    await server.start()
    try:
        async with Runtime(folder, "--nats", server.url) as runtime:
            await runtime.deploy(line("chain", numbers_file(folder, messages), record.path, rate_hz))
            await record.until(messages // 3)
            before, log_bytes = await runtime.pids("chain"), runtime.log_bytes()
            await server.kill()
            await asyncio.sleep(down_s)
            meanwhile = record.read()
            await server.start()
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            await record.until(meanwhile + 1)
            back_s = loop.time() - began_s
            await record.until(messages)
            after = await runtime.pids("chain")
            said = runtime.log_bytes() - log_bytes
            log = runtime.log()
    finally:
        await server.kill()
    found.add(down_s=down_s, numbers_again_after_s=back_s, log_grew_bytes=said, log_lines=len(log))
    judge(record.numbers, range(1, messages + 1)).into(found)
    found.expect(before == after, "processes were restarted")
    found.expect(0 < said < 20_000, f"the log grew by {said} bytes")
    found.expect(any("bus away" in line for line in log) and any("bus back" in line for line in log), f"the log: {log}")
    return found
