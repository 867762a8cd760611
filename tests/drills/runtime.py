"""A runtime of a drill's own: that of the bench, with the drills' nodes, and what a drill does to it."""

import contextlib
import os
import signal
from pathlib import Path
from types import TracebackType

import nats
import psutil

from flowcore.bench import runtime as bench
from flowcore.bench.runtime import PATIENCE_S, Ran, until

__all__ = ["PATIENCE_S", "Ran", "Runtime", "kill", "until"]

PLUGIN = Path(__file__).parent / "plugin"


class Runtime(bench.Runtime):
    """`async with Runtime(folder) as runtime:` starts it; at the end it is killed, and must leave no process behind."""

    def __init__(self, folder: Path, *options: str, environ: dict[str, str] | None = None) -> None:
        super().__init__(folder, *options, plugins=[PLUGIN], environ=environ)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note("the runtime's log ends with:\n" + "\n".join(self.log()[-25:]))
        await self.kill_host()

    async def down(self) -> Ran:
        """`flowcore down`; returns when the process has ended."""
        await self.client.close()
        ran = await self.command("down")
        await self.wait()
        return ran

    async def kill_host(self) -> None:
        """SIGKILL the host alone; everything it started has to die with it.

        Raises:
            RuntimeFailed: a process was left behind.
        """
        await self.kill(only_host=True)

    async def kill_everything(self) -> None:
        """SIGKILL the host, the bus, the fork servers and every node at once."""
        await self.kill(only_host=False)

    @property
    def bus_pid(self) -> int | None:
        """The embedded nats-server's process; None while it is restarted."""
        found = [one.pid for one in psutil.Process(self.pid).children() if _name(one).startswith("nats-server")]
        return found[0] if found else None

    async def bus(self) -> nats.NATS:
        """A plain connection to its bus, with all rights; the caller closes it."""
        target = self.client.target
        inbox = f"_INBOX_{target.user}"
        return await nats.connect(target.url, user=target.user, password=target.password, inbox_prefix=inbox)

    def log_bytes(self) -> int:
        """Size of all its logs."""
        return sum(path.stat().st_size for path in (self.data / "logs").iterdir())


def kill(pid: int | None) -> bool:
    """SIGKILL; False when there is no such process (any more)."""
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""
