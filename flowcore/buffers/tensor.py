"""What authors see: an array that may lie in memory shared with other processes.

fresh     in a slot of this process, being written         numpy() is writable
sealed    in a slot, sent once or received                 numpy() is read-only; sent again it goes by handle
private   bytes of this process alone (a small one)        numpy() is read-only; sent again it is copied
remote    on another host, its bytes not here yet
expired   gone: whatever needs the bytes raises `BufferExpired`
"""

import logging
import sys
from typing import TYPE_CHECKING, Any

from flowcore.buffers.dtypes import name_of
from flowcore.buffers.errors import BufferExpired
from flowcore.buffers.handle import Handle, Kind, handle_of
from flowcore.buffers.lease import Lease
from flowcore.buffers.pool import Pool

if TYPE_CHECKING:
    import numpy as np


_log = logging.getLogger("flowcore.buffers")


class _Span:
    """What a numpy array on a slot has as its base: so the slot is in use for as long as any view of it lives."""

    __slots__ = ("__array_interface__", "_lease")

    def __init__(self, lease: Lease, shape: tuple[int, ...], typestr: str, is_writable: bool) -> None:
        self._lease = lease
        self.__array_interface__ = {
            "shape": shape,
            "typestr": typestr,
            "data": (lease.address, not is_writable),
            "version": 3,
        }


