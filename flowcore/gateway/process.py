"""Runs the gateway beside a host: starts its process, starts it again when it dies, ends it.

GatewayFailed   it did not begin to listen, and why
"""

import asyncio
import contextlib
import json
import logging
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from flowcore.bus.certificate import Certificate
from flowcore.bus.ports import Ports, is_loopback
from flowcore.gateway.sessions import START_S, Sessions
from flowcore.runtime.logs import event

PORT = 1880
_RUN_FILE = "editor.json"  # where it is, while it runs
_READY_S = 30.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_END_S = 3.0


class GatewayFailed(RuntimeError):
    """The gateway does not listen."""


@dataclass(frozen=True)
class GatewayOptions:
    """How the gateway of a data folder listens. `port` 0: any free one; else it, or the next that is free."""

    folder: Path
    listen: str = "127.0.0.1"
    port: int = PORT
    certificate: Certificate | None = None
    names: tuple[str, ...] = ()  # further host names that it is reached under


def url_of(folder: Path) -> str | None:
    """The address of the gateway that serves a data folder; None when none does."""
    with contextlib.suppress(OSError, ValueError):
        return str(json.loads((folder / _RUN_FILE).read_text())["url"])
    return None


class Gateway:
    """The gateway's process, kept alive."""

    def __init__(self, options: GatewayOptions) -> None:
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Its address, as this machine reaches it."""
        return address(self._options.listen, self.port, self._options.certificate)

    async def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            GatewayFailed, NoFreePort
        """
        self.port = Ports(self._options.folder).claim("http", self._options.port, self._options.listen)
        await self._start()
        (self._options.folder / _RUN_FILE).write_text(json.dumps({"url": self.url}) + "\n")
        self._keeping = asyncio.create_task(self._keep(), name="gateway")

    def start_url(self) -> str:
        """An address that lets a browser in, for a quarter of an hour."""
        return start_url(self._options.folder, self.url)

    async def stop(self) -> None:
        """End it."""
        (self._options.folder / _RUN_FILE).unlink(missing_ok=True)
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        process = self._process
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _END_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _start(self) -> None:
        options = self._options
        certificate = options.certificate
        said = {
            "folder": str(options.folder.absolute()),
            "listen": options.listen,
            "port": self.port,
            "names": options.names,
            "certificate": [str(certificate.chain), str(certificate.key)] if certificate else None,
        }
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "flowcore.gateway"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C in the terminal is for the host, which ends it last
        )
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(said).encode() + b"\n")
        try:
            line = await asyncio.wait_for(process.stdout.readline(), _READY_S)
        except TimeoutError:
            process.kill()
            line = b""
        if line.strip() != b"ready":
            raise GatewayFailed(await self._why(process) or f"it does not listen on {self.url} after {_READY_S:g} s")

    @staticmethod
    async def _why(process: asyncio.subprocess.Process) -> str:
        said = await process.stderr.read() if process.stderr else b""
        return said.decode(errors="replace").strip().rpartition("\n")[2]

    async def _keep(self) -> None:
        wait_s = _FIRST_WAIT_S
        while True:
            started_s = asyncio.get_running_loop().time()
            if self._process is not None:
                why = await self._why(self._process)
                status = await self._process.wait()
                how = signal.Signals(-status).name if status < 0 else f"status {status}"
                event("gateway died", logging.ERROR, detail=f"{how}: {why}" if why else how)
            wait_s = _FIRST_WAIT_S if asyncio.get_running_loop().time() - started_s > 60 else wait_s
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
            try:
                await self._start()
                event("gateway restarted", detail=self.url)
            except (GatewayFailed, OSError) as e:
                event("gateway failed", logging.ERROR, detail=str(e))
                self._process = None


def address(listen: str, port: int, certificate: Certificate | None) -> str:
    """Where a browser on this machine finds a gateway that listens like this."""
    host = "127.0.0.1" if listen in ("0.0.0.0", "::") or is_loopback(listen) else listen
    if certificate is not None:
        host = certificate.name(host)
    return f"{'https' if certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def start_url(folder: Path, url: str) -> str:
    """An address with a token that opens the editor, for a quarter of an hour."""
    return f"{url}/?token={Sessions(folder).token('start', START_S)}"
