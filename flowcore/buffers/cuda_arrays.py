"""Tensors on a CUDA device as arrays of cupy, torch, numba, TensorRT: a pointer to the slot, and never a copy but where
it is said.

What is made here has the lease as its owner, so the slot is in use for as long as any view of it lives. Each function
names the streams that the slot is used on from then on (`cuda_memory.py` says why).
"""

from typing import Any

from flowcore.buffers import cuda_driver
from flowcore.buffers.cuda_driver import LEGACY, Stream
from flowcore.buffers.cuda_memory import CudaMemory, OwnMemory
from flowcore.buffers.cuda_waiter import waiter
from flowcore.buffers.lease import Lease

_KINDS = "biufc"


def array(lease: Lease, typestr: str, shape: tuple[int, ...], nbytes: int) -> Any:
    """A cupy array on the slot; where the thread works on another device, a copy on that one.

    Raises:
        BufferExpired: the owner has ended.
        CudaError: the memory cannot be opened here.
        TypeError: CUDA libraries have no such element type.
    """
    _check(typestr)
    memory, driver = _memory(lease), cuda_driver.driver()
    here = driver.current_device()
    address = memory.begin(lease.slot, ())
    if memory.device == here:
        memory.begin(lease.slot, driver.streams_here(here))
        return driver.array(here, address, nbytes, shape, typestr, lease)
    copy = driver.empty(here, shape, typestr)
    stream = driver.streams_here(here)[0]
    memory.order_after_uses(lease.slot, stream)
    driver.copy_from_device(copy.data.ptr, memory.device, address, nbytes, stream)
    memory.also_on(lease.slot, (stream,))
    return copy


def interface(lease: Lease, typestr: str, shape: tuple[int, ...], is_writable: bool) -> dict[str, Any]:
    """`__cuda_array_interface__`, version 3.

    Raises:
        As `array`.
    """
    _check(typestr)
    memory = _memory(lease)
    memory.begin(lease.slot, ())  # it knows its device from then on
    streams = cuda_driver.driver().streams_here(memory.device)
    return {
        "shape": shape,
        "typestr": typestr,
        "data": (memory.begin(lease.slot, streams), not is_writable),
        "strides": None,
        # What came from another process is complete; what is made here is complete in the order of this stream.
        "stream": streams[0].ptr if isinstance(memory, OwnMemory) else None,
        "version": 3,
    }


def device_of(lease: Lease) -> tuple[int, int]:
    """The device as DLPack has it."""
    memory = _memory(lease)
    memory.begin(lease.slot, ())
    return 2, memory.device  # kDLCUDA


def capsule(lease: Lease, typestr: str, shape: tuple[int, ...], nbytes: int, stream: int | None, **asked: Any) -> Any:
    """A DLPack capsule on the slot, ready for `stream`: None or 1 is the default stream, -1 means that the consumer
    sees to the order itself.

    Raises:
        As `array`.
    """
    _check(typestr)
    memory, driver = _memory(lease), cuda_driver.driver()
    address = memory.begin(lease.slot, ())
    if stream == -1:
        memory.begin(lease.slot, driver.streams_here(memory.device))
    else:
        consumer = driver.stream_of(memory.device, stream)
        memory.order_after_uses(lease.slot, consumer)
        memory.begin(lease.slot, (consumer,))
    shared = driver.array(memory.device, address, nbytes, shape, typestr, lease)
    asked = {name: value for name, value in asked.items() if value is not None}
    try:
        return shared.__dlpack__(stream=-1, **asked)
    except TypeError:  # cupy before 13.4 knows no more than `stream`; what is asked for may be left out
        return shared.__dlpack__(stream=-1)


def used_on(lease: Lease, stream: Any) -> None:
    """The slot is used on this stream, too: an object of cupy, torch, numba or pycuda, or a pointer.

    Raises:
        As `array`; TypeError: it is no stream.
    """
    memory = _memory(lease)
    memory.begin(lease.slot, ())
    memory.begin(lease.slot, (cuda_driver.driver().stream_of(memory.device, stream),))


def contiguous(value: Any) -> Any:
    """A device array of any library as a cupy array in C order; a copy only where it was not."""
    return cuda_driver.driver().contiguous(value)


def to_numpy(array: Any) -> Any:
    """A copy of a cupy array in host memory."""
    return cuda_driver.driver().to_numpy(array)


def copy_into(lease: Lease, source: Any) -> None:
    """Fill a slot of this process with a cupy array in C order, on the default stream. Does not wait."""
    memory, driver = _memory(lease), cuda_driver.driver()
    stream = Stream(memory.device, LEGACY)
    address = memory.begin(lease.slot, (stream,))
    if source.nbytes:
        driver.copy(address, source.data.ptr, source.nbytes, stream)
        waiter().when_done((stream,), lambda: source.shape)  # its memory is not given to others before


def _memory(lease: Lease) -> CudaMemory:
    memory = lease.pool.memory
    assert isinstance(memory, CudaMemory)
    return memory


def _check(typestr: str) -> None:
    if typestr[0] == ">" or typestr[1] not in _KINDS:
        raise TypeError(f"an array of {typestr!r} has no form on a CUDA device; take numpy()")
