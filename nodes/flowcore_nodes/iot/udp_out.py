import ipaddress
from typing import Any

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, field
from flowcore.node.formats import Format, write
from flowcore_nodes.iot.udp import LARGEST, open_socket


class UdpOut(Node):
    """Send each message as a datagram, to one peer, to all (broadcast) or to a multicast group.

    UDP tells nobody whether it arrived. A message that does not fit a datagram is an error.
    """

    type = "iot/udp-out"
    title = "UDP out"
    category = "network"
    icon = "antenna"
    outside = True

    class Config(NodeConfig):
        host: str = field(
            "127.0.0.1", dynamic=True, description="IPv4 address of the peer, a broadcast address, a group"
        )
        port: int = field(..., ge=1, le=65535, dynamic=True, description="UDP port of the peer")
        broadcast: bool = field(False, description="The host is a broadcast address")
        interface: str = field("", description="Address of the interface for a group; empty: the system's choice")
        format: Format = field("auto", description="auto: bytes and text as they are, all else as JSON")

    in_ = In(description="the payload is sent")

    async def on_start(self) -> None:
        config = self.config
        self._transport, _ = await open_socket(1, interface=config.interface, broadcast=config.broadcast)

    async def on_stop(self) -> None:
        self._transport.close()

    async def on_message(self, message: Message) -> None:
        self._transport.sendto(content_of(message, self.config.format), peer_of(self, message))


def content_of(message: Message, form: Any) -> bytes:
    """The bytes of a datagram. Raises GiveUp."""
    try:
        content = write(message.payload, form)
    except ValueError as e:
        raise GiveUp(str(e)) from None
    if len(content) > LARGEST:
        raise GiveUp(f"{len(content)} bytes do not fit a datagram, which takes {LARGEST}")
    return content


def peer_of(node: Node, message: Message) -> tuple[str, int]:
    """Where a datagram goes. Raises GiveUp."""
    host, port = node.setting("host", message), node.setting("port", message)
    if host == "localhost":
        host = "127.0.0.1"
    try:
        return str(ipaddress.IPv4Address(host)), int(port)
    except (TypeError, ValueError):
        raise GiveUp(f"host must be an IPv4 address and port a number, are {host!r} and {port!r}") from None
