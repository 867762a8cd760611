"""Another process with buffers of its own, told what to do through its standard input (see `conftest.py`)."""

import gc
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from flowcore.buffers import Codec, Pools, Readers
from tests.buffers.peer_answers import answer_all


class Peer:
    """What the commands work on."""

    def __init__(self) -> None:
        self.codec = Codec(Pools(64 << 20), Readers())
        self.values: dict[str, Any] = {}
        self.holds: dict[str, Any] = {}

    def read(self, name: str, data: bytes) -> Any:
        """Decode and hold under a name; what is in it, tensors as (state, dtype, shape, CRC)."""
        self.values[name] = self.codec.resolve(self.codec.unpack(data, limit=1 << 30))
        return self.look(name)

    def look(self, name: str) -> Any:
        """What is in it now."""
        return described(self.values[name])

    def make(self, name: str, shape: tuple[int, ...], fill: int) -> bytes:
        """A tensor of its own, sent and held."""
        tensor = self.codec.pools.alloc(shape)
        tensor.numpy()[...] = fill
        self.values[name] = tensor
        return self.forward(name)

    def forward(self, name: str) -> bytes:
        """What is held under a name, packed; what it needs stays until `drop`."""
        data = self.codec.pack(self.values[name])
        self.holds[name] = self.codec.taken
        return data

    def only_view(self, name: str) -> None:
        """Keep a slice of the array alone, without the tensor."""
        self.values[name] = self.values[name].numpy()[1:]

    def drop(self, name: str) -> None:
        """Let go."""
        self.values.pop(name, None)
        self.holds.pop(name, None)
        gc.collect()

    def trim(self) -> int:
        """Close pools that are over; how many are open."""
        self.codec.readers.trim(time.monotonic() + 1e6)
        return len(self.codec.readers._pools)


def described(value: Any) -> Any:
    """A value in plain words that travel in a pickle."""
    if isinstance(value, dict):
        return {key: described(item) for key, item in value.items()}
    if isinstance(value, list):
        return [described(item) for item in value]
    if hasattr(value, "state"):
        if value.state in ("remote", "expired"):
            return value.state
        array = value.numpy()
        assert not array.flags.writeable
        return value.state, value.dtype, array.shape, zlib.crc32(np.ascontiguousarray(array))
    if isinstance(value, np.ndarray):
        return "array", value.dtype.name, value.shape, zlib.crc32(np.ascontiguousarray(value))
    return value


answer_all(Peer())
