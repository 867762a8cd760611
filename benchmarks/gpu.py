"""A frame from one process's GPU memory to another's: through device memory, and through host memory instead.

    PYTHONPATH=. python benchmarks/gpu.py [SECONDS]

Two processes, no bus: what is sent is the packed message, through a pipe. The frame is 1080p, three bytes a pixel
(6.2 MB), in the producer's GPU memory at the start and readable on the consumer's GPU at the end. One hop: from before
the slot is asked for until a copy of the whole frame is done in the consumer. Frames a second: with four under way.
"""

import multiprocessing
import os
import statistics
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

SHAPE = (1080, 1920, 3)
_UNDER_WAY = 4
_RUNS = 3


def consume(link: Connection) -> None:
    """Answer each message with when its array was there and when it was read."""
    import cupy

    from flowcore.buffers import Codec, Pools

    codec, target = Codec(Pools()), cupy.empty(SHAPE, cupy.uint8)
    runtime = cupy.cuda.runtime
    while data := link.recv_bytes():
        array = codec.unpack(data).cupy()
        there_ns = time.monotonic_ns()
        stream = cupy.cuda.get_current_stream()
        runtime.memcpyAsync(target.data.ptr, array.data.ptr, array.nbytes, runtime.memcpyDeviceToDevice, stream.ptr)
        stream.synchronize()
        link.send((there_ns, time.monotonic_ns()))
        del array


class Producer:
    """Sends frames that are in its GPU memory."""

    def __init__(self, link: Connection, device: str) -> None:
        import cupy

        from flowcore.buffers import Codec, Pools

        self._cupy, self._link, self._device = cupy, link, device
        self._codec = Codec(Pools(128 << 20))
        self._frame = cupy.empty(SHAPE, cupy.uint8)
        self._frame.data.memset(7, self._frame.nbytes)
        self._held: list[Any] = []

    def send(self) -> None:
        """One frame, written as a kernel would: on the device, into the slot, or through a copy to the host."""
        tensor = self._codec.pools.alloc(SHAPE, "uint8", self._device, wait=True)
        if self._device == "cpu":
            self._frame.get(out=tensor.numpy())
        else:
            array, runtime = tensor.cupy(), self._cupy.cuda.runtime
            runtime.memcpyAsync(
                array.data.ptr, self._frame.data.ptr, array.nbytes, runtime.memcpyDeviceToDevice,
                self._cupy.cuda.get_current_stream().ptr,
            )  # fmt: skip
        data = self._codec.pack(tensor)
        self._held.append(self._codec.taken)
        self._link.send_bytes(data)

    def answered(self) -> tuple[int, int]:
        """When the oldest one was there, and read."""
        times = self._link.recv()
        self._held.pop(0)
        return times


def hops(producer: Producer, seconds: float) -> tuple[list[float], list[float]]:
    """Milliseconds until the array was there, and until it was read, one frame at a time."""
    there, read = [], []
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        begun_ns = time.monotonic_ns()
        producer.send()
        at_ns, done_ns = producer.answered()
        there.append((at_ns - begun_ns) / 1e6)
        read.append((done_ns - begun_ns) / 1e6)
    return there, read


def rate(producer: Producer, seconds: float) -> float:
    """Frames a second."""
    begun_s, frames, under_way = time.monotonic(), 0, 0
    while time.monotonic() - begun_s < seconds:
        while under_way < _UNDER_WAY:
            producer.send()
            under_way += 1
        producer.answered()
        under_way -= 1
        frames += 1
    taken_s = time.monotonic() - begun_s
    for _ in range(under_way):
        producer.answered()
    return frames / taken_s


def measure(device: str, seconds: float) -> str:
    """A line of the table."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    consumer = spawn.Process(target=consume, args=(there,))
    consumer.start()
    there.close()
    producer = Producer(here, device)
    hops(producer, min(1.0, seconds))
    arrived: list[float] = []
    read: list[float] = []
    rates: list[float] = []
    for _ in range(_RUNS):
        times = hops(producer, seconds / _RUNS)
        arrived += times[0]
        read += times[1]
        rates.append(rate(producer, seconds / _RUNS))
    here.send_bytes(b"")
    consumer.join(10)
    arrived.sort()
    read.sort()
    spread = max(rates) - min(rates)
    return (
        f"{'device' if device != 'cpu' else 'host':<8}{_at(arrived, 0.5):>10.3f}{_at(arrived, 0.99):>10.3f}"
        f"{_at(read, 0.5):>10.3f}{_at(read, 0.99):>10.3f}{statistics.median(rates):>12,.0f}{spread:>10,.0f}"
        f"{len(read):>10,}"
    )


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> int:
    """Print the table."""
    from flowcore.buffers import cuda_probe

    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 6.0
    found = cuda_probe.probe()
    if found.why:
        print(f"nothing to measure: {found.why}. {found.fix}")
        return 2
    print(f"{', '.join(found.devices)}; {os.cpu_count()} cores; frames of 6,220,800 bytes, {seconds:.0f} s each")
    print(f"{'':<8}{'array there, ms':>20}{'frame read, ms':>20}")
    print(f"{'memory':<8}{'p50':>10}{'p99':>10}{'p50':>10}{'p99':>10}{'frames/s':>12}{'spread':>10}{'frames':>10}")
    for device in ("cuda", "cpu"):
        print(measure(device, seconds), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
