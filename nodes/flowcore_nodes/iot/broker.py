"""Which MQTT broker, as whom, and how safely: the settings that MQTT nodes share as a resource `iot/mqtt-broker`.

    "resources": {"plant": {"type": "iot/mqtt-broker", "config": {"url": "mqtts://broker.plant:8883"}}}
    "config": {"broker": {"$use": "plant"}, "topic": "sensors/#"}

Nothing here connects; `link` does.
"""

import ssl
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from flowcore.node import NodeConfig, field

EMBEDDED = "embedded"
PORTS = {"mqtt": 1883, "mqtts": 8883}
MAX_TOPIC_BYTES = 65535


class BadBroker(ValueError):
    """Settings with which no connection can come about: a URL, a certificate file."""


class BadTopic(ValueError):
    """A topic or a topic filter that MQTT does not allow."""


class Tls(NodeConfig):
    """How the broker proves who it is, and how we do."""

    ca: str = field("", description="File with the certificates to trust (PEM); empty: those of the system")
    certificate: str = field("", description="File with our own certificate (PEM), where the broker asks for one")
    key: str = field("", description="File with the key of our certificate (PEM); empty: it is in the same file")
    key_password: str = field("", secret=True, description="Password of the key file")
    insecure: bool = field(False, description="Trust any broker, whatever its certificate says; for trials only")


class Broker(NodeConfig):
    """A broker and how to reach it."""

    url: str = field(
        EMBEDDED,
        description="mqtt://host:port, mqtts://host:port with TLS, or 'embedded': the broker of flowcore itself",
    )
    user: str = field("", description="User name; empty: none")
    password: str = field("", secret=True, description="Password of the user")
    tls: Tls = field(Tls(), description="Certificates, for mqtts://")
    keepalive_s: int = field(30, ge=1, le=65535, description="Seconds of silence after which both sides check the line")
    longest_wait_s: float = field(10.0, gt=0, le=3600, description="Longest wait between two tries to connect, seconds")


class Notice(NodeConfig):
    """A message that says whether the node is there."""

    topic: str = field(description="Topic it is published to")
    payload: str = field("", description="Its text")
    qos: Literal[0, 1, 2] = field(1, description="Quality of service")
    retain: bool = field(True, description="The broker keeps it for whoever subscribes later")


class LinkConfig(NodeConfig):
    """What every MQTT node has."""

    broker: Broker = field(Broker(), description='The broker, or {"$use": "name"} of a resource iot/mqtt-broker')
    client_id: str = field(
        "", max_length=128, description="Name of this connection, no other may have it; empty: made from flow and node"
    )
    birth: Notice | None = field(None, description="Published when the node has connected")
    close: Notice | None = field(None, description="Published when the node stops in good order")
    will: Notice | None = field(None, description="Published by the broker when the connection is lost")


@dataclass(frozen=True)
class Address:
    """Where to connect to and as whom; `tls` None: in the clear."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: ssl.SSLContext | None

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


def address_of(broker: Broker) -> Address:
    """The address of a broker that is not the embedded one.

    Raises:
        BadBroker: the URL is of another kind, or a certificate file cannot be read.
    """
    parts = urlsplit(broker.url)
    try:
        port = parts.port
    except ValueError:
        raise BadBroker(f"broker.url {broker.url!r}: the port must be a number up to 65535") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise BadBroker(f"broker.url must be mqtt://host:port, mqtts://host:port or {EMBEDDED!r}, is {broker.url!r}")
    if parts.username or parts.password:
        raise BadBroker("broker.url must hold no user and password: use broker.user and broker.password")
    tls = tls_context(broker.tls) if parts.scheme == "mqtts" else None
    user, password = (broker.user, broker.password or None) if broker.user else (None, None)
    return Address(parts.hostname, port or PORTS[parts.scheme], user, password, tls)


def tls_context(tls: Tls) -> ssl.SSLContext:
    """A context that checks the broker's certificate and name, unless `insecure` says otherwise.

    Raises:
        BadBroker: a file cannot be read, names it.
    """
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
    except (OSError, ssl.SSLError) as e:
        raise BadBroker(f"broker.tls.ca {tls.ca!r}: {e}") from None
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate:
        try:  # a password even where there is none: OpenSSL would otherwise ask on the terminal
            context.load_cert_chain(tls.certificate, tls.key or None, password=tls.key_password or "")
        except (OSError, ssl.SSLError) as e:
            raise BadBroker(f"broker.tls.certificate {tls.certificate!r}, key {tls.key!r}: {e}") from None
    return context


def check_filter(text: str) -> str:
    """Return a topic filter that can be subscribed to.

    Raises:
        BadTopic: `#` before the end, a wildcard that is part of a level, nothing at all.
    """
    _check_text(text, "topic filter")
    levels = text.split("/")
    for i, level in enumerate(levels):
        if level == "+" or (level == "#" and i == len(levels) - 1):
            continue
        if "#" in level or "+" in level:
            raise BadTopic(f"topic filter {text!r}: '+' must be a whole level, '#' the last one")
    return text


def check_topic(text: str) -> str:
    """Return a topic that can be published to.

    Raises:
        BadTopic: it has wildcards, or is empty.
    """
    if not isinstance(text, str):
        raise BadTopic(f"a topic must be text, is {type(text).__name__}")
    if not text:
        raise BadTopic("there is no topic: set it in the node's config or on the message")
    _check_text(text, "topic")
    if "+" in text or "#" in text:
        raise BadTopic(f"topic {text!r}: '+' and '#' are for subscribing, not for publishing")
    return text


def _check_text(text: str, what: str) -> None:
    if not text or "\0" in text or len(text.encode("utf-8", "surrogatepass")) > MAX_TOPIC_BYTES:
        raise BadTopic(f"{what} {text[:80]!r} must be 1 to {MAX_TOPIC_BYTES} bytes without NUL")


def fits(topic: str, filters: list[str]) -> bool:
    """Whether a topic is matched by one of the filters."""
    levels = topic.split("/")
    return any(_fits(levels, one) for one in filters)


def _fits(levels: list[str], text: str) -> bool:
    wanted = text.split("/")
    if wanted[0] == "$share":  # $share/<group>/<filter>
        wanted = wanted[2:]
    if levels[0].startswith("$") and wanted[0] in ("+", "#"):
        return False
    for i, want in enumerate(wanted):
        if want == "#":
            return True
        if i >= len(levels) or want not in ("+", levels[i]):
            return False
    return len(levels) == len(wanted)
