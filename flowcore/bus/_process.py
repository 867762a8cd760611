"""The nats-server process: started so that it dies with us, and waited for without a thread."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)  # loaded before any fork: the child may only call


class ServerProcess:
    """One running server.

    Started from the thread that lives as long as the host (its event loop's): the kernel sends the parent-death signal
    when the *thread* that forked ends.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, stderr: Path) -> None:
        parent = os.getpid()

        def die_with_parent() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        with stderr.open("wb") as errors:
            self._popen = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,  # a Ctrl-C in the terminal is for the host, which stops us last
                preexec_fn=die_with_parent,
            )
        self.pid = self._popen.pid
        self.ended = asyncio.Event()
        self.status: int | None = None  # exit status; negative: the signal that ended it
        self._pidfd = os.pidfd_open(self.pid)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.status = self._popen.wait()
        self.ended.set()

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when it has ended."""
        if not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                self._popen.send_signal(number)

    async def stop(self, patience_s: float) -> None:
        """Ask it to end, and kill it when it has not within `patience_s`."""
        self.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), patience_s)
        self.signal(signal.SIGKILL)
        await self.ended.wait()
