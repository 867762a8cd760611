"""Tensors and large values in messages, for a program outside: what they are, and their bytes when it asks for them.

On the same host they are copied out of shared memory, with the slot locked for just so long: the flow does not notice.
From elsewhere, or where the memory of another user cannot be opened, they are asked for over the bus.

    BufferExpired   the bytes are gone: no flow waits for programs outside, so fetch soon, or take the next message

A handle may be forged: what it names is opened only when it is a pool of flowcore's, and never read beyond its end.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Any

from flowcore.buffers.dtypes import name_of
from flowcore.buffers.encode import Encoding
from flowcore.buffers.errors import BufferExpired
from flowcore.buffers.fetch import Fetcher
from flowcore.buffers.handle import Handle, Kind, unpack_inline
from flowcore.buffers.place import host_id
from flowcore.buffers.readers import Readers
from flowcore.bus import subjects
from flowcore.bus.envelope import INLINE, MAX_ELEMENTS, TENSOR, Malformed, unpack_foreign

if TYPE_CHECKING:
    import numpy as np

MAX_BYTES = 1 << 30
"""A handle may say what it likes; no more than this is fetched."""
_BYTES_AN_ELEMENT = 4  # of a large value at least, on average: a map of one byte becomes 64 bytes of Python
_KINDS = {Kind.BYTES: "bytes", Kind.TEXT: "text", Kind.VALUE: "any"}


class Memory:
    """How one client comes by bytes."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher, self._readers = fetcher, Readers()

    async def bytes_of(self, handle: Handle, subject: str, encoding: Encoding | None, patience_s: float) -> bytes:
        """The bytes of a slot; `subject` says whom to ask ("": nobody is known)."""
        if handle.nbytes > MAX_BYTES:
            raise ValueError(f"{handle.nbytes:,} bytes, the limit is {MAX_BYTES:,}")
        if handle.host == host_id() and handle.device == "cpu":
            try:
                return await asyncio.to_thread(self._copy, handle)
            except OSError:  # it cannot be opened from here
                if not subject:
                    raise
        if not subject:
            raise BufferExpired("its bytes are elsewhere, and the message does not say who has them")
        return await self._fetcher.fetch(subject, handle, encoding, patience_s=patience_s)

    def _copy(self, handle: Handle) -> bytes:
        self._readers.trim(time.monotonic())
        lease = self._readers.lease(handle)
        return bytes(lease.copy_out(handle.nbytes))

    async def close(self) -> None:
        """Open nothing more."""
        self._readers.close()
        await self._fetcher.close()


class _Remote:
    """Something in a slot of a flow's memory."""

    def __init__(self, handle: Handle) -> None:
        self.nbytes = handle.nbytes
        self._handle = handle
        self._memory: Memory | None = None
        self._subject = ""

    def bind(self, memory: Memory | None, subject: str) -> None:
        """Say how its bytes are come by, and who sent it."""
        self._memory, self._subject = memory, subject

    async def _fetch(self, encode: Encoding | None, timeout: float) -> bytes:
        if self._memory is None:
            raise BufferExpired("no connection of a client, so nobody to ask for its bytes")
        return await self._memory.bytes_of(self._handle, self._subject, encode, timeout)


class RemoteTensor(_Remote):
    """An array in a message. What it is, is known at once; its bytes are fetched when asked for.

    Attributes:
        dtype: name of its element type, "uint8"; `typestr`: with byte order, "|u1", "<f4".
        shape: dimensions.
        device: where it lies, "cpu" or "cuda:0".
        nbytes: bytes of the array.
    """

    def __init__(self, handle: Handle) -> None:
        super().__init__(handle)
        self.typestr, self.dtype = handle.dtype, name_of(handle.dtype)
        self.shape, self.device = handle.shape, handle.device

    @property
    def ndim(self) -> int:
        """How many dimensions."""
        return len(self.shape)

    async def fetch(self, *, encode: Encoding | None = None, timeout: float = 5.0) -> bytes:
        """Its bytes in C order.

        Args:
            encode: `{"kind": "jpeg", "quality": 80}` or `{"kind": "zstd", "level": 1}`: how they may travel when they
                have to.
            timeout: seconds that whoever has them may be silent.

        Raises:
            BufferExpired: they are gone.
            PermissionError: this user may not have them.
            TimeoutError: nobody answers.
        """
        return await self._fetch(encode, timeout)

    async def numpy(self, *, encode: Encoding | None = None, timeout: float = 5.0) -> "np.ndarray":
        """A read-only array of its own memory; see `fetch`."""
        import numpy as np

        return np.frombuffer(await self.fetch(encode=encode, timeout=timeout), self.typestr).reshape(self.shape)

    def described(self) -> dict[str, Any]:
        """For JSON."""
        return {"$tensor": {"dtype": self.dtype, "shape": list(self.shape), "device": self.device}}

    def __repr__(self) -> str:
        return f"<RemoteTensor {self.dtype} {'x'.join(map(str, self.shape)) or 'scalar'} on {self.device}>"


class InlineTensor(RemoteTensor):
    """An array whose bytes came with the message."""

    def __init__(self, typestr: str, shape: tuple[int, ...], data: bytes) -> None:
        self.typestr, self.dtype, self.shape, self.device = typestr, name_of(typestr), shape, "cpu"
        self.nbytes, self._data = len(data), data

    async def fetch(self, *, encode: Encoding | None = None, timeout: float = 5.0) -> bytes:
        return self._data


class RemoteValue(_Remote):
    """A text, bytes or a whole payload too large for a message; `kind` is "text", "bytes" or "any"."""

    def __init__(self, handle: Handle) -> None:
        super().__init__(handle)
        self.kind = _KINDS[Kind(handle.kind)]

    async def fetch(self, *, encode: Encoding | None = None, timeout: float = 5.0) -> Any:
        """The value; see `RemoteTensor.fetch`.

        Raises:
            Malformed: it is not what it says.
        """
        data = await self._fetch(encode, timeout)
        if self.kind == "bytes":
            return data
        if self.kind == "any":
            found: list[Any] = []
            most = max(MAX_ELEMENTS, len(data) // _BYTES_AN_ELEMENT)
            value = unpack_foreign(data, limit=len(data), most=most, ext_hook=collecting(found))
            for part in found:
                part.bind(self._memory, self._subject)
            return value
        try:
            return data.decode()
        except UnicodeDecodeError as e:
            raise Malformed(f"a text that is none: {e}") from None

    def described(self) -> dict[str, Any]:
        """For JSON."""
        return {"$large": {"kind": self.kind, "bytes": self.nbytes}}

    def __repr__(self) -> str:
        return f"<RemoteValue {self.kind}, {self.nbytes} bytes>"


def collecting(found: list[Any]) -> Any:
    """An `ext_hook` that makes tensors and values of extensions, and adds those to be bound to `found`."""

    def decoded(code: int, data: bytes) -> Any:
        if code == INLINE:
            return InlineTensor(*unpack_inline(data))
        if code != TENSOR:
            raise Malformed(f"extension type {code}")
        handle = Handle.unpack(data)
        part = RemoteTensor(handle) if handle.kind == Kind.TENSOR else RemoteValue(handle)
        found.append(part)
        return part

    return decoded


def sender_of(flow: str, node: str, port: str, epoch: Any) -> str:
    """Who is asked for the bytes in a message of this port and epoch; "" where there is none (it came from outside)."""
    return subjects.fetch(flow, node, port, epoch) if port and type(epoch) is int else ""
