"""The certificate of our own server: whether its files can be used, which names it has, and when it was renewed.

BadCertificate   a file that cannot be used, with the reason
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flowcore.bus.tls import BadCertificate, why

if TYPE_CHECKING:
    from cryptography import x509  # nothing without TLS pays for it

_PERIOD_S = 60.0


class Certificate:
    """A certificate chain and its key, PEM files."""

    def __init__(self, chain: Path, key: Path) -> None:
        self.chain, self.key = chain.absolute(), key.absolute()

    def check(self) -> None:
        """Find out whether a server can use it.

        Raises:
            BadCertificate: a file cannot be read, or the key is not the certificate's.
        """
        for file in (self.chain, self.key):
            try:
                file.read_bytes()
            except OSError as e:
                raise BadCertificate(f"{file}: {e.strerror}") from None
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.chain, self.key, password=_no_password)
        except (OSError, ValueError) as e:
            both = f"{self.chain} and {self.key}" if self.chain != self.key else f"{self.chain}"
            raise BadCertificate(f"{both}: {why(e)}") from None

    def expired(self) -> str | None:
        """The day on which it expired; None while it holds.

        Raises:
            BadCertificate: it cannot be read.
        """
        until = self._read().not_valid_after_utc
        return f"{until:%Y-%m-%d}" if until < datetime.now(UTC) else None

    def name(self, wanted: str) -> str:
        """A name by which others reach a server with this certificate: `wanted` when it is in it, else its first.

        Raises:
            BadCertificate: it cannot be read.
        """
        from cryptography import x509

        try:
            names = self._read().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return wanted
        hosts = [name for name in names.get_values_for_type(x509.DNSName) if not name.startswith("*")]
        hosts += map(str, names.get_values_for_type(x509.IPAddress))
        return wanted if wanted in hosts or not hosts else hosts[0]

    async def renewals(self) -> AsyncIterator[None]:
        """Yields each time that the files have changed; looks once a minute."""
        seen = self._times()
        while True:
            await asyncio.sleep(_PERIOD_S)
            now = self._times()
            if now and now != seen:
                seen = now
                yield

    def _times(self) -> list[int]:
        with contextlib.suppress(OSError):  # being replaced
            return [file.stat().st_mtime_ns for file in (self.chain, self.key)]
        return []

    def _read(self) -> "x509.Certificate":
        from cryptography import x509

        try:
            return x509.load_pem_x509_certificate(self.chain.read_bytes())
        except (OSError, ValueError):
            raise BadCertificate(f"{self.chain}: holds no PEM certificate") from None


def _no_password() -> str:
    raise ValueError("the key has a password, which a server that starts by itself cannot ask for")
