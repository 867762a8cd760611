"""A stand-in for CUDA where there is none: `cuda_driver.Driver` over files that processes share, and threads.

Device memory is a mapped file, so another process can open it. A stream is a thread that does one thing after another,
later than it was told; an event is a count in a shared file that goes up when a stream comes to it. So work goes on
after the call that began it, as on a device, and whoever forgets to wait sees the bytes of another time.

Beyond what CUDA does it notices what CUDA leaves undefined: memory that is freed while another process has it open is
written down in `faults`, and overwritten.
"""

import contextlib
import ctypes
import itertools
import mmap
import os
import queue
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from flowcore.buffers.cuda_driver import LEGACY, CudaError, Stream

POISON = 0xDD
_COUNTS = struct.Struct("=QQ")  # recorded, done
_mapped: list[Any] = []  # never unmapped: a kernel that nobody waited for may still write there


class FakeArray:
    """What stands for a cupy array: a numpy array on the same bytes, and where they are."""

    class Data:
        """As `cupy.ndarray.data`."""

        def __init__(self, ptr: int) -> None:
            self.ptr = ptr

    class Device:
        """As `cupy.ndarray.device`."""

        def __init__(self, number: int) -> None:
            self.id = number

    def __init__(self, device: int, ptr: int, shape: tuple[int, ...], typestr: str, owner: Any) -> None:
        self.data, self.device, self.shape, self.owner = self.Data(ptr), self.Device(device), shape, owner
        self.dtype = np.dtype(typestr)
        size = int(np.prod(shape, dtype=int)) * self.dtype.itemsize
        self.nbytes = size
        raw = (ctypes.c_char * size).from_address(ptr)
        self.view = np.frombuffer(raw, self.dtype).reshape(shape)
        self.__cuda_array_interface__ = {
            "shape": shape, "typestr": typestr, "data": (ptr, False), "strides": None, "version": 3, "stream": 1,
        }  # fmt: skip

    def __dlpack__(self, *, stream: int | None = None, **asked: Any) -> tuple:
        return "capsule", self, stream, asked


