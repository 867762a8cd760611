"""A codec of this process, and others in processes of their own."""

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcore.buffers import Codec, Pools


class Peer:
    """A process with buffers: each method of `peer_process.Peer` is one here."""

    def __init__(self) -> None:
        program = Path(__file__).with_name("peer_process.py")
        self.process = subprocess.Popen([sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __getattr__(self, command: str) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            assert self.process.stdin and self.process.stdout
            pickle.dump((command, *arguments), self.process.stdin)
            self.process.stdin.flush()
            result, error = pickle.load(self.process.stdout)
            if error is not None:
                raise RuntimeError(error)
            return result

        return ask

    def kill(self) -> None:
        """As `kill -9` does, and wait until the kernel has taken its memory and locks."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def new_peer() -> Iterator[Callable[[], Peer]]:
    """Start a process with buffers; all end with the test."""
    peers: list[Peer] = []

    def start() -> Peer:
        peers.append(Peer())
        return peers[-1]

    yield start
    for peer in peers:
        peer.kill()


@pytest.fixture
def peer(new_peer) -> Peer:
    """One process with buffers."""
    return new_peer()


@pytest.fixture
def codec() -> Codec:
    """Of this process, with 16 MB to share."""
    return Codec(Pools(16 << 20))
