"""Device simulators beside a host: each a process of its own with an ordinary MQTT client, gone when the host is."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from flowcore.cli import out

_QUICK_DEATH_S = 1.0


class Simulators:
    """Runs `flowcore simulate NAME` for each name until stopped."""

    def __init__(self, data: Path, names: tuple[str, ...], say: Callable[[str], None]) -> None:
        self._data, self._names, self._say = data, names, say
        self._processes: list[asyncio.subprocess.Process] = []
        self._watching: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start them; one that ends at once is an error.

        Raises:
            Failed: it says why.
        """
        for name in self._names:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "flowcore.cli.simulators", name, str(self._data)),
                stdin=asyncio.subprocess.PIPE,  # its end tells the simulator that we have gone, however we went
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            self._processes.append(process)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(process.wait()), _QUICK_DEATH_S)
                said = (await process.stderr.read()).decode(errors="replace").strip() if process.stderr else ""
                raise out.Failed(f"simulator {name!r}: {said.rpartition(chr(10))[2] or 'it ended at once'}")
            self._watching.append(asyncio.create_task(self._watch(name, process)))

    async def _watch(self, name: str, process: asyncio.subprocess.Process) -> None:
        last = b""
        while process.stderr and (line := await process.stderr.readline()):
            last = line
        status = await process.wait()
        self._say(f"simulator {name} ended with status {status}: {last.decode(errors='replace').strip()}")

    async def stop(self) -> None:
        """End them."""
        for task in self._watching:
            task.cancel()
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                await asyncio.wait_for(process.wait(), 3)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


def _end_with_parent() -> None:
    """End when standard input does: the host holds its other end, even `kill -9` closes it."""
    import os
    import threading

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    from flowcore.cli.main import main

    _end_with_parent()
    sys.argv = ["flowcore", "simulate", sys.argv[1], "--data", sys.argv[2]]
    main()
