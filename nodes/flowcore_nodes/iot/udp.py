"""What the UDP nodes share: a socket on the event loop that queues what comes."""

import asyncio
import socket
from typing import Any

LARGEST = 65_507  # bytes of a datagram over IPv4


class Datagrams(asyncio.DatagramProtocol):
    """What came, bounded: the newest is dropped, and counted, when nobody takes it."""

    def __init__(self, most: int) -> None:
        self.waiting: asyncio.Queue[tuple[bytes, tuple]] = asyncio.Queue(most)
        self.dropped = 0

    def datagram_received(self, data: bytes, addr: tuple) -> None:
        """One came."""
        try:
            self.waiting.put_nowait((data, addr))
        except asyncio.QueueFull:
            self.dropped += 1

    def error_received(self, exc: Exception) -> None:
        """A peer is not there (ICMP): UDP promises nothing, the next one may be."""


async def open_socket(
    most: int, *, local: tuple[str, int] | None = None, group: str = "", interface: str = "", broadcast: bool = False
) -> tuple[Any, Datagrams]:
    """Transport and protocol; `group`: a multicast group to join.

    Raises:
        OSError: the address is taken, or none of this machine.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if broadcast:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if interface:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
        if local is not None:
            if group:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(local)
        if group:
            request = socket.inet_aton(group) + socket.inet_aton(interface or "0.0.0.0")
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        return await asyncio.get_running_loop().create_datagram_endpoint(lambda: Datagrams(most), sock=sock)
    except BaseException:
        sock.close()
        raise
