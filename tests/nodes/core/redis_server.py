"""A real redis-server for the tests, which keeps what it has acked on disk; Debian: redis-server."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "secret of the plant"


def program() -> str | None:
    """redis-server, also where a user's PATH leaves sbin out."""
    return shutil.which("redis-server") or shutil.which("redis-server", path="/usr/sbin:/usr/local/sbin")


class RedisPeer:
    """One server on a free port, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        if program() is None:
            pytest.skip("redis-server is not installed (Debian: redis-server)")
        self.folder = folder
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        self.process: subprocess.Popen | None = None

    @property
    def config(self) -> dict[str, Any]:
        """For a node."""
        return {"port": self.port, "password": PASSWORD, "timeout_s": 1.0}

    def client(self) -> Any:
        """Another program's connection, without asyncio."""
        import redis

        return redis.Redis(port=self.port, password=PASSWORD, socket_timeout=5)

    def start(self) -> None:
        """Returns when it answers, and has read what it had kept."""
        self.process = subprocess.Popen(
            [program() or "", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
             "--appendonly", "yes", "--appendfsync", "always", "--requirepass", PASSWORD],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        import redis

        until_s = time.monotonic() + 10
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.ConnectionError:
                assert self.process.poll() is None and time.monotonic() < until_s, "redis-server does not start"
                time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def pause(self, paused: bool) -> None:
        """It keeps its connections, and says nothing more; or goes on."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP if paused else signal.SIGCONT)
