"""A nats-server elsewhere for the tests, with JetStream and a user: not the bus of the runtime."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from flowcore.bus.config import nats_server_program

USER, PASSWORD = "plant", "secret"


class NatsPeer:
    """One server on a free port, in a folder of its own, that keeps on disk what it has acked.

    With `tls`, a certificate and its key, it talks only over TLS.
    """

    def __init__(self, folder: Path, tls: tuple[Path, Path] | None = None) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None
        self._conf, self._tls = folder / "nats.conf", tls
        self.configure(PASSWORD)

    def configure(self, password: str) -> None:
        """Its users, from the next start or `reload` on."""
        tls = f'tls {{\n  cert_file: "{self._tls[0]}"\n  key_file: "{self._tls[1]}"\n}}' if self._tls else ""
        self._conf.write_text(f"""
{tls}
listen: "127.0.0.1:{self.port}"
server_name: elsewhere
jetstream {{
  store_dir: "{self._conf.parent}/store"
  sync_interval: always
}}
authorization {{
  user: "{USER}"
  password: "{password}"
}}
""")

    @property
    def config(self) -> dict[str, Any]:
        """For a node."""
        return {"url": self.url, "user": USER, "password": PASSWORD, "timeout_s": 1.0}

    def start(self) -> None:
        """Returns when it listens."""
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen([str(nats_server_program()), "-c", str(self._conf)], stdout=quiet, stderr=quiet)
        until_s = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None and time.monotonic() < until_s, "nats-server does not start"
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP: it keeps its connections and says nothing; SIGCONT; SIGHUP: it reads its users."""
        assert self.process is not None
        os.kill(self.process.pid, number)
