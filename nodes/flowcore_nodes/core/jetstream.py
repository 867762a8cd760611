"""JetStream of NATS servers elsewhere, as the JetStream nodes see it: which server, as whom, what its errors mean.

The engine's own bus is not among them: what a flow may do there `core/nats-in` and its kin say. They alone of all
nodes import nats-py.
"""

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from flowcore.node import NodeConfig, field
from flowcore_nodes.core.patience import Away, Refused
from flowcore_nodes.core.tls import trusting

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

_CONNECT_S = 5


class NatsServer(NodeConfig):
    """A NATS server with JetStream, and as whom; as a resource `core/nats-server` nodes share it."""

    url: str = field("nats://127.0.0.1:4222", description="nats://host:port, tls://host:port; several with commas")
    user: str = field("", description="User; empty: none")
    password: str = field("", secret=True, description="Password of the user")
    token: str = field("", secret=True, description="Token, where the server wants one in place of a user")
    credentials: str = field("", description="File with a user's credentials (.creds)")
    tls_ca: str = field("", description="File with the certificates to trust (PEM); empty: those of the system")
    domain: str = field("", description="JetStream domain; empty: the server's own")
    timeout_s: float = field(5.0, gt=0, le=600, description="Longest wait for an answer, in seconds")

    @field_validator("url")
    @classmethod
    def _is_url(cls, text: str) -> str:
        for one in text.split(","):
            if not re.fullmatch(r"(nats|tls|ws|wss)://[^\s@/]+/?", one.strip()):
                raise ValueError(f"url is nats://host:port or tls://host:port, without user and password, is {one!r}")
        return text

    def __str__(self) -> str:
        return self.url


class JetStream:
    """One connection, made again when it is asked for and gone. Its calls belong into `answers`.

    Raises:
        ValueError: a certificate file can't be read.
    """

    def __init__(self, server: NatsServer, name: str) -> None:
        self._server, self._name = server, name
        self._tls = trusting(server.tls_ca) if server.tls_ca else None
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def client(self) -> "Client":
        """The connection."""
        import nats

        why: deque[Exception] = deque(maxlen=1)

        async def note(error: Exception) -> None:
            """The library raises that no server is there, and tells only here why."""
            why.append(error)

        async def quiet(*_: Any) -> None:
            """What is wrong the next call says."""

        server = self._server
        async with self._connecting:
            if self._client is None or self._client.is_closed:
                options: dict[str, Any] = {}
                if server.user:
                    options |= {"user": server.user, "password": server.password}
                if server.token:
                    options["token"] = server.token
                if server.credentials:
                    options["user_credentials"] = server.credentials
                if self._tls is not None:
                    options["tls"] = self._tls
                connecting = nats.connect(
                    [one.strip() for one in server.url.split(",")], name=self._name, allow_reconnect=False,
                    connect_timeout=_CONNECT_S, max_reconnect_attempts=1, reconnect_time_wait=0.05, ping_interval=2,
                    max_outstanding_pings=2, error_cb=note, disconnected_cb=quiet, closed_cb=quiet, **options,
                )  # fmt: skip
                try:
                    self._client = await connecting
                except nats.errors.NoServersError:
                    raise (judged(why[0]) if why else Away("there is no server")) from None
            return self._client

    async def context(self) -> "JetStreamContext":
        """JetStream over it."""
        return (await self.client()).jetstream(timeout=self._server.timeout_s, domain=self._server.domain or None)

    async def close(self) -> None:
        """Let go of it."""
        if self._client is not None and not self._client.is_closed:
            with contextlib.suppress(Exception):
                await self._client.close()

    @contextlib.asynccontextmanager
    async def answers(self, waits_s: float = 0.0) -> AsyncIterator[None]:
        """Calls that must be answered in time, or `waits_s` later where the server keeps them. Raises Away, Refused."""
        from nats.errors import Error

        within_s = self._server.timeout_s + waits_s + 1
        try:
            async with asyncio.timeout(within_s):
                yield
        except (Error, OSError, EOFError, TimeoutError) as e:
            raise judged(e) from None


def judged(error: BaseException) -> Away | Refused:
    """What an error means: whether trying again makes sense."""
    from nats import errors
    from nats.js.errors import APIError, NoStreamResponseError

    text = str(error) or type(error).__name__
    if isinstance(error, APIError):
        is_theirs = error.code is not None and 400 <= error.code < 500 and error.code not in (404, 408, 429)
        return (Refused if is_theirs else Away)(error.description or text)
    if isinstance(error, NoStreamResponseError):
        return Away("no stream takes this subject")
    if isinstance(error, errors.NoRespondersError):
        return Away("it has no JetStream, or is not ready")
    if isinstance(error, (errors.MaxPayloadError, errors.BadSubjectError)):
        return Refused(text)
    return Away(text)