class Tensor:
    """An array in a message, or one made with `alloc` to be filled and sent.

    Arrays made by `numpy()` keep its memory in use by themselves, also after `release()`, so none of them ever shows
    something else than what was sent. Who keeps a tensor beyond its handler says so with `keep()`, and lets go with
    `release()` or at the end of a `with`:

        with message.payload.keep() as frame:
            ...

    Attributes:
        shape: dimensions.
        device: "cpu", or "cuda:0" ..
        nbytes: bytes of the array.
        lease: its slot; None where it is in none, or was released.
        handle: what it was received as; None for one of this process.
    """

    __slots__ = (
        "__weakref__",
        "_data",
        "_fresh",
        "_is_exported",
        "_typestr",
        "_why",
        "device",
        "handle",
        "lease",
        "nbytes",
        "shape",
    )

    shape: tuple[int, ...]
    device: str
    nbytes: int

    def __init__(
        self,
        typestr: str,
        shape: tuple[int, ...],
        nbytes: int,
        device: str = "cpu",
        lease: Lease | None = None,
        handle: Handle | None = None,
    ) -> None:
        self.shape, self.nbytes, self.device = shape, nbytes, device
        self._typestr = typestr
        self.lease, self.handle = lease, handle
        self._data: bytes | None = None
        self._fresh: np.ndarray | None = None  # the array that was handed out to be written
        self._why = ""  # it has no bytes
        self._is_exported = False

    # Where they come from

    @classmethod
    def private(cls, typestr: str, shape: tuple[int, ...], data: bytes) -> "Tensor":
        """One with bytes of its own."""
        tensor = cls(typestr, shape, len(data))
        tensor._data = data
        return tensor

    @classmethod
    def without_bytes(cls, handle: Handle, why: str) -> "Tensor":
        """One whose bytes are elsewhere or gone."""
        tensor = cls(handle.dtype, handle.shape, handle.nbytes, handle.device, None, handle)
        tensor._why = why
        return tensor

    # What it is

    @property
    def dtype(self) -> str:
        """The name of its element type, "uint8"; byte order is left out (`numpy().dtype` has it)."""
        return name_of(self._typestr)

    @property
    def typestr(self) -> str:
        """Its element type with byte order, as numpy's `dtype.str`: "|u1", "<f4"."""
        return self._typestr

    @property
    def ndim(self) -> int:
        """How many dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor without dimensions has no length")
        return self.shape[0]

    @property
    def state(self) -> str:
        """fresh, sealed, private, remote or expired."""
        if self.lease is not None and not self._why:
            return "fresh" if self.is_writable else "sealed"
        if self._data is not None:
            return "private"
        return "remote" if self.handle is not None and not self._why else "expired"

    @property
    def is_writable(self) -> bool:
        """Whether it was made here and not sent yet."""
        lease = self.lease
        return lease is not None and isinstance(lease.pool, Pool) and not lease.pool.is_sealed(lease)

    @property
    def is_private(self) -> bool:
        """Whether its bytes are of this process alone."""
        return self._data is not None

    @property
    def is_scarce(self) -> bool:
        """Whether its owner is short of slots: who holds it for long had better take a `copy()` and let go."""
        return self.lease is not None and self.lease.pool.ledger.is_scarce

    def __repr__(self) -> str:
        dims = "x".join(map(str, self.shape)) or "scalar"
        return f"<Tensor {self.dtype} {dims} on {self.device}, {self.state}>"

    # Its bytes

    def numpy(self) -> "np.ndarray":
        """The array, shape `shape`: a view without a copy. Writable until the tensor is sent, read-only from then on.

        Sending makes this very array read-only; slices of it, and what other libraries made of it, are not reached:
        drop those before.

        Of a tensor on a CUDA device it is a copy as it is now, and read-only: what is written goes through `cupy()`.

        Raises:
            BufferExpired: the bytes are gone, or it was released.
        """
        import numpy as np

        if self._fresh is not None:
            return self._fresh
        if self._data is not None:
            return np.frombuffer(self._data, self._typestr).reshape(self.shape)
        lease = self._here()
        if self.device != "cpu":
            return np.frombuffer(lease.copy_out(self.nbytes), self._typestr).reshape(self.shape)
        if not self.is_writable:
            return np.asarray(_Span(lease, self.shape, self._typestr, False))
        # A view of an array that nobody else gets: what is cut out of it refers to that one, and can be counted.
        self._fresh = np.asarray(_Span(lease, self.shape, self._typestr, True)).view()
        return self._fresh

    def copy(self) -> "np.ndarray":
        """A writable array of its own, in ordinary memory."""
        return self.numpy().copy()

    def tobytes(self) -> bytes:
        """Its bytes in C order."""
        return self._data if self._data is not None else bytes(self._here().copy_out(self.nbytes))

    __bytes__ = tobytes

    def cupy(self) -> Any:
        """The array on the device that this thread works on, shape `shape`: without a copy where it lies there.

        It may be used on the streams that are current now (cupy's and torch's), and with those all that wait for the
        default stream; say `used_on` for others. Writable until the tensor is sent; from then on nothing may be
        written to it, though CUDA cannot prevent it. Waits where its producer's device is not through with it.

        Raises:
            BufferExpired: the bytes are gone, it was released, or its owner on the device has ended.
            CudaError: there is no CUDA here.
        """
        from flowcore.buffers import cuda_arrays, cuda_driver

        if self.device == "cpu" or self._data is not None:
            return cuda_driver.driver().from_numpy(self.numpy())
        return cuda_arrays.array(self._here(), self._typestr, self.shape, self.nbytes)

    def used_on(self, stream: Any) -> "Tensor":
        """Say that it is read or written on another CUDA stream; returns the tensor.

        What comes after waits for the work on it that was queued until then: readers for a tensor that is sent, the
        next writer for one that is let go.

        Args:
            stream: of cupy, torch, numba or pycuda, or a `cudaStream_t` as a number.
        """
        if self.device != "cpu":
            from flowcore.buffers import cuda_arrays

            cuda_arrays.used_on(self._here(), stream)
        return self

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.device == "cpu":
            raise AttributeError("a tensor in host memory has no __cuda_array_interface__")
        from flowcore.buffers import cuda_arrays

        self._is_exported = True  # as below
        return cuda_arrays.interface(self._here(), self._typestr, self.shape, self.is_writable)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> "np.ndarray":
        if copy is False and self.device != "cpu":
            raise ValueError(f"a tensor on {self.device} cannot become an array of the host without a copy")
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"{self.dtype} cannot become {dtype} without a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

    @property
    def __array_interface__(self) -> dict[str, Any]:
        if self.device != "cpu":
            raise AttributeError(f"a tensor on {self.device} has no __array_interface__")
        # Whoever takes the address refers to this object alone, so its slot stays in use until it is gone.
        self._is_exported = True
        return self.numpy().__array_interface__

    def __dlpack__(self, *, stream: int | None = None, dl_device: tuple[int, int] | None = None, **how: Any) -> Any:
        if self.device == "cpu" or dl_device == (1, 0):
            return self.numpy().__dlpack__(**how)
        from flowcore.buffers import cuda_arrays

        return cuda_arrays.capsule(self._here(), self._typestr, self.shape, self.nbytes, stream, **how)

    def __dlpack_device__(self) -> tuple[int, int]:
        if self.device == "cpu":
            return (1, 0)  # kDLCPU
        from flowcore.buffers import cuda_arrays

        return cuda_arrays.device_of(self._here())

    def __reduce__(self) -> Any:
        return Tensor.private, (self._typestr, self.shape, self.tobytes())

    def _here(self) -> Lease:
        if self.lease is None or self._why:
            raise BufferExpired(self._why or "the bytes of this tensor were not fetched")
        return self.lease

    # Holding and letting go

    def keep(self) -> "Tensor":
        """Say that it is meant to be used after its message is done; returns the tensor, also for `with`."""
        if self.lease is not None:
            self.lease.is_kept = True
        return self

    def release(self) -> None:
        """Let go now. Arrays made of it before stay good, and keep the slot for as long as they live."""
        self._why = "this tensor was released"
        self._data = self._fresh = None
        if not self._is_exported:
            self.lease = None

    def __enter__(self) -> "Tensor":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    # For the codec

    def seal(self) -> None:
        """No more writing: it is on its way."""
        if self.is_writable:
            lease = self._here()
            if self._fresh is not None:
                self._fresh.flags.writeable = False
                _tell_of_parts(self._fresh)
                self._fresh = None
            lease.pool.seal(lease)  # type: ignore[attr-defined]

    def fill(self, data: bytes) -> None:
        """The bytes of a remote one have come; from now on it is private.

        Raises:
            ValueError: not as many as it has.
        """
        if len(data) != self.nbytes:
            raise ValueError(f"{len(data)} bytes for a tensor of {self.nbytes}")
        self._data, self.handle, self.device = data, None, "cpu"

    def expire(self, why: str) -> None:
        """Its bytes will not come."""
        self._why = why

    def packed_handle(self, host: str) -> bytes:
        """The handle by which it is passed on, as it travels.

        Raises:
            BufferExpired: there is nothing any more to pass on.
        """
        handle, lease = self.handle, self.lease
        if self._why:
            raise BufferExpired(self._why)
        if handle is None:
            return handle_of(self._here(), Kind.TENSOR, self._typestr, self.shape, self.nbytes, host).packed()
        return handle.packed() if lease is None else handle.passed_on(lease.pool.via)


_has_told = False


def _tell_of_parts(given: "np.ndarray") -> None:
    """Say once that arrays which were cut out of one that is sent can still be written."""
    global _has_told
    if not _has_told and sys.getrefcount(given.base) > 2:  # of the one that was given out, and of this call
        _has_told = True
        _log.warning(
            "an array cut out of a tensor (a slice, a reshape) is still there when the tensor is sent: it stays "
            "writable, and what it writes its readers see; let go of it before, or take a copy"
        )


def copy_into(lease: Lease, array: "np.ndarray") -> None:
    """Fill a slot of this process with an array of any strides, in C order."""
    import numpy as np

    np.copyto(np.asarray(_Span(lease, array.shape, array.dtype.str, True)), array)
