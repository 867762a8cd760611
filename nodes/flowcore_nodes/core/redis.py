"""Redis servers as the Redis nodes see them: which, as whom, and what its errors mean.

Nothing is retried in the library: `Patience` and `Again` do that, and say so.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from flowcore.node import NodeConfig, field
from flowcore_nodes.core.patience import Away, Refused
from flowcore_nodes.core.tls import trusting

if TYPE_CHECKING:
    from redis.asyncio import Redis

INSTALL = "pip install 'flowcore[redis]'"
_CONNECT_S = 5.0


class RedisServer(NodeConfig):
    """Which Redis server (or Valkey), and as whom; as a resource `core/redis-server` nodes share it."""

    host: str = field("127.0.0.1", min_length=1, description="Name or address of the server")
    port: int = field(6379, ge=1, le=65535, description="Port")
    database: int = field(0, ge=0, le=1_000_000, description="Number of the database")
    user: str = field("", description="User (ACL); empty: the default one")
    password: str = field("", secret=True, description="Password of the user")
    tls: bool = field(False, description="Speak TLS, and check the server's certificate")
    tls_ca: str = field("", description="File with the certificates to trust (PEM); empty: those of the system")
    timeout_s: float = field(5.0, gt=0, le=600, description="Longest wait for an answer, in seconds")

    def __str__(self) -> str:
        return f"redis {self.host}:{self.port}/{self.database}"


def client_of(server: RedisServer, name: str) -> "Redis":
    """A client; nothing is connected yet. `name` is what CLIENT LIST shows. Its calls belong into `answers`.

    Raises:
        ValueError: a certificate file can't be read.
    """
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    if server.tls:
        trusting(server.tls_ca)  # the library reads it at the connect: say now what is wrong with it
    return Redis(
        host=server.host, port=server.port, db=server.database, username=server.user or None,
        password=server.password or None, ssl=server.tls, ssl_ca_certs=server.tls_ca or None,
        # None: with a time-out the library uses wait_for, which on Python 3.11 may swallow that its task was cancelled.
        socket_timeout=None, socket_connect_timeout=_CONNECT_S, retry=Retry(NoBackoff(), 0),
        client_name=name, protocol=2,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def answers(server: RedisServer, waits_s: float = 0.0) -> AsyncIterator[None]:
    """Calls of a client that must be answered in time; `waits_s` longer where the server may keep them.

    Raises:
        Away, Refused: what Redis, or the library, said.
    """
    from redis.exceptions import RedisError

    try:
        async with asyncio.timeout(server.timeout_s + waits_s):
            yield
    except TimeoutError:
        raise Away(f"no answer in {server.timeout_s:g} s") from None
    except (RedisError, OSError) as e:
        raise judged(e) from None


def judged(error: BaseException) -> Away | Refused:
    """What an error means: whether trying again makes sense."""
    from redis.exceptions import (
        ConnectionError,
        NoPermissionError,
        OutOfMemoryError,
        ReadOnlyError,
        RedisError,
        TimeoutError,
        TryAgainError,
    )

    for_now = (ConnectionError, TimeoutError, NoPermissionError, OutOfMemoryError, ReadOnlyError, TryAgainError)
    words = str(error) or type(error).__name__
    is_for_now = isinstance(error, for_now) or not isinstance(error, RedisError)
    if is_for_now or words.startswith(("MISCONF", "NOREPLICAS", "CLUSTERDOWN", "MASTERDOWN", "UNKILLABLE", "BUSY ")):
        return Away(words)
    return Refused(words)


def text_of(value: Any) -> str:
    """What Redis says in bytes, as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
