"""Ports for servers that tests start, and start again."""

import random
import socket
from pathlib import Path

_LOWEST = 10_000


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that is free now, and that no connection gets from the kernel.

    While a server is away, whoever tries to connect to a port of the kernel's own range may be given that very port
    (and be connected with itself); then the server cannot come back.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(_LOWEST, max(first, _LOWEST + 1))
        with socket.socket(type=kind) as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
