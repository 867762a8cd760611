"""The embedded bus: a nats-server of our own, kept running, with users that change while it runs.

Owns the server's process, its configuration and its folder. Who the users are is `flowcore.bus.permissions`'s and the
host's business; buckets and streams are `flowcore.bus.storage`'s.

    BusError
    ├── ServerFailed   it does not start; holds the end of its log
    └── UsersRefused   it refused a new list of users; the one before is in force

Invariant: `users.conf` on disk is always a list that the running server accepted, or is about to be told of.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from flowcore.bus import config, tls
from flowcore.bus._process import ServerProcess
from flowcore.bus.certificate import Certificate
from flowcore.bus.connection import Connection
from flowcore.bus.disk import DiskWatch
from flowcore.bus.ending import end
from flowcore.bus.permissions import BusUser, new_password
from flowcore.bus.ports import Ports
from flowcore.bus.storage import STORE_SHARE
from flowcore.bus.tls import BadCertificate

_START_TIMEOUT_S = 30.0  # JetStream reads its store first
_STOP_PATIENCE_S = 10.0
_RELOAD_TIMEOUT_S = 2.0
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.05, 2.0
_STEADY_S = 10.0  # alive for so long: the next death starts the backoff anew
_STARTS_WITH_OTHER_PORTS = 5
_CERTIFICATE_PERIOD_S = 60.0

OnEvent = Callable[[str, str], None]


class BusError(RuntimeError):
    """Something about the bus that the user has to know."""


class ServerFailed(BusError):
    """nats-server does not start."""


class UsersRefused(BusError):
    """The server refused a list of users."""


class EmbeddedServer:
    """A nats-server that lives and dies with this process.

    Args:
        folder: the data folder; the server's files go to `nats/` in it, the ports to `ports.json`.
        listen: address of both listeners.
        nats_port, mqtt_port: wanted ports; the next free one when taken, any for 0.
        on_event: called with a kind (`died`, `restarting`, `restarted`, `certificate`, `disk_full`, `disk_free`,
            `store_restart`, `reload_by_signal`) and a line of detail. Called on the event loop; must not wait.
        certificate: both listeners have TLS then (`nats/secured.conf`); renewed files are taken up within a minute.
        template: name of a file in `nats/`, or a path; None: `embedded.conf`, or `secured.conf` with `tls`.
        variables: more values for the template, for example `FLOWCORE_HUB` of `nats/leaf.conf`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        listen: str = "127.0.0.1",
        nats_port: int = 4222,
        mqtt_port: int = 1883,
        on_event: OnEvent | None = None,
        certificate: Certificate | None = None,
        template: str | Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder.absolute() / "nats"
        self.listen = listen
        self.port = 0
        self.mqtt_port = 0
        self._wanted = {"nats": nats_port, "mqtt": mqtt_port}
        self._ports = Ports(folder)
        self._on_event = on_event or (lambda kind, detail: None)
        self._template = config.conf_folder() / (template or ("secured.conf" if certificate else "embedded.conf"))
        self._variables = dict(variables or {})
        self._certificate = certificate
        if certificate:
            self._variables["FLOWCORE_TLS_CERT"] = str(certificate.chain)
            self._variables["FLOWCORE_TLS_KEY"] = str(certificate.key)
        self._name = f"flowcore-{random.getrandbits(64):016x}"
        self._own_password = new_password()
        self._users: tuple[BusUser, ...] = ()
        self._users_change = asyncio.Lock()
        self._process: ServerProcess | None = None
        self._server_id = ""
        self._system: Connection | None = None
        self._storage: Connection | None = None
        self._disk: DiskWatch | None = None
        self._is_restarting = False
        self._restarted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def has_tls(self) -> bool:
        """True when both listeners have TLS."""
        return self._certificate is not None

    @property
    def local_host(self) -> str:
        """The address of both listeners for processes of this machine."""
        return _reachable(self.listen)

    @property
    def url(self) -> str:
        """Where processes of this machine connect, with trust `tls.OWN`."""
        return f"{'tls' if self.has_tls else 'nats'}://{_address(self.local_host, self.port)}"

    @property
    def outside_url(self) -> str:
        """Where programs of other machines connect; for this machine only when it listens on loopback."""
        return f"{'tls' if self.has_tls else 'nats'}://{_address(self._named(), self.port)}"

    @property
    def mqtt_url(self) -> str:
        """Where MQTT devices connect."""
        return f"{'mqtts' if self.has_tls else 'mqtt'}://{_address(self._named(), self.mqtt_port)}"

    @property
    def pid(self) -> int | None:
        """Process id of the server that runs now; None between a death and the restart."""
        return self._process.pid if self.is_running and self._process else None

    @property
    def is_running(self) -> bool:
        """True while the server's process lives."""
        return self._process is not None and not self._process.ended.is_set()

    @property
    def users(self) -> tuple[BusUser, ...]:
        """The users in force."""
        return self._users

    async def start(self, users: Iterable[BusUser] = ()) -> None:
        """Start the server and wait until it can be used; it is restarted from then on whenever it dies.

        Raises:
            ServerFailed: it ended at once, or was not ready in 30 s.
            NoFreePort, NoNatsServer, BadCertificate
        """
        if self._certificate:
            self._certificate.check()
            if expired := self._certificate.expired():  # flows run all the same: only outsiders check it
                self._on_event("certificate", f"{self._certificate.chain} expired on {expired}: outsiders refuse it")
        self._users = tuple(users) or self._users
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        for last_try in range(_STARTS_WITH_OTHER_PORTS - 1, -1, -1):
            self.port = self._ports.claim("nats", self._wanted["nats"], self.listen)
            self.mqtt_port = self._ports.claim("mqtt", self._wanted["mqtt"], self.listen)
            try:
                await self._start_process()
                break
            except ServerFailed as e:
                # Between our look at the port and its own, another process may have taken it.
                if not last_try or "address already in use" not in str(e):
                    raise
        self._system = await self._connect(config.SYSTEM_USER)
        self._storage = await self._connect(config.STORAGE_USER)
        self._disk = DiskWatch(
            self.folder,
            ask=self.system_request,
            jetstream=self._storage.jetstream,
            restart=self.restart,
            on_event=self._on_event,
        )
        self._disk.server_started()
        self._tasks = [asyncio.create_task(self.watch()), asyncio.create_task(self._disk.run())]
        if self._certificate:
            self._tasks.append(asyncio.create_task(self._watch_certificate(self._certificate)))

    async def stop(self) -> None:
        """End the server in order: JetStream's files are closed properly."""
        await end(self._tasks, again_s=0.2)
        self._tasks = []
        for connection in (self._system, self._storage):
            if connection is not None:
                await connection.close()
        self._system = self._storage = None
        if self._process is not None:
            await self._process.stop(_STOP_PATIENCE_S)

    async def restart(self) -> None:
        """End the server in order and start it again, ports and users as they are; clients come back by themselves."""
        if self._process is None:
            return
        self._restarted.clear()
        self._is_restarting = True
        try:
            await self._process.stop(_STOP_PATIENCE_S)
            await self._restarted.wait()  # `watch` starts it
        finally:
            self._is_restarting = False

    async def set_users(self, users: Iterable[BusUser]) -> None:
        """Let exactly these users in, from the moment this returns.

        Connected users stay connected and have their new rights at once; connections of users that are gone are cut.

        Raises:
            UsersRefused: the server found a fault in the list; the users before are in force.
        """
        async with self._users_change:
            before, self._users = self._users, tuple(users)
            if not self.is_running:  # before the start, or between a death and the restart, which reads the file
                if self.folder.is_dir():
                    self._write_users()
                return
            self._write_users()
            fault = await self._reload()
            if fault is not None:
                self._users = before
                self._write_users()
                raise UsersRefused(f"the bus refused the new list of users: {fault}. The users before it stay.")

    async def system_request(self, endpoint: str, body: bytes = b"", timeout: float = 2.0) -> dict[str, Any]:
        """Ask the server itself: `JSZ`, `HEALTHZ`, `VARZ`, `RELOAD`, .. of its system account.

        Raises:
            TimeoutError: no answer; the server is away or stuck.
        """
        if self._system is None:
            raise TimeoutError("the embedded server is not started")
        return json.loads(await self._system.request(f"$SYS.REQ.SERVER.{self._server_id}.{endpoint}", body, timeout))

    @property
    def room_bytes(self) -> int:
        """What JetStream may store in all.

        nats-server by itself would take three quarters of what is free when it starts, and so at each start count as
        gone what its own streams have filled since.
        """
        disk = os.statvfs(self.folder)
        own = sum(file.stat().st_size for file in (self.folder / "store").rglob("*") if file.is_file())
        return int((disk.f_bavail * disk.f_frsize + own) * STORE_SHARE)

    async def watch(self) -> None:
        """Restart the server each time it dies, for ever; `start` runs this by itself."""
        backoff_s = _FIRST_BACKOFF_S
        while True:
            assert self._process is not None
            began = time.monotonic()
            await self._process.ended.wait()
            if time.monotonic() - began > _STEADY_S:
                backoff_s = _FIRST_BACKOFF_S
            if not self._is_restarting:
                self._on_event("died", f"nats-server ended with status {self._process.status}")
            tries = 0
            while not self.is_running:
                await asyncio.sleep(backoff_s * random.uniform(0.5, 1.5))
                backoff_s = min(backoff_s * 2, _LONGEST_BACKOFF_S)
                tries += 1
                try:
                    await self._start_process()
                except (ServerFailed, OSError) as e:
                    if tries == 1 or tries % 30 == 0:  # a minute apart: logs stay short
                        self._on_event("restarting", f"try {tries} failed: {e}")
            if self._disk is not None:
                self._disk.server_started()
            self._restarted.set()
            self._on_event("restarted", f"process {self.pid} after {tries} tries")

    async def renew_certificate(self) -> None:
        """Take up the certificate that the files hold now; connections that are open stay."""
        assert self._certificate is not None
        try:
            self._certificate.check()  # a half-written pair would keep the server from reading its users too
            fault = await self._reload()
        except BadCertificate as e:
            fault = str(e)
        self._on_event("certificate", f"the one before stays: {fault}" if fault else "the renewed one is in force")

    async def _watch_certificate(self, certificate: Certificate) -> None:
        async for _ in certificate.renewals():
            await self.renew_certificate()

    def _named(self) -> str:
        """What others call the address of the listeners: a name in the certificate, since they will check it."""
        name = socket.gethostname() if self.listen in ("0.0.0.0", "::") else self.listen
        return self._certificate.name(name) if self._certificate else name

    async def _connect(self, user: str) -> Connection:
        inbox = f"_INBOX_{user}"
        connection = Connection(self.url, user=user, password=self._own_password, name=user, inbox=inbox, trust=tls.OWN)
        await connection.connect(timeout=_START_TIMEOUT_S)
        return connection

    def _write_users(self) -> None:
        config.write_private(self.folder / config.USERS_FILE, config.users_conf(self._users, self._own_password))

    async def _reload(self) -> str | None:
        """Make the server read its configuration again; the fault it found, if any."""
        try:
            answer = await self.system_request("RELOAD", timeout=_RELOAD_TIMEOUT_S)
        except TimeoutError:
            # Away or overloaded. The signal gets through later; a restart reads the file anyway.
            self._on_event("reload_by_signal", "the server did not answer a reload in time")
            if self._process is not None:
                self._process.signal(signal.SIGHUP)
            return None
        return answer["error"].get("description", "no reason given").strip() if "error" in answer else None

    async def _start_process(self) -> None:
        """Start the process with the ports as they are and wait until it answers."""
        config.write_private(self.folder / "server.conf", self._template.read_text())
        self._write_users()
        log = self.folder / "server.log"
        values = {
            "FLOWCORE_SERVER_NAME": self._name,
            "FLOWCORE_LISTEN": _address(self.listen, self.port),
            "FLOWCORE_MQTT_LISTEN": _address(self.listen, self.mqtt_port),
            "FLOWCORE_STORE": str(self.folder / "store"),
            "FLOWCORE_STORE_SIZE": f"{self.room_bytes >> 10}K",
            "FLOWCORE_LOG": str(log),
            **self._variables,
        }
        log_before = log.stat().st_size if log.exists() else 0
        command = [str(config.nats_server_program()), "-c", str(self.folder / "server.conf")]
        process = ServerProcess(command, config.environment(values), self.folder, self.folder / "stderr.log")
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                info = await self._greeting(process)
        except TimeoutError:
            info = None
        except BaseException:
            process.signal(signal.SIGKILL)
            raise
        if info is None:
            process.signal(signal.SIGKILL)
            await process.ended.wait()
            raise ServerFailed(f"nats-server does not start: {self._why(log, log_before)}")
        self._server_id = info["server_id"]
        self._process = process

    async def _greeting(self, process: ServerProcess) -> dict[str, Any] | None:
        """What the server says of itself to a new connection; None when the process ended first."""
        pause_s = 0.002
        while not process.ended.is_set():
            with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(_reachable(self.listen), self.port)
                try:
                    line = await asyncio.wait_for(reader.readline(), 1.0)
                finally:
                    writer.close()
                info = json.loads(line.removeprefix(b"INFO "))
                if info["server_name"] == self._name:  # not another server that took the port
                    return info
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.1)
        return None

    def _why(self, log: Path, start: int) -> str:
        """The reason that the server gave for not starting."""
        lines: list[str] = []
        for path, skip in ((self.folder / "stderr.log", 0), (log, start)):
            with contextlib.suppress(OSError):
                lines += path.read_bytes()[skip:].decode(errors="replace").splitlines()
        faults = [line for line in lines if "[FTL]" in line or "[ERR]" in line or line.startswith("nats-server:")]
        chosen = faults or lines[-3:]
        return "; ".join(line.partition("] ")[2] or line for line in chosen) or f"no reason given, see {log}"


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reachable(listen: str) -> str:
    """The address by which this machine reaches a listener."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen, listen)
