"""Every call to CUDA, through cupy's runtime API: pointers and events are numbers, what goes wrong is `CudaError`.

cupy is imported at the first call and nowhere else in flowcore. Importing it touches no device; the first call of
this file that does makes a context, which does not survive a fork: only processes that never fork again come here.

An event handle and a memory handle are 64 bytes that another process of this machine can open.
"""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

LEGACY, PER_THREAD = 1, 2  # cudaStreamLegacy: cupy's and torch's default; cudaStreamPerThread
_NOT_READY = 600  # cudaErrorNotReady


class CudaError(OSError):
    """CUDA refused, or is not there."""


class Stream(NamedTuple):
    """A stream of a device.

    `owner` keeps it from being destroyed; None where nobody is known who does, so that its pointer may be stale later.
    """

    device: int
    ptr: int
    owner: Any = None

    @property
    def is_lasting(self) -> bool:
        """Whether events may be recorded on it later, and from another thread."""
        return self.ptr == LEGACY or (self.owner is not None and self.ptr != PER_THREAD)


def _checked(call: Callable[..., Any]) -> Callable[..., Any]:
    """Turn what cupy raises into `CudaError`."""

    @functools.wraps(call)
    def checked(self: "Driver", *args: Any, **named: Any) -> Any:
        try:
            return call(self, *args, **named)
        except self.errors as e:
            raise CudaError(f"{call.__name__}: {e}") from e

    return checked


