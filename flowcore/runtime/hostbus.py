"""The bus a host stands on: its own server or another's, the host's connection with all rights, and its buckets."""

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from flowcore.bus import storage, tls
from flowcore.bus.connection import Connection
from flowcore.bus.server import EmbeddedServer
from flowcore.runtime.busrights import BusRights
from flowcore.runtime.logs import event
from flowcore.runtime.options import HostOptions

_CONNECT_TIMEOUT_S = 30.0


class HostBus:
    """Starts it, connects, and tells in the log when it goes and comes.

    Args:
        on_up: called at each connect, also the first.

    Attributes:
        server: the embedded server, None with `nats_url`.
        connection: the host's.
        url, user, password, trust: how others with full rights connect.
    """

    connection: Connection

    def __init__(self, options: HostOptions, rights: BusRights, on_up: Callable[[], None]) -> None:
        self._options, self._rights, self._tell_up = options, rights, on_up
        self.server: EmbeddedServer | None = None
        self.url, self.user, self.password = "", None, None  # type: str, str | None, str | None
        self.trust = options.nats_trust
        self._is_away = False  # a server of our own tells its own story (`_on_server`)

    async def start(self) -> None:
        """Start the server, connect, and make what the engine keeps there.

        Raises:
            BusError, StorageError, TimeoutError: it does not start or answer; `stop` ends what there is of it.
        """
        options = self._options
        if options.nats_url is None:
            server = EmbeddedServer(
                options.folder,
                listen=options.listen,
                nats_port=options.nats_port,
                mqtt_port=options.mqtt_port,
                certificate=options.certificate,
                on_event=_on_server,
            )
            await server.start(self._rights.everyone())
            self.server = server
            self._rights.use(server)
            self.url, self.trust = server.url, tls.OWN
            host, command = self._rights.host, self._rights.command
            self.user, self.password = command.name, command.password
            own: dict[str, Any] = {"user": host.name, "password": host.password, "inbox": host.inbox}
        else:
            parts = urlsplit(options.nats_url)
            self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
            self.user, self.password = (unquote(part) if part else None for part in (parts.username, parts.password))
            own = {"user": self.user, "password": self.password, "on_down": self._on_down}
        self.connection = Connection(self.url, name="flowcore host", trust=self.trust, on_up=self._on_up, **own)
        await self._connect()
        await storage.ensure(self.connection.jetstream(), self.server.room_bytes if self.server else None)

    async def _connect(self) -> None:
        """Connect to the bus; a member waits for it, as it does when the bus goes away later."""
        while True:
            try:
                await self.connection.connect(timeout=_CONNECT_TIMEOUT_S)
                return
            except TimeoutError:
                if not self._options.host:
                    raise
                self._on_down()

    async def stop(self) -> None:
        """Close the connection, then the server."""
        try:
            if hasattr(self, "connection"):
                await self.connection.close()
        finally:
            if self.server is not None:
                await self.server.stop()

    def _on_up(self) -> None:
        if self._is_away:
            self._is_away = False
            event("bus back", detail=self.url)
        self._tell_up()

    def _on_down(self) -> None:
        if not self._is_away:
            self._is_away = True
            event("bus away", logging.WARNING, detail=f"{self.url} does not answer; wires wait, what runs goes on")


def _on_server(kind: str, detail: str) -> None:
    level = logging.INFO if kind in ("restarted", "disk_free") else logging.WARNING
    event(f"bus {kind.replace('_', ' ')}", level, detail=detail)
