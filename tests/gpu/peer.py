"""`python -m tests.gpu.peer`: another process with buffers, told what to do through its standard input."""

import gc
import os
import sys
import time
from typing import Any

import cupy

from flowcore.buffers import BufferExpired, Tensor
from flowcore.buffers.cuda_driver import driver
from tests.buffers.peer_answers import answer_all
from tests.gpu.lab import Work, filled, new_codec, values


class Peer:
    """What the commands work on."""

    def __init__(self) -> None:
        self.codec = new_codec()
        self.work = Work()
        self.tensors: dict[str, Tensor] = {}
        self.results: dict[str, Any] = {}
        self.holds: dict[str, Any] = {}

    def ready(self) -> int:
        """It has started, and has a context."""
        return os.getpid()

    def send(self, value: int, after_s: float = 0.0) -> bytes:
        """A tensor that is written after that much other work, sent at once and held."""
        data = self.codec.pack(filled(self.codec, self.work, value, after_s))
        self.holds[str(value)] = self.codec.taken
        return data

    def receive(self, name: str, data: bytes) -> str:
        """Decode and hold."""
        self.tensors[name] = self.codec.unpack(data)
        return self.tensors[name].state

    def read(self, name: str, after_s: float = 0.0, device: int = 0) -> None:
        """Queue a copy of all its bytes behind that much other work."""
        with cupy.cuda.Device(device):
            array = self.tensors[name].cupy()
            if device == 0:
                self.work.busy(after_s)
            self.results[name] = self.work.read(array)

    def seen(self, name: str) -> list[int]:
        """The bytes that were copied."""
        with self.results[name].device:
            return values(self.results[name])

    def host_copy(self, name: str) -> list[int]:
        """The bytes as numpy has them."""
        return sorted(set(self.tensors[name].tobytes()))

    def drop(self, name: str) -> float:
        """Let go; how many seconds that took."""
        begun_s = time.perf_counter()
        self.tensors.pop(name, None)
        self.holds.pop(name, None)
        gc.collect()
        return time.perf_counter() - begun_s

    def trim(self) -> int:
        """Close pools that are over; how many are open."""
        self.codec.readers.trim(time.monotonic() + 1e6)
        return len(self.codec.readers._pools)

    def raw_export(self, busy_s: float) -> tuple[bytes, bytes]:
        """Memory with sevens in it and an event behind that much work, as handles."""
        cuda, ptr = driver(), driver().malloc(0, 2 << 20)
        cupy.cuda.runtime.memset(ptr, 7, 2 << 20)
        cuda.synchronize(0)
        self.work.busy(busy_s)
        event = cuda.new_event(0, is_shared=True)
        cuda.record(event, cuda.streams_here(0)[0])
        return cuda.export_memory(0, ptr), cuda.export_event(event)

    def raw_import(self, memory: bytes, event: bytes) -> None:
        """Open both."""
        self.raw = driver().import_memory(0, memory), driver().import_event(0, event)

    def raw_read(self) -> list[int]:
        """The bytes of the memory that was opened."""
        array = driver().array(0, self.raw[0], 2 << 20, (2 << 20,), "|u1", self)
        return values(self.work.read(array))

    def raw_wait(self, limit_s: float) -> bool:
        """Whether a stream that waits for the event that was opened comes past it in time."""
        cuda = driver()
        stream, done = cuda.new_stream(0), cuda.new_event(0)
        cuda.wait(stream, self.raw[1])
        cuda.record(done, stream)
        end_s = time.monotonic() + limit_s
        while not cuda.is_done(done) and time.monotonic() < end_s:
            time.sleep(0.01)
        return cuda.is_done(done)

    def fails_to_read(self, name: str) -> str:
        """What is said of a tensor that is gone."""
        try:
            self.tensors[name].cupy()
        except BufferExpired as e:
            return str(e)
        return ""


if __name__ == "__main__":
    answer_all(Peer())
    sys.exit()
