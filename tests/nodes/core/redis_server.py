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
    """One server on a free port, in a folder of its own; with `tls`, a certificate and its key, only over TLS."""

    def __init__(self, folder: Path, tls: tuple[Path, Path] | None = None) -> None:
        if program() is None:
            pytest.skip("redis-server is not installed (Debian: redis-server)")
        self.folder, self._tls = folder, tls
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        self.process: subprocess.Popen | None = None

    @property
    def config(self) -> dict[str, Any]:
        """For a node."""
        return {"port": self.port, "password": PASSWORD, "timeout_s": 1.0, "tls": self._tls is not None}

    def client(self) -> Any:
        """Another program's connection, without asyncio."""
        import redis

        trust = {"ssl": True, "ssl_ca_certs": str(self._tls[0])} if self._tls else {}
        return redis.Redis("127.0.0.1", self.port, password=PASSWORD, socket_timeout=5, **trust)

    def start(self) -> None:
        """Returns when it answers, and has read what it had kept."""
        self.process = subprocess.Popen(
            [program() or "", *self._listens(), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
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

    def _listens(self) -> list[str]:
        if self._tls is None:
            return ["--port", str(self.port)]
        certificate, key = map(str, self._tls)
        return ["--port", "0", "--tls-port", str(self.port), "--tls-cert-file", certificate, "--tls-key-file", key,
                "--tls-ca-cert-file", certificate, "--tls-auth-clients", "no"]  # fmt: skip

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def pause(self, paused: bool) -> None:
        """It keeps its connections, and says nothing more; or goes on."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP if paused else signal.SIGCONT)
