"""What nodes that ask an HTTP server have in common: session, credentials, and what is done while it is away."""

import asyncio
import base64
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import aiohttp
from aiohttp import ClientResponse, ClientSession, ClientTimeout

from flowcore.node import GiveUp, Message, Node, NodeConfig, field
from flowcore_nodes.core.tls import trusting

AWAY = {429, 502, 503, 504}  # answers of a server that is not there, or asks for patience
_FIRST_WAIT_S, _LONGEST_WAIT_S, _LONGEST_ASKED_S = 0.25, 2.0, 300.0


class PatienceConfig(NodeConfig):
    """How long is waited for a server, and how it is trusted."""

    timeout_s: float = field(30.0, gt=0, le=3600, description="Longest wait for an answer, in seconds")
    while_away: Literal["wait", "fail"] = field(
        "wait",
        description="Server can't be reached, or answers 429, 502, 503 or 504: try again until it is back, while "
        "messages wait in order; or fail at once, and let the setting retry or a catch see to it",
    )
    tls_ca: str = field("", description="File with the certificates to trust (PEM); empty: those of the system")
    tls_insecure: bool = field(False, description="Trust any certificate; for trials only")


class ClientConfig(PatienceConfig):
    """What an HTTP client has that goes anywhere."""

    url: str = field("", dynamic=True, description="http:// or https://; empty: the message's meta.url")
    headers: dict[str, str] = field({}, dynamic=True, description="Further headers")
    user: str = field("", description="User name, for basic authentication; empty: none")
    password: str = field("", secret=True, description="Password of the user")
    token: str = field("", secret=True, description="Bearer token; empty: none")


class Away(ConnectionError):
    """The server could not be reached, or says that it can't answer now."""


class HttpClient(Node):
    """Base of the nodes that ask HTTP servers."""

    category = "network"
    needs = ("aiohttp",)
    outside = True

    class Config(PatienceConfig):
        """See PatienceConfig."""

    async def on_start(self) -> None:
        config = self.config
        if isinstance(url := getattr(config, "url", ""), str) and url:
            check_url(url)
        self._tls: ssl.SSLContext | bool = True
        if config.tls_insecure:
            self._tls = False
        elif config.tls_ca:
            self._tls = trusting(config.tls_ca)
        self._session = ClientSession(timeout=ClientTimeout(total=config.timeout_s))
        self._is_away = False

    async def on_stop(self) -> None:
        await self._session.close()

    def url_of(self, message: Message) -> str:
        """Where this message goes.

        Raises:
            GiveUp: it has no URL, or none of HTTP.
        """
        url = self.setting("url", message) or message.meta.get("url")
        try:
            return check_url(url)
        except ValueError as e:
            raise GiveUp(str(e)) from None

    def headers_of(self, message: Message) -> dict[str, str]:
        """The configured headers for this message, and the credentials."""
        config = self.config
        headers = {str(name): str(value) for name, value in (self.setting("headers", message) or {}).items()}
        if any("\n" in text or "\r" in text for pair in headers.items() for text in pair):
            raise GiveUp("a header has a line break in it")
        if config.token:
            headers["Authorization"] = f"Bearer {config.token}"
        elif config.user:
            both = base64.b64encode(f"{config.user}:{config.password}".encode()).decode()
            headers["Authorization"] = f"Basic {both}"
        return headers

    @contextlib.asynccontextmanager
    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], *, where: str = "", **body: Any
    ) -> AsyncIterator[ClientResponse]:
        """The answer of a server that is there; its status may be anything but those of `AWAY`.

        Args:
            where: what people are told in place of a URL that is a secret.
        Raises:
            Away: it is not, and `while_away` is `fail`.
        """
        where = where or url
        wait_s = _FIRST_WAIT_S
        while True:
            asked_s = 0.0
            try:
                answer = await self._session.request(method, url, headers=headers, ssl=self._tls, **body)
            except (aiohttp.ClientConnectorCertificateError, aiohttp.InvalidURL) as e:
                raise GiveUp(f"{where}: {e}") from None
            except (aiohttp.ClientError, TimeoutError, OSError) as e:
                why = str(e) or f"no answer within {self.config.timeout_s:g} s"
            else:
                if answer.status not in AWAY:
                    self._show_back(where)
                    async with answer:
                        yield answer
                    return
                why, asked_s = f"it answers {answer.status} {answer.reason}", _asked_s(answer)
                answer.release()
            if self.config.while_away == "fail":
                raise Away(f"{method} {where}: {why}")
            self._show_away(f"trying again: {where}: {why}")
            await asyncio.sleep(asked_s or wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)

    def _show_away(self, text: str) -> None:
        if not self._is_away:
            self._is_away = True
            self.report(Away(text))
        self.set_status(text, "error")

    def _show_back(self, url: str) -> None:
        if self._is_away:
            self._is_away = False
            self.set_status(f"connected: {url}")


def check_url(url: Any) -> str:
    """A URL of HTTP, without credentials.

    Raises:
        ValueError: it is none.
    """
    from yarl import URL

    try:
        parts = URL(url)
    except (TypeError, ValueError):
        parts = URL("")
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ValueError(f"a URL begins with http:// or https:// and a host, is {url!r}")
    if parts.user or parts.password:
        raise ValueError("a URL must hold no user and password: use the fields user and password")
    return str(url)


async def refused(answer: ClientResponse) -> GiveUp:
    """The error for an answer of 4xx or 5xx, with the beginning of what the server says."""
    begin = (await answer.content.read(300)).decode("utf-8", "replace").strip()
    return GiveUp(f"{answer.method} {answer.url}: {answer.status} {answer.reason}{': ' + begin if begin else ''}")


def _asked_s(answer: ClientResponse) -> float:
    """How long the server asks to wait (Retry-After), within reason; 0: it does not."""
    text = answer.headers.get("Retry-After", "")
    try:
        seconds = float(text) if text.isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
    except (TypeError, ValueError):
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_ASKED_S)
