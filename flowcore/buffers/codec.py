"""Messages with tensors in them: packing puts them into slots and writes handles, decoding makes tensors of handles.

A pack takes effect as a whole: slots are sealed when everything is packed, and one that fails has sealed nothing and
uses no slot.
"""

import sys
import threading
from typing import Any

from flowcore.buffers.errors import BufferExpired
from flowcore.buffers.handle import Handle, Kind, handle_of, unpack_inline
from flowcore.buffers.lease import Lease
from flowcore.buffers.lingering import Lingering
from flowcore.buffers.memory import resolve
from flowcore.buffers.place import host_id
from flowcore.buffers.pool import Pool
from flowcore.buffers.pools import Pools
from flowcore.buffers.readers import Readers
from flowcore.buffers.spilled import Spilled, ToSpill, replaced, without_large
from flowcore.buffers.tensor import Tensor, copy_into
from flowcore.bus.envelope import (
    INLINE,
    MAX_ENVELOPE,
    MAX_FRAME,
    TENSOR,
    Extension,
    Malformed,
    check_dtype,
    packer,
    plain,
    unpack,
)

THRESHOLD = 16 * 1024  # bytes: smaller arrays travel inline
MAX_RESOLVED = 1 << 30  # bytes of spilled parts in one message: a small handle may name a large slot
_TENSOR_KIND = int(Kind.TENSOR)  # Python 3.11 calls a function for each `Kind.TENSOR`


def _extension(code: int, data: bytes) -> Extension:
    """`Extension` without its checks, which cost more than all else about a handle."""
    return tuple.__new__(Extension, (code, data))


class _Turn(threading.local):
    """One pack in one thread."""

    def __init__(self) -> None:
        self.leases: list[Lease] = []
        self.sent: list[Tensor] = []  # to be sealed
        self.taken: tuple[Lease, ...] = ()

    def forget(self) -> None:
        """Nothing was packed."""
        if self.leases or self.sent:
            self.leases, self.sent = [], []
        self.taken = ()


