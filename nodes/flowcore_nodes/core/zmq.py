"""ZeroMQ sockets as the ZeroMQ nodes see them: one socket, made again until it is, and who is at its other end.

A message on the wire is its topic and its payload, two frames. Between `req` and `rep` they travel behind the envelope
of ZeroMQ's own request and reply (an id, an empty frame), so that a REQ, REP, DEALER or ROUTER of any program can be
the other side: it answers with the envelope it got, and anything behind it. An answer that begins with ERROR says that
the message was not taken.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any

from pydantic import field_validator, model_validator

from flowcore.node import Node, NodeConfig, field

INSTALL = "pip install 'flowcore[zmq]'"
ERROR = b"ERROR"
_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")  # Z85 of 32 bytes
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 1.5
_LINGER_MS = 500
_NOBODY = "nobody is there"


class Curve(NodeConfig):
    """Keys of CURVE, ZeroMQ's encryption, 40 characters each, as zmq.curve_keypair() gives them."""

    secret_key: str = field(
        "", secret=True, description="Our own secret key; empty: no encryption, or when we connect a new one"
    )
    peer_key: str = field("", description="Public key of the side that binds, where we connect; empty: no encryption")
    allow: list[str] = field(
        [], description="Public keys of those that may connect, where we bind; empty: all that know our public key"
    )

    @field_validator("secret_key", "peer_key")
    @classmethod
    def _is_key(cls, text: str) -> str:
        if text and not _KEY.fullmatch(text):
            raise ValueError("a CURVE key has 40 characters (Z85)")
        return text

    @field_validator("allow")
    @classmethod
    def _are_keys(cls, keys: list[str]) -> list[str]:
        return [cls._is_key(key) for key in keys]


class SocketConfig(NodeConfig):
    """Where a socket is, and for whom."""

    address: str = field(..., description="tcp://host:port or ipc:///path; where we bind, * is every network interface")
    bind: bool = field(False, description="Bind the address, for others to connect to; false: connect to it")
    curve: Curve = field(Curve(), description="Encryption, and who may connect")
    queue: int = field(1000, ge=1, le=100_000, description="Most messages that wait in the socket, for each peer")
    max_bytes: int = field(
        16 << 20,
        ge=1,
        le=1 << 30,
        description="Largest frame that is taken, in bytes; who sends more is cut off",
    )

    @field_validator("address")
    @classmethod
    def _is_address(cls, text: str) -> str:
        if not re.fullmatch(r"tcp://(\S+):(\d{1,5})|ipc://\S+", text):
            raise ValueError(f"address must be tcp://host:port or ipc:///path, is {text!r}")
        return text

    @model_validator(mode="after")
    def _keys_fit(self) -> "SocketConfig":
        if self.bind and self.curve.peer_key:
            raise ValueError("curve.peer_key is for the side that connects; here we bind: use curve.secret_key")
        if self.curve.allow and not (self.bind and self.curve.secret_key):
            raise ValueError("curve.allow is for the side that binds, with a curve.secret_key")
        return self


