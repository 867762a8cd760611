"""What the OPC UA nodes share: which server, as whom, which values, and what those mean in Python.

Imports nothing of asyncua until it is used: a flow is checked where the library is not installed.
"""

import logging
import math
import re
from base64 import b64decode
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import field_validator, model_validator

from flowcore.node import NodeConfig, field

_NODE_ID = re.compile(
    r"(?:ns=(?P<ns>[0-9]{1,5});|nsu=(?P<uri>[^;]+);)?"
    r"(?:i=(?P<i>[0-9]{1,10})|s=(?P<s>.+)|b=(?P<b>[A-Za-z0-9+/]+={0,2})|g=(?P<g>[0-9A-Fa-f-]{36}))",
    re.DOTALL,
)
_RANGES = {"SByte": (-(2**7), 2**7 - 1), "Byte": (0, 2**8 - 1)} | {
    f"{'U' * (low == 0)}Int{bits}": (low, low + 2**bits - 1) for bits in (16, 32, 64) for low in (0, -(2 ** (bits - 1)))
}

logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # what it has to say, the node says once


class Server(NodeConfig):
    """An OPC UA server and how to reach it; as a resource `iot/opcua-server` nodes share it."""

    url: str = field("opc.tcp://127.0.0.1:4840", description="opc.tcp://host:port, and a path where the server has one")
    user: str = field("", description="User name; empty: anonymous")
    password: str = field("", secret=True, description="Password of the user; without security it is not encrypted")
    security: Literal["none", "sign", "sign_and_encrypt"] = field("none", description="What is done to each message")
    policy: Literal["Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"] = field(
        "Basic256Sha256", description="With which algorithms"
    )
    certificate: str = field("", description="File with our own certificate (PEM or DER), which the server must trust")
    key: str = field("", description="File with its key (PEM or DER)")
    key_password: str = field("", secret=True, description="Password of the key file")
    server_certificate: str = field("", description="File with the certificate of the server (PEM or DER)")
    insecure: bool = field(False, description="Trust whatever certificate the server shows; for trials only")
    timeout_s: float = field(3.0, gt=0, le=60, description="Longest wait for an answer, in seconds")

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: str) -> str:
        if not re.fullmatch(r"opc\.tcp://(\[[0-9a-fA-F:]+\]|[^/:@\s]+)(:\d{1,5})?(/\S*)?", url):
            raise ValueError(f"a URL is opc.tcp://host:port and holds no user or password, is {url!r}")
        return url

    @model_validator(mode="after")
    def _is_whole(self) -> "Server":
        if self.security == "none":
            return self
        if not (self.certificate and self.key):
            raise ValueError(f"security {self.security} needs certificate and key")
        if not self.server_certificate and not self.insecure:
            raise ValueError(
                f"security {self.security} needs server_certificate, or insecure: true to trust any server"
            )
        return self

    def __str__(self) -> str:
        return self.url


class Value(NodeConfig):
    """A variable of a server."""

    name: str = field(..., min_length=1, description="Its name in the flow")
    node: str = field(
        ..., description="Its node id: ns=2;s=Line1.Speed, i=2258, or nsu=http://plant.example/line;s=Speed"
    )

    @field_validator("node")
    @classmethod
    def _is_node_id(cls, node: str) -> str:
        split(node)
        return node


def split(node_id: str) -> tuple[int | str, int | str | bytes | UUID]:
    """The namespace of a node id, as its number or its URI, and what identifies the node there.

    Raises:
        ValueError: it is no node id.
    """
    found = _NODE_ID.fullmatch(node_id)
    if found is None:
        raise ValueError(
            f"{node_id!r} is no node id: [ns=NUMBER; or nsu=URI;] and i=NUMBER, s=TEXT, g=GUID or b=BASE64"
        )
    number, index = int(found["i"] or 0), int(found["ns"] or 0)
    if number >= 2**32 or index >= 2**16:
        raise ValueError(f"{node_id!r} is no node id: i is at most {2**32 - 1}, ns at most {2**16 - 1}")
    try:
        identifier: int | str | bytes | UUID = found["s"] or number
        if found["g"]:
            identifier = UUID(found["g"])
        elif found["b"]:
            identifier = b64decode(found["b"])
    except ValueError as e:
        raise ValueError(f"{node_id!r} is no node id: {e}") from None
    return found["uri"] or index, identifier


def names_once(values: Sequence[Value]) -> None:
    """Raise ValueError when two values have the same name."""
    names = [value.name for value in values]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"values have names of their own; twice: {', '.join(sorted(twice))}")


def plain(value: Any) -> Any:
    """A value of OPC UA as one that travels: times as ISO 8601 in UTC, ids and localized texts as text, structures as
    maps; not a number as None."""
    if isinstance(value, str):
        return text_of(value)
    if value is None or isinstance(value, (bool, bytes)):
        return value
    if isinstance(value, int):
        return int(value)  # an enumeration, too
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, (date, UUID)):
        return str(value)
    if hasattr(value, "Text"):
        return plain(value.Text)
    if hasattr(value, "to_string"):
        return value.to_string()
    fields = getattr(value, "__dataclass_fields__", None)
    if fields:
        return {name: plain(getattr(value, name)) for name in fields if name not in ("Encoding", "data_type")}
    return str(value)


def text_of(received: str) -> str:
    """A text that can travel: what is no UTF-8 in it, as some servers send it, becomes U+FFFD."""
    return received if received.isascii() else received.encode(errors="surrogateescape").decode(errors="replace")


def iso(at: datetime | None) -> str:
    """A time of a server, which means UTC where it says nothing."""
    if at is None:
        return ""
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="milliseconds")


def typed(value: Any, kind: str) -> Any:
    """A payload as the value of a variable whose type is `kind`, such as Int16, Double, String.

    Raises:
        ValueError: it is none, or does not fit.
    """
    if isinstance(value, list):
        return [typed(one, kind) for one in value]
    if kind in _RANGES:
        low, high = _RANGES[kind]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
            raise ValueError(f"a whole number is needed, got {value!r}")
        if not low <= value <= high:
            raise ValueError(f"{value!r} does not fit {kind} ({low} to {high})")
        return int(value)
    if kind in ("Float", "Double"):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"a number is needed, got {value!r}")
        if kind == "Float" and abs(value) > 3.4028235e38:
            raise ValueError(f"{value!r} does not fit Float")
        return float(value)
    if kind == "Boolean":
        if not isinstance(value, bool) and value not in (0, 1):
            raise ValueError(f"true or false is needed, got {value!r}")
        return bool(value)
    if kind in ("String", "LocalizedText", "DateTime", "Guid"):
        if not isinstance(value, str):
            raise ValueError(f"a text is needed, got {value!r}")
        if kind == "DateTime":
            at = datetime.fromisoformat(value)
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
        return UUID(value) if kind == "Guid" else value
    if kind == "ByteString":
        if not isinstance(value, (bytes, bytearray)):
            raise ValueError(f"bytes are needed, got {value!r}")
        return bytes(value)
    raise ValueError(f"values of type {kind} can't be written")