class Codec:
    """Packs for one process, and decodes what came for it. Thread-safe.

    Attributes:
        pools: where arrays are put.
        readers: pools of others.
        lingering: what is in use although its message is done.
        seen: extensions decoded so far; unchanged by a frame that holds none.
        expired: tensors and payloads decoded so far that were gone already.
        unresolved: those decoded so far that `resolve` has to put in place, or that have to be fetched first.
        has_taken: set by a pack that refers to slots, for one thread to see without a look at `taken` each time.
    """

    def __init__(self, pools: Pools, readers: Readers | None = None, *, threshold: int = THRESHOLD) -> None:
        self.pools = pools
        self.readers = readers or Readers()
        self.host = host_id()
        self.lingering = Lingering()
        self.seen = self.expired = self.unresolved = 0
        self.has_taken = False
        self._threshold = threshold
        self._turn = _Turn()
        self._looked_at = object()  # another one after each value that msgpack has no form for
        self._pack = packer(self._default)

    # Packing

    def pack(self, value: Any) -> bytes:
        """Pack one value; the tensors in it can't be written from now on.

        Raises:
            NoRoom: an array needs a slot and none is free.
            BufferExpired: a tensor in it is gone.
            TypeError: something in it has no msgpack form.
            ValueError: an integer beyond 64 bits, too deeply nested, or larger than the node may share at all.
        """
        looked_at = self._looked_at
        try:
            data = self._pack(value)
        except BaseException:
            self._turn.forget()
            raise
        if self._looked_at is not looked_at:  # else it was plain, as nearly all are
            self._seal_all(self._turn)
        return data

    def _seal_all(self, turn: _Turn) -> None:
        leases, sent = turn.leases, turn.sent
        if sent:
            turn.sent = []
            for tensor in sent:
                tensor.seal()
        if leases:
            turn.leases, self.has_taken = [], True
            for lease in leases:
                if isinstance(lease.pool, Pool):
                    lease.pool.seal(lease)
        turn.taken = tuple(leases)

    @property
    def taken(self) -> tuple[Lease, ...]:
        """What the last `pack` of this thread that refers to slots refers to; reading it hands it over.

        The slots are in use for as long as these objects live: keep them with the packed bytes.
        """
        turn = self._turn
        taken, turn.taken = turn.taken, ()
        return taken

    def pack_large(self, envelope: dict) -> bytes:
        """Pack an envelope whose plain form is larger than `MAX_ENVELOPE`: long texts and bytes of its payload and
        meta go into slots, and what is too large even so goes as a whole.

        Raises:
            As `pack`; ValueError where its topic alone is too large.
        """
        parts = {key: envelope[key] for key in ("payload", "meta") if key in envelope}
        slim = envelope | {key: without_large(part, self._threshold) for key, part in parts.items()}
        data = self.pack(slim)
        inside: tuple[Lease, ...] = ()  # what the handles in spilled parts refer to
        for key, part in parts.items():
            if len(data) <= MAX_ENVELOPE:
                break
            self._turn.forget()
            slim[key] = ToSpill(Kind.VALUE, self.pack(part))
            inside += self.taken
            data = self.pack(slim)
        self._turn.taken += inside
        if len(data) > MAX_ENVELOPE:
            self._turn.forget()
            raise ValueError(f"an envelope of {len(data):,} bytes without its payload; is its topic so long?")
        return data

    def _default(self, value: Any) -> Any:
        self._looked_at = object()
        if type(value) is Tensor:
            return self._tensor(value)
        if type(value) is ToSpill:
            nbytes = len(value.data)
            lease = self.pools.take(nbytes)
            lease.pool.memory.copy_in(lease.slot, value.data)
            return self._own(lease, value.kind, "|u1", (nbytes,), nbytes)
        if type(value) is Spilled:
            raise TypeError("part of a large payload that was not resolved")
        numpy = sys.modules.get("numpy")  # where it was never imported there are no arrays of it
        if numpy is not None and isinstance(value, numpy.ndarray) and value.nbytes >= self._threshold:
            typestr = value.dtype.str
            check_dtype(typestr)
            lease = self.pools.take(value.nbytes)
            copy_into(lease, value)
            return self._own(lease, Kind.TENSOR, typestr, value.shape, value.nbytes)
        if not isinstance(value, type) and hasattr(value, "__cuda_array_interface__"):
            return self._from_device(value)
        return plain(value)

    def _from_device(self, value: Any) -> Extension:
        from flowcore.buffers import cuda_arrays

        array = cuda_arrays.contiguous(value)
        device = resolve(f"cuda:{array.device.id}")
        if array.nbytes < self._threshold or device == "cpu":
            return self._default(cuda_arrays.to_numpy(array))
        check_dtype(array.dtype.str)
        lease = self.pools.take(array.nbytes, device)
        cuda_arrays.copy_into(lease, array)
        return self._own(lease, Kind.TENSOR, array.dtype.str, array.shape, array.nbytes)

    def _tensor(self, tensor: Tensor) -> Extension:
        lease = tensor.lease
        if lease is None and tensor.is_private:
            if tensor.nbytes < self._threshold:
                return plain(tensor)
            return self._default(tensor.numpy())
        packed = tensor.packed_handle(self.host)
        if lease is not None:
            lease.nbytes = tensor.nbytes
            turn = self._turn
            turn.leases.append(lease)
            if tensor.handle is None:
                turn.sent.append(tensor)
        return _extension(TENSOR, packed)

    def _own(self, lease: Lease, kind: Kind, typestr: str, shape: tuple[int, ...], nbytes: int) -> Extension:
        lease.nbytes = nbytes
        self._turn.leases.append(lease)
        return _extension(TENSOR, handle_of(lease, kind, typestr, shape, nbytes, self.host).packed())

    # Decoding

    def unpack(self, data: bytes, *, limit: int = MAX_FRAME) -> Any:
        """Decode bytes from a peer whose identity the server checked; slots they name are held from now on.

        A tensor that is gone already is there with the state "expired", one of another host as "remote"; parts of
        large payloads are `Spilled`.

        Raises:
            Malformed: larger than `limit`, not msgpack, trailing bytes, or a handle that can't be one.
        """
        return unpack(data, limit=limit, ext_hook=self._decode)

    def _decode(self, code: int, data: bytes) -> Any:
        if code != TENSOR:
            if code != INLINE:
                return Extension(code, data)
            self.seen += 1
            return Tensor.private(*unpack_inline(data))
        self.seen += 1
        handle = Handle.unpack(data)
        lease, why = None, ""
        if handle.host == self.host:
            try:
                lease = self.lease(handle)
            except BufferExpired as e:
                self.expired += 1
                why = str(e)
            except OSError:
                pass  # it is there, and cannot be opened from here: fetched like one of another host
        is_tensor = handle.kind == _TENSOR_KIND
        if is_tensor and lease is not None:
            return Tensor(handle.dtype, handle.shape, handle.nbytes, handle.device, lease, handle)
        if not why:
            self.unresolved += 1
        return Tensor.without_bytes(handle, why) if is_tensor else Spilled(handle, lease, why)

    def lease(self, handle: Handle) -> Lease:
        """Hold the slot of a handle of this host, also to give its bytes to another one.

        Raises:
            BufferExpired: it was written again, or who has it is gone.
            OSError: it is there, and cannot be opened from here.
        """
        own = self.pools.by_id.get(handle.pool)
        if own is not None:
            return own.lease(handle.slot, handle.generation, handle.nbytes)
        return self.readers.lease(handle)

    def resolve(self, value: Any) -> Any:
        """Put the spilled parts of a decoded value back in their places; returns the value, changed in place.

        Raises:
            BufferExpired: one is gone, or was not fetched.
            Malformed: one does not hold what its handle says, or all are too large together.
        """
        left = MAX_RESOLVED

        def put_back(part: Any, is_inside: bool = False) -> Any:
            nonlocal left
            if type(part) is not Spilled:
                return part
            left -= part.handle.nbytes
            if left < 0:
                raise Malformed(f"a message of more than {MAX_RESOLVED:,} bytes")
            data = part.tobytes()
            if part.handle.kind == Kind.BYTES:
                return data
            if part.handle.kind == Kind.TEXT:
                try:
                    return data.decode("utf-8")
                except UnicodeDecodeError as e:
                    raise Malformed(f"a large text that is none: {e}") from None
            if is_inside:
                raise Malformed("a large payload within a large payload")  # it could be within itself
            return replaced(self.unpack(data, limit=len(data)), lambda inner: put_back(inner, True))

        return replaced(value, put_back)
