"""Processes of a rig: started with a log of their own, seen with all that came of them, ended with all of it."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from flowcore.runtime.forkserver import die_with_parent

_STOP_S = 5.0


class Family:
    """`async with Family(folder) as family:` ends what it started and all that came of it, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "programs.log"
        self._folder = folder
        self._programs: list[asyncio.subprocess.Process] = []

    async def start(self, arguments: Sequence[str | Path], environ: Mapping[str, str]) -> int:
        """Start one in the rig's folder; returns its pid. The kernel ends it with this process."""
        with self.log.open("ab") as said:
            program = await asyncio.create_subprocess_exec(
                *map(str, arguments), cwd=self._folder, env={**os.environ, **environ},
                stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),
            )  # fmt: skip
        self._programs.append(program)
        return program.pid

    def processes(self) -> list[psutil.Process]:
        """All that run now."""
        found = []
        for program in self._programs:
            with contextlib.suppress(psutil.NoSuchProcess):
                one = psutil.Process(program.pid)
                found += [one, *one.children(recursive=True)]
        return found

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """SIGINT, some seconds to stop by themselves, then SIGKILL for whatever is left."""
        family = self.processes()
        for program in reversed(self._programs):
            with contextlib.suppress(ProcessLookupError):
                program.send_signal(signal.SIGINT)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                for program in self._programs:
                    await program.wait()
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()  # psutil checks that the pid is still the process that was seen
        for program in self._programs:
            await program.wait()
