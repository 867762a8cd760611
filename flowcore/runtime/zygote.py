"""The script zygote as the host keeps it: started with an empty environment, started again when it dies.

The program is `flowcore.script.zygote`; nodes with scripts find it by the path of its socket.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
from pathlib import Path

from flowcore.runtime.logs import event
from flowcore.runtime.output import Lines

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0
_NAME = "script.sock"


class ScriptZygote:
    """Keeps a zygote listening on `path`.

    Attributes:
        missing: layers of the sandbox that this machine lacks, once it has said so.
    """

    def __init__(self, folder: Path) -> None:
        self.path = str(folder.absolute() / _NAME)
        self.missing: list[str] = []
        self.pid: int | None = None
        self.listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Keep one running from now on."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep(), name="script zygote")

    async def stop(self) -> None:
        """End it; its workers end with it."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        Path(self.path).unlink(missing_ok=True)

    async def _keep(self) -> None:
        wait_s = _FIRST_WAIT_S
        while True:
            lived_s = await self._run_one()
            wait_s = _FIRST_WAIT_S if lived_s > 60 else min(wait_s * 2, _LONGEST_WAIT_S)
            await asyncio.sleep(wait_s)

    async def _run_one(self) -> float:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        read_err, write_err = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-m", "flowcore.script.zygote", self.path),
                stdin=asyncio.subprocess.PIPE,  # its end tells the zygote to end
                stdout=asyncio.subprocess.PIPE,
                stderr=write_err,
                env={},
                start_new_session=True,
            )
        finally:
            os.close(write_err)
        self.pid = process.pid
        errors = await Lines.read(read_err, lambda line: event("script zygote", logging.WARNING, detail=line))
        try:
            assert process.stdout is not None
            first = await process.stdout.readline()
            with contextlib.suppress(ValueError, AttributeError):
                self._heard(list(json.loads(first).get("missing", ())))
            status = await process.wait()
            event("script zygote ended", logging.WARNING, detail=f"status {status}; another is started")
        finally:
            self.listening.clear()
            self.pid = None
            if process.returncode is None:
                process.kill()
                await process.wait()
            errors.close()
        return loop.time() - begun

    def _heard(self, missing: list[str]) -> None:
        if missing and missing != self.missing:
            event(
                "the sandbox for scripts is not whole on this machine",
                logging.WARNING,
                detail=f"missing: {', '.join(missing)}; scripts run only where the flow says sandbox weak or off",
            )
        self.missing = missing
        self.listening.set()