class Driver:
    """CUDA as one process uses it. Every call says on which device; the thread's current device stays as it was.

    Raises:
        CudaError: from every call; from the constructor where there is no cupy that can be imported.
    """

    def __init__(self) -> None:
        try:
            import cupy
        except Exception as e:  # a broken installation raises anything
            raise CudaError(f"cupy cannot be imported: {e}") from e
        self._cupy = cupy
        self._runtime = cupy.cuda.runtime
        # RuntimeError: CUDARuntimeError is one, and so is a driver library that cannot be loaded.
        self.errors: tuple[type[Exception], ...] = (RuntimeError, MemoryError)

    # Devices

    @_checked
    def device_count(self) -> int:
        """How many devices this process sees."""
        return self._runtime.getDeviceCount()

    @_checked
    def current_device(self) -> int:
        """The device that this thread works on."""
        return self._runtime.getDevice()

    @_checked
    def identity(self, device: int) -> str:
        """What a device is called in every process, whatever CUDA_VISIBLE_DEVICES makes of its number."""
        uuid = self._runtime.getDeviceProperties(device).get("uuid", b"")  # tells the parts of a divided GPU apart
        return f"{self._runtime.deviceGetPCIBusId(device)}/{bytes(uuid).hex()}"

    @_checked
    def name(self, device: int) -> str:
        """What is printed on a device: "NVIDIA H100 80GB HBM3"."""
        return bytes(self._runtime.getDeviceProperties(device)["name"]).split(b"\0")[0].decode("utf-8", "replace")

    @contextlib.contextmanager
    def on(self, device: int) -> Iterator[None]:
        """Work on a device."""
        before = self._runtime.getDevice()
        if before == device:
            yield
            return
        self._runtime.setDevice(device)
        try:
            yield
        finally:
            self._runtime.setDevice(before)

    @_checked
    def memory_info(self, device: int) -> tuple[int, int]:
        """Free and total bytes of a device."""
        with self.on(device):
            return self._runtime.memGetInfo()

    @_checked
    def synchronize(self, device: int) -> None:
        """Return when the device has done all that this process gave it."""
        with self.on(device):
            self._runtime.deviceSynchronize()

    # Memory

    @_checked
    def malloc(self, device: int, nbytes: int) -> int:
        """Memory from CUDA itself, since a memory handle is one of a whole allocation."""
        with self.on(device):
            return self._runtime.malloc(nbytes)

    @_checked
    def free(self, device: int, ptr: int) -> None:
        """Give it back; no other process may have it open any more."""
        with self.on(device):
            self._runtime.free(ptr)

    @_checked
    def export_memory(self, device: int, ptr: int) -> bytes:
        """The handle by which another process opens an allocation."""
        with self.on(device):
            return self._runtime.ipcGetMemHandle(ptr)

    @_checked
    def import_memory(self, device: int, handle: bytes) -> int:
        """Another process's allocation, mapped here."""
        with self.on(device):
            return self._runtime.ipcOpenMemHandle(handle)

    @_checked
    def release_memory(self, device: int, ptr: int) -> None:
        """Unmap another process's allocation."""
        with self.on(device):
            self._runtime.ipcCloseMemHandle(ptr)

    # Streams and events

    @_checked
    def streams_here(self, device: int) -> list[Stream]:
        """The streams that are current in this thread: cupy's first, and torch's where it is in use."""
        with self.on(device):
            current = self._cupy.cuda.get_current_stream()
        streams = [Stream(device, current.ptr or LEGACY, current)]
        torch = getattr(sys.modules.get("torch"), "cuda", None)
        if torch is not None and torch.is_initialized():
            current = torch.current_stream(device)
            streams.append(Stream(device, current.cuda_stream or LEGACY, current))
        return streams[:1] if streams[0].ptr == streams[-1].ptr else streams

    def stream_of(self, device: int, stream: Any) -> Stream:
        """A stream given as an object of cupy, torch, numba or pycuda, or as a pointer.

        Raises:
            TypeError: it is none of these.
        """
        owner, ptr = stream, stream
        if hasattr(stream, "__cuda_stream__"):
            ptr = stream.__cuda_stream__()[1]
        else:
            for name in ("ptr", "cuda_stream", "handle"):
                ptr = getattr(stream, name, ptr)
        ptr = getattr(ptr, "value", ptr) or 0  # a ctypes pointer; None is the default stream
        if not isinstance(ptr, int):
            raise TypeError(f"{type(stream).__name__} is no CUDA stream")
        if ptr in (0, LEGACY):
            return Stream(device, LEGACY)
        if isinstance(stream, int):
            owner = next((known.owner for known in self.streams_here(device) if known.ptr == ptr), None)
        return Stream(device, ptr, owner)

    @_checked
    def new_stream(self, device: int) -> Stream:
        """A stream that waits for no other one; lives as long as the process."""
        with self.on(device):
            return Stream(device, self._runtime.streamCreateWithFlags(self._runtime.streamNonBlocking), self)

    @_checked
    def synchronize_stream(self, stream: Stream) -> None:
        """Return when all that was queued on a stream is done."""
        with self.on(stream.device):
            self._runtime.streamSynchronize(stream.ptr)

    @_checked
    def new_event(self, device: int, *, is_shared: bool = False) -> int:
        """An event; a shared one can be exported."""
        flags = self._runtime.eventDisableTiming | (self._runtime.eventInterprocess if is_shared else 0)
        with self.on(device):
            return self._runtime.eventCreateWithFlags(flags)

    @_checked
    def destroy_event(self, event: int) -> None:
        """Forget an event, made here or imported."""
        self._runtime.eventDestroy(event)

    @_checked
    def export_event(self, event: int) -> bytes:
        """The handle by which another process opens a shared event."""
        return self._runtime.ipcGetEventHandle(event)

    @_checked
    def import_event(self, device: int, handle: bytes) -> int:
        """Another process's event."""
        with self.on(device):
            return self._runtime.ipcOpenEventHandle(handle)

    @_checked
    def record(self, event: int, stream: Stream) -> None:
        """The event, one of the stream's device, is done when all that is on the stream now is done."""
        with self.on(stream.device):
            self._runtime.eventRecord(event, stream.ptr)

    @_checked
    def wait(self, stream: Stream, event: int) -> None:
        """What is queued on the stream from now on begins after the event, which may be another device's."""
        with self.on(stream.device):
            self._runtime.streamWaitEvent(stream.ptr, event)

    @_checked
    def is_done(self, event: int) -> bool:
        """Whether an event is done; one that was never recorded is."""
        status = self._runtime.eventQuery(event)
        if status not in (0, _NOT_READY):
            self._runtime.check_status(status)
        return status == 0

    # Copies, in the order of a stream

    @_checked
    def copy_from_host(self, ptr: int, address: int, nbytes: int, stream: Stream) -> None:
        """Ordinary memory may be used again only when the stream has been synchronized."""
        with self.on(stream.device):
            self._runtime.memcpyAsync(ptr, address, nbytes, self._runtime.memcpyHostToDevice, stream.ptr)

    @_checked
    def copy_to_host(self, address: int, ptr: int, nbytes: int, stream: Stream) -> None:
        """The bytes are there when the stream has been synchronized."""
        with self.on(stream.device):
            self._runtime.memcpyAsync(address, ptr, nbytes, self._runtime.memcpyDeviceToHost, stream.ptr)

    @_checked
    def copy(self, ptr: int, source: int, nbytes: int, stream: Stream) -> None:
        """Within the stream's device."""
        with self.on(stream.device):
            self._runtime.memcpyAsync(ptr, source, nbytes, self._runtime.memcpyDeviceToDevice, stream.ptr)

    @_checked
    def copy_from_device(self, ptr: int, source_device: int, source: int, nbytes: int, stream: Stream) -> None:
        """To the stream's device from another; CUDA goes through host memory where they do not reach each other."""
        with self.on(stream.device):
            self._runtime.memcpyPeerAsync(ptr, stream.device, source, source_device, nbytes, stream.ptr)

    # Arrays

    @_checked
    def array(self, device: int, ptr: int, nbytes: int, shape: tuple[int, ...], typestr: str, owner: Any) -> Any:
        """A cupy array on memory that lives as long as `owner`."""
        cuda = self._cupy.cuda
        memory = cuda.UnownedMemory(ptr, nbytes, owner, device)
        return self._cupy.ndarray(shape, typestr, cuda.MemoryPointer(memory, 0))

    @_checked
    def empty(self, device: int, shape: tuple[int, ...], typestr: str) -> Any:
        """A new cupy array."""
        with self.on(device):
            return self._cupy.empty(shape, typestr)

    @_checked
    def from_numpy(self, array: Any) -> Any:
        """A copy on the current device."""
        return self._cupy.asarray(array)

    @_checked
    def to_numpy(self, array: Any) -> Any:
        """A copy of a cupy array in host memory."""
        return self._cupy.asnumpy(array)

    @_checked
    def contiguous(self, value: Any) -> Any:
        """Whatever has `__cuda_array_interface__` as a cupy array in C order, without a copy where it is so already.

        What produces it is waited for as the interface says: with the stream it names.
        """
        return self._cupy.ascontiguousarray(self._cupy.asarray(value))


_driver: Any = None


def driver() -> Driver:
    """The driver of this process.

    Raises:
        CudaError: there is no cupy.
    """
    global _driver
    if _driver is None:
        _driver = Driver()
    return _driver


def install(other: Any) -> None:
    """Use another implementation of `Driver` in this process."""
    global _driver
    _driver = other
