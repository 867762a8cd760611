"""What the TCP nodes share: where to connect to, and TLS."""

import asyncio
import ssl

from flowcore.node import field
from flowcore_nodes.iot.framing import FramingConfig

CONNECT_S = 5.0


class PeerConfig(FramingConfig):
    """A TCP peer."""

    host: str = field("127.0.0.1", description="Name or address of the peer; of a server, the address it listens on")
    port: int = field(..., ge=1, le=65535, description="TCP port")
    tls: bool = field(False, description="Speak TLS")
    tls_ca: str = field("", description="File with the certificates to trust (PEM); empty: those of the system")
    tls_cert: str = field("", description="File with our own certificate (PEM); a server needs one")
    tls_key: str = field("", description="File with its key (PEM); empty: in the same file")

    @property
    def where(self) -> str:
        """For people."""
        return f"{'tls' if self.tls else 'tcp'}://{self.host}:{self.port}"


def context_of(config: PeerConfig, *, server: bool = False) -> ssl.SSLContext | None:
    """The TLS context of a client or a server; None: in the clear.

    Raises:
        ValueError: a file can't be read, names it.
    """
    if not config.tls:
        return None
    purpose = ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH
    try:
        context = ssl.create_default_context(purpose, cafile=config.tls_ca or None)
        if config.tls_cert:
            context.load_cert_chain(config.tls_cert, config.tls_key or None, password="")
        elif server:
            raise ValueError("a server that speaks TLS needs tls_cert")
    except (OSError, ssl.SSLError) as e:
        raise ValueError(f"tls_ca {config.tls_ca!r}, tls_cert {config.tls_cert!r}: {e}") from None
    return context


async def connect(
    config: PeerConfig, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect. Raises OSError, TimeoutError."""
    async with asyncio.timeout(CONNECT_S):
        return await asyncio.open_connection(config.host, config.port, ssl=context)
