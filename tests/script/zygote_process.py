"""Starting the script zygote, and knowing when it has ended.

zygote = await start_zygote(folder / "script.sock")
zygote.missing      layers of the sandbox this machine lacks; empty when scripts can be locked in
await zygote.ended()
await zygote.stop()
"""

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path


class ZygoteFailed(RuntimeError):
    """The zygote did not start; the text is what it said."""


class Zygote:
    """A zygote that runs. It ends with this process, whatever happens."""

    def __init__(self, process: asyncio.subprocess.Process, socket: Path, missing: list[str]) -> None:
        self._process = process
        self.socket = socket
        self.missing = missing

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ended(self) -> int:
        """Wait until it has ended; its exit status (negative: a signal)."""
        return await self._process.wait()

    async def stop(self) -> None:
        """End it, and with it all workers."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self._process.wait()
                return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


_WITHOUT = """
import sys
from flowcore.script import lockdown, zygote
def missing(*_): raise lockdown.LockFailed(WHICH, "left out by a test")
lockdown.restrict_landlock = missing
zygote.main()
"""


async def start_zygote(
    socket: Path, *, log: int | None = None, timeout_s: float = 20.0, without: str | None = None
) -> Zygote:
    """Start a zygote that listens on `socket`, in a folder of mode 0700; returns when it listens.

    Args:
        log: a descriptor for what it writes to its standard error; None: ours.
        without: "landlock" leaves that layer out, as on a kernel that has none.
    Raises:
        ZygoteFailed: it ended, or said nothing in time.
    """
    program = ["-m", "flowcore.script.zygote"] if without is None else ["-c", _WITHOUT.replace("WHICH", repr(without))]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", *program, os.fspath(socket.absolute()),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
        env={}, cwd="/",
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(timeout_s):
            line = await process.stdout.readline()
        return Zygote(process, socket, json.loads(line)["missing"])
    except (TimeoutError, ValueError) as e:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        status = await process.wait()
        raise ZygoteFailed(f"the script zygote did not start (status {status}): {e}") from None