class _Worker:
    """A stream."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.put = 0
        self.done = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            self.queue.get()()
            self.done += 1

    def then(self, work: Callable[[], None]) -> None:
        self.put += 1
        self.queue.put(work)

    def drain(self) -> None:
        until = self.put
        while self.done < until:
            time.sleep(0.0002)


class FakeCuda:
    """See the module. `folder` is one for all processes of a test."""

    errors = ()
    # One for all of a process: what one test leaves behind is let go in the next.
    _numbers = itertools.count(os.getpid() * 1000 + 10)
    _memory: ClassVar[dict[int, tuple[str, mmap.mmap]]] = {}
    _events: ClassVar[dict[int, mmap.mmap]] = {}

    def __init__(self, folder: Path, devices: int = 1) -> None:
        self.folder, self.devices = folder, devices
        self.calls: list[str] = []
        self._here = threading.local()
        self._workers: dict[tuple[int, int], _Worker] = {}
        self._lock = threading.Lock()

    # What tests use

    def launch(self, kernel: Callable[[], None], *, lasts_s: float = 0.0, stream: Stream | None = None) -> None:
        """Queue a kernel."""

        def run() -> None:
            time.sleep(lasts_s)
            kernel()

        self._worker(stream or self.streams_here(self.current_device())[0]).then(run)

    @property
    def allocations(self) -> int:
        """Of all processes, not freed."""
        return len(list(self.folder.glob("memory-*")))

    @property
    def faults(self) -> list[str]:
        """What CUDA would have left undefined."""
        return [path.name for path in self.folder.glob("fault-*")]

    def use(self, device: int) -> None:
        """As `cupy.cuda.Device.use`."""
        self._here.device = device

    # As Driver

    def device_count(self) -> int:
        return self.devices

    def current_device(self) -> int:
        return getattr(self._here, "device", 0)

    def identity(self, device: int) -> str:
        return f"fake-{device}"

    @contextlib.contextmanager
    def on(self, device: int) -> Iterator[None]:
        before, self._here.device = self.current_device(), device
        try:
            yield
        finally:
            self._here.device = before

    def synchronize(self, device: int) -> None:
        for (at, _), worker in list(self._workers.items()):
            if at == device:
                worker.drain()

    def malloc(self, device: int, nbytes: int) -> int:
        name = f"memory-{next(self._numbers)}"
        (self.folder / name).write_bytes(bytes(nbytes))
        return self._map(name)

    def _map(self, name: str) -> int:
        fd = os.open(self.folder / name, os.O_RDWR)
        try:
            mapped = mmap.mmap(fd, 0)
        finally:
            os.close(fd)
        ptr = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        self._memory[ptr] = name, mapped
        _mapped.append(mapped)
        return ptr

    def free(self, device: int, ptr: int) -> None:
        name, mapped = self._memory.pop(ptr)
        for opened in self.folder.glob(f"open-{name}-*"):
            if Path(f"/proc/{opened.name.rpartition('-')[2]}").exists():
                (self.folder / f"fault-{name}").touch()
        mapped[:] = bytes([POISON]) * len(mapped)
        (self.folder / name).unlink(missing_ok=True)

    def export_memory(self, device: int, ptr: int) -> bytes:
        return self._memory[ptr][0].encode().ljust(64, b"\0")

    def import_memory(self, device: int, handle: bytes) -> int:
        name = handle.rstrip(b"\0").decode()
        if not (self.folder / name).exists():
            raise CudaError("cudaErrorInvalidValue")
        (self.folder / f"open-{name}-{os.getpid()}").touch()
        return self._map(name)

    def release_memory(self, device: int, ptr: int) -> None:
        name, _ = self._memory.pop(ptr)
        (self.folder / f"open-{name}-{os.getpid()}").unlink()

    def streams_here(self, device: int) -> list[Stream]:
        return list(getattr(self._here, "streams", None) or [Stream(device, LEGACY)])

    def set_streams(self, *streams: Stream) -> None:
        """What is current in this thread."""
        self._here.streams = streams

    def stream_of(self, device: int, stream: Any) -> Stream:
        if isinstance(stream, Stream):
            return stream
        return Stream(device, LEGACY) if stream in (None, 0, LEGACY) else Stream(device, stream)

    def new_stream(self, device: int) -> Stream:
        return Stream(device, next(self._numbers), self)

    def synchronize_stream(self, stream: Stream) -> None:
        self._worker(stream).drain()

    def _worker(self, stream: Stream) -> _Worker:
        with self._lock:
            worker = self._workers.get(stream[:2])
            if worker is None:
                worker = self._workers[stream[:2]] = _Worker()
            return worker

    def new_event(self, device: int, *, is_shared: bool = False) -> int:
        event = next(self._numbers)
        (self.folder / f"event-{event}").write_bytes(bytes(_COUNTS.size))
        self._events[event] = self._open_event(event)
        return event

    def _open_event(self, event: int) -> mmap.mmap:
        with (self.folder / f"event-{event}").open("r+b") as file:
            return mmap.mmap(file.fileno(), 0)

    def destroy_event(self, event: int) -> None:
        del self._events[event]

    def export_event(self, event: int) -> bytes:
        return str(event).encode().ljust(64, b"\0")

    def import_event(self, device: int, handle: bytes) -> int:
        event = int(handle.rstrip(b"\0"))
        self._events[event] = self._open_event(event)
        return event

    def record(self, event: int, stream: Stream) -> None:
        counts = self._events[event]
        number = _COUNTS.unpack_from(counts)[0] + 1
        struct.pack_into("=Q", counts, 0, number)

        def reach() -> None:
            struct.pack_into("=Q", counts, 8, max(number, _COUNTS.unpack_from(counts)[1]))

        self._worker(stream).then(reach)

    def wait(self, stream: Stream, event: int) -> None:
        counts = self._events[event]
        number = _COUNTS.unpack_from(counts)[0]

        def stand() -> None:
            while _COUNTS.unpack_from(counts)[1] < number:
                time.sleep(0.0002)

        self._worker(stream).then(stand)

    def is_done(self, event: int) -> bool:
        recorded, done = _COUNTS.unpack_from(self._events[event])
        return done >= recorded

    def copy_from_host(self, ptr: int, address: int, nbytes: int, stream: Stream) -> None:
        self._worker(stream).then(lambda: ctypes.memmove(ptr, address, nbytes))

    copy_to_host = copy_from_host

    def copy(self, ptr: int, source: int, nbytes: int, stream: Stream) -> None:
        self.copy_from_host(ptr, source, nbytes, stream)

    def copy_from_device(self, ptr: int, source_device: int, source: int, nbytes: int, stream: Stream) -> None:
        self.calls.append(f"copy from {source_device} to {stream.device}")
        self.copy_from_host(ptr, source, nbytes, stream)

    def array(self, device: int, ptr: int, nbytes: int, shape: tuple[int, ...], typestr: str, owner: Any) -> FakeArray:
        return FakeArray(device, ptr, shape, typestr, owner)

    def empty(self, device: int, shape: tuple[int, ...], typestr: str) -> FakeArray:
        raw = np.empty(shape, typestr)
        _mapped.append(raw)
        return FakeArray(device, raw.__array_interface__["data"][0], shape, typestr, raw)

    def from_numpy(self, array: np.ndarray) -> FakeArray:
        made = self.empty(self.current_device(), array.shape, array.dtype.str)
        made.view[...] = array
        return made

    def to_numpy(self, array: FakeArray) -> np.ndarray:
        self.synchronize(array.device.id)
        return array.view.copy()

    def contiguous(self, value: Any) -> Any:
        return value