class Line:
    """One socket of a node, with a badge that says how it is.

    Args:
        kind: of the socket, such as zmq.PUSH; options: name of a socket option -> value.
        on_peers: called with how many peers there were and are, when that changes.
    """

    def __init__(
        self, node: Node, kind: int, options: dict[str, Any], on_peers: Callable[[int, int], None] | None = None
    ) -> None:
        import zmq.asyncio

        self._zmq, self._node, self._config = zmq, node, node.config
        self._context = zmq.asyncio.Context()
        self._kind, self._options, self._on_peers = kind, options, on_peers
        self._has_told = False
        self._authenticator: Any = None
        self.peers = 0
        self.opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()  # the socket

    async def run(self) -> None:
        """Open the socket, however long that takes, and watch who comes and goes; ends when it is cancelled."""
        wait_s = _FIRST_WAIT_S
        while not self.opened.done():
            try:
                made = self._make()
            except self._zmq.ZMQError as e:  # the port is taken, a name that is not known yet
                self._trouble(e.strerror or str(e))
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
            else:
                self.opened.set_result(made)
        self._has_told = False
        if self._config.bind:
            self._show()
        else:
            self._node.set_status(f"connecting: {self._config.address}", "busy")
        await self._watch()

    def close(self) -> None:
        """Close the socket; what it still has for its peers has half a second."""
        if self._authenticator is not None:
            self._authenticator.stop()
        self._context.destroy(linger=_LINGER_MS)

    def _make(self) -> Any:
        zmq, config = self._zmq, self._config
        made = self._context.socket(self._kind)
        try:
            for name, value in {
                "RCVHWM": config.queue, "SNDHWM": config.queue, "MAXMSGSIZE": config.max_bytes, "RECONNECT_IVL": 100,
                "RECONNECT_IVL_MAX": 1000, "HEARTBEAT_IVL": 2000, "HEARTBEAT_TIMEOUT": 5000, "TCP_KEEPALIVE": 1,
                "IPV6": 1, **self._options,
            }.items():  # fmt: skip
                made.set(getattr(zmq, name), value)
            self._lock(made)
            self._monitor = made.get_monitor_socket()
            (made.bind if config.bind else made.connect)(config.address)
        except BaseException:
            made.close(0)
            raise
        return made

    def _lock(self, made: Any) -> None:
        """Set up CURVE."""
        zmq, curve = self._zmq, self._config.curve
        if self._config.bind and curve.secret_key:
            made.curve_server, made.curve_secretkey = True, curve.secret_key.encode()
            if curve.allow and self._authenticator is None:
                from zmq.auth.asyncio import AsyncioAuthenticator

                self._authenticator = AsyncioAuthenticator(self._context)
                self._authenticator.start()
                self._authenticator.configure_curve_callback(credentials_provider=_Allowed(curve.allow))
        elif curve.peer_key:
            secret = curve.secret_key.encode() or zmq.curve_keypair()[1]
            made.curve_serverkey, made.curve_secretkey = curve.peer_key.encode(), secret
            made.curve_publickey = zmq.curve_public(secret)

    async def _watch(self) -> None:
        from zmq.utils.monitor import recv_monitor_message

        zmq = self._zmq
        refused = {
            zmq.EVENT_HANDSHAKE_FAILED_AUTH: "it does not let us in: the key is not allowed",
            zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "no ZeroMQ, or another security",
            zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "the handshake failed: is the key right?",
        }
        failed = 0  # handshakes, whose disconnect is still to be told; only a disconnect says of which connection it is
        while True:
            said = await recv_monitor_message(self._monitor)
            event, before = said["event"], self.peers
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.peers += 1
            elif event == zmq.EVENT_DISCONNECTED and failed:
                failed -= 1
            elif event == zmq.EVENT_DISCONNECTED:
                self.peers = max(0, self.peers - 1)
            elif event == zmq.EVENT_CONNECT_RETRIED and not self.peers and not self._has_told:
                self._trouble(_NOBODY)
            elif event in refused:
                failed += 1
                self._trouble(refused[event])
            if self.peers != before:
                self._has_told = False
                self._show()
                if self._on_peers is not None:
                    self._on_peers(before, self.peers)

    def _show(self) -> None:
        address = self._config.address
        if self._config.bind:
            self._node.set_status(f"bound: {address}, {self.peers} peer{'s' if self.peers != 1 else ''}")
        elif self.peers:
            self._node.set_status(f"connected: {address}")
        else:
            self._trouble(_NOBODY)

    def _trouble(self, why: str) -> None:
        text = f"{self._config.address}: {why}"
        if not self._has_told:
            self._has_told = True
            self._node.report(ConnectionError(text))
        self._node.set_status(f"trying again: {text}", "error")


class _Allowed:
    """Who may connect, as pyzmq's authenticator asks it."""

    def __init__(self, keys: list[str]) -> None:
        self._keys = {key.encode() for key in keys}

    def callback(self, domain: str, key: bytes) -> bool:
        return key in self._keys


def frames_of(topic: str, content: bytes, with_topic: bool) -> list[bytes]:
    """A message as it travels."""
    return [topic.encode("utf-8", "replace"), content] if with_topic else [content]
