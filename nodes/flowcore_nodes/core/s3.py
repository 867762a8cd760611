"""Object storage that speaks S3, as the S3 nodes see it: which server, as whom, what its errors mean.

The library is synchronous: its calls run in threads. It retries nothing, `Patience` does.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import field_validator

from flowcore.node import NodeConfig, field
from flowcore_nodes.core.patience import Away, Refused
from flowcore_nodes.core.tls import trusting

if TYPE_CHECKING:
    from minio import Minio

INSTALL = "pip install 'flowcore[s3]'"
_CONNECT_S = 5.0
T = TypeVar("T")

# What the server says of now, or of who we are, and not of the object: that may be mended.
_FOR_NOW = {
    "AccessDenied", "ExpiredToken", "InternalError", "InvalidAccessKeyId", "InvalidToken", "OperationAborted",
    "RequestTimeTooSkewed", "RequestTimeout", "ServiceUnavailable", "SignatureDoesNotMatch", "SlowDown",
    "SlowDownRead", "SlowDownWrite", "XMinioStorageFull",
}  # fmt: skip


class S3Server(NodeConfig):
    """Where, and as whom; as a resource `core/s3-server` nodes share it."""

    url: str = field("https://s3.amazonaws.com", description="http://host:port or https://host, of S3, MinIO, Ceph ...")
    region: str = field("us-east-1", description="Region; what the server was set up with")
    access_key: str = field("", description="Access key; empty: without one, for what everybody may read")
    secret_key: str = field("", secret=True, description="Secret key")
    tls_ca: str = field("", description="File with the certificates to trust (PEM); empty: those of the system")
    timeout_s: float = field(30.0, gt=0, le=3600, description="Longest silence of the server, in seconds")

    @field_validator("url")
    @classmethod
    def _is_url(cls, text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.username:
            raise ValueError(f"url is http://host:port or https://host, without a path or a user, is {text!r}")
        return text

    def __str__(self) -> str:
        return self.url


def client_of(server: S3Server) -> "Minio":
    """A client; nothing is connected yet.

    Raises:
        ValueError: the file of certificates can't be read.
    """
    import urllib3
    from minio import Minio

    parts = urlsplit(server.url)
    options: dict[str, Any] = {"ssl_context": trusting(server.tls_ca)} if parts.scheme == "https" else {}
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=min(_CONNECT_S, server.timeout_s), read=server.timeout_s),
        retries=urllib3.Retry(total=0, redirect=0), maxsize=16, **options,
    )  # fmt: skip
    return Minio(
        parts.netloc, access_key=server.access_key or None, secret_key=server.secret_key or None,
        secure=parts.scheme == "https", region=server.region, http_client=pool,
    )  # fmt: skip


async def in_thread(call: Callable[[], T]) -> T:
    """What `call()` gives. Raises Away, Refused, and what else it raises."""
    from minio.error import InvalidResponseError, S3Error, ServerError
    from urllib3.exceptions import HTTPError

    try:
        return await asyncio.to_thread(call)
    except S3Error as e:
        text = f"{e.code}: {e.message}" if e.message else str(e.code)
        raise (Away if e.code in _FOR_NOW else Refused)(text) from None
    except (InvalidResponseError, ServerError) as e:  # a proxy that answers in place of a server that is away
        raise Away(str(e)) from None
    except (HTTPError, OSError) as e:
        raise Away(f"{getattr(e, 'reason', None) or e}") from None
