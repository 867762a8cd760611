"""What the checks work with: a kernel that takes its time, and other processes."""

import contextlib
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import cupy
import numpy as np

from flowcore.buffers import Codec, Pools, Tensor
from flowcore.buffers.cuda_driver import CudaError, driver

SHAPE = (1080, 1920, 3)
NBYTES = 6_220_800
_SPIN = r"""
extern "C" __global__ void spin(long long nanoseconds) {
    long long begun, now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begun));
    do asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now)); while (now - begun < nanoseconds);
}
"""
_runtime = cupy.cuda.runtime


class Skip(Exception):
    """A check that cannot be made here, and why."""


class Work:
    """Bytes written and read in the order of a stream, behind a kernel that takes its time."""

    def __init__(self) -> None:
        self._spin = cupy.RawKernel(_SPIN, "spin")
        self.busy(0.001)
        _runtime.deviceSynchronize()

    def busy(self, seconds: float, *, stream: int | None = None) -> None:
        """Give the stream that long to do; returns at once."""
        if seconds > 0:
            with contextlib.nullcontext() if stream is None else cupy.cuda.ExternalStream(stream):
                self._spin((1,), (1,), (np.int64(seconds * 1e9),))

    def fill(self, array: Any, value: int, *, stream: int | None = None) -> None:
        """Set every byte, when the stream comes to it."""
        ptr = cupy.cuda.get_current_stream().ptr if stream is None else stream
        _runtime.memsetAsync(array.data.ptr, value, array.nbytes, ptr)

    def read(self, array: Any) -> Any:
        """A copy, made when the current stream comes to it."""
        copy, ptr = cupy.empty(array.shape, array.dtype), cupy.cuda.get_current_stream().ptr
        _runtime.memcpyAsync(copy.data.ptr, array.data.ptr, array.nbytes, _runtime.memcpyDeviceToDevice, ptr)
        return copy


def values(array: Any) -> list[int]:
    """Which bytes there are in an array, when the device is done."""
    _runtime.deviceSynchronize()
    return np.unique(cupy.asnumpy(array)).tolist()


def new_codec(limit_bytes: int = 64 << 20) -> Codec:
    """Buffers of this process."""
    return Codec(Pools(limit_bytes))


def filled(codec: Codec, work: Work, value: int, after_s: float = 0.0) -> Tensor:
    """A tensor on the device whose bytes are written after that much other work."""
    tensor = codec.pools.alloc(SHAPE, "uint8", "cuda", wait=True)
    assert tensor.device.startswith("cuda:"), f"device='cuda' gave {tensor.device}"
    array = tensor.cupy()
    work.busy(after_s)
    work.fill(array, value)
    return tensor


def until(is_so: Callable[[], bool], limit_s: float = 10.0) -> bool:
    """Whether it becomes so in time."""
    end_s = time.monotonic() + limit_s
    while not is_so() and time.monotonic() < end_s:
        time.sleep(0.002)
    return is_so()


def free_bytes() -> int:
    """Of device 0."""
    return driver().memory_info(0)[0]


def is_cuda_well() -> bool:
    """Whether this process can still use its context."""
    try:
        driver().synchronize(0)
    except CudaError:
        return False
    return values(cupy.asarray(np.full(10, 7, np.uint8))) == [7]


class Peer:
    """Another process: each method of `peer.Peer` is one here."""

    def __init__(self, **environ: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.gpu.peer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environ},
        )
        self.ready()

    def __getattr__(self, command: str) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            assert self.process.stdin and self.process.stdout
            pickle.dump((command, *arguments), self.process.stdin)
            self.process.stdin.flush()
            result, error = pickle.load(self.process.stdout)
            if error is not None:
                raise RuntimeError(f"in the other process: {error}")
            return result

        return ask

    def kill(self) -> None:
        """As `kill -9` does."""
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def peers(count: int = 1) -> Iterator[list[Peer]]:
    """Processes that end with the block."""
    started: list[Peer] = []
    try:
        for _ in range(count):
            started.append(Peer())
        yield started
    finally:
        for peer in started:
            peer.kill()
