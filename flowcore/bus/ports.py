"""Ports of the listeners: what was asked for, or the next free one, and the same again at the next start.

Remembered in `ports.json` of the data folder, because clients outside have the number in their settings.
"""

import contextlib
import ipaddress
import json
import random
import socket
from pathlib import Path

_TRIES = 50
_LOWEST = 10_000  # of any port
_KERNELS_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches a listener on `address`."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


class NoFreePort(OSError):
    """None of the ports tried can be listened on."""


class Ports:
    """The remembered ports of one data folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ports.json"

    def claim(self, name: str, wanted: int, host: str) -> int:
        """A port that is free now.

        Args:
            name: which listener, the key in the file.
            wanted: the port asked for; 0 for any.
        Returns:
            The port remembered for the same wish, else `wanted`, else the first free one after it.
        Raises:
            NoFreePort: the address is not this machine's, or 50 ports in a row are taken.
        """
        remembered = self._read()
        last = remembered.get(name, {})
        first = last["port"] if last.get("wanted") == wanted else wanted
        port = _first_free(first, wanted, host)
        if last != {"wanted": wanted, "port": port}:
            remembered[name] = {"wanted": wanted, "port": port}
            self._write(remembered)
        return port

    def remembered(self, name: str) -> int | None:
        """The port of the last start; None before the first."""
        found = self._read().get(name)
        return found["port"] if found else None

    def _read(self) -> dict[str, dict[str, int]]:
        with contextlib.suppress(OSError, ValueError):  # a damaged file costs the memory, not the start
            found = json.loads(self._path.read_text())
            if isinstance(found, dict):
                return {k: v for k, v in found.items() if isinstance(v, dict) and isinstance(v.get("port"), int)}
        return {}

    def _write(self, remembered: dict[str, dict[str, int]]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(remembered, indent=2) + "\n")
        part.replace(self._path)


def _first_free(first: int, wanted: int, host: str) -> int:
    if wanted:
        candidates = [first, *range(wanted, min(wanted + _TRIES, 65536))]
    else:
        candidates = [*([first] if first else []), *_out_of_the_way(), 0]
    for port in dict.fromkeys(candidates):
        with contextlib.suppress(OSError):
            return is_free(port, host)
    tried = f"ports {candidates[0]} to {candidates[-1]}" if wanted else "all ports that were tried"
    raise NoFreePort(f"cannot listen on {host}: {tried} are taken, or it is no address of this machine")


def _out_of_the_way() -> list[int]:
    """Some ports, at random, that the kernel gives to no connection.

    While a server is away, a client that tries again may be given the very port that it tries, and be connected with
    itself; then the server cannot come back.
    """
    try:
        first = int(_KERNELS_RANGE.read_text(encoding="utf-8").split()[0])
    except OSError:
        return []
    return random.sample(range(_LOWEST, first), _TRIES) if first > _LOWEST + _TRIES else []


def is_free(port: int, host: str) -> int:
    """The port, when it can be listened on; for 0 one that the kernel picked.

    Raises:
        OSError: taken, not allowed, or not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return probe.getsockname()[1]
