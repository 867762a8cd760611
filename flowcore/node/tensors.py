"""The shared memory of one node process: its own pools, those of others that it has open, and the codec of its ports.

Whoever waits for a slot has what it made so far sent first: consumers cannot be done with what they never got.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowcore.buffers import Codec, NoRoom, Pools, Readers, Tensor
from flowcore.buffers.handle import unpack_inline
from flowcore.buffers.spilled import replaced
from flowcore.bus.envelope import INLINE, MAX_ENVELOPE, Extension, Malformed, pack, packer, plain
from flowcore.node.encoded import ENCODED, decoded, encoded
from flowcore.node.resolve import Resolver

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.001, 0.02  # readers let go of a slot without a word
_SAID_AFTER_S, _SAID_AGAIN_S = 5.0, 60.0

_log = logging.getLogger("flowcore.node")


class PortCodec(Codec):
    """A codec with what wires ask beside packing and decoding."""

    def __init__(self, pools: Pools, readers: Readers) -> None:
        super().__init__(pools, readers)
        self.beside: Codec | None = None  # of wires that close a cycle, from the first tensor on

    def inline(self, packed: bytes, encoding: Mapping[str, Any] | None = None) -> bytes:
        """An envelope with the bytes of its tensors in it, encoded as a wire says. With an encoding it takes long.

        Raises:
            BufferExpired: of one that is gone.
        """
        envelope = self.resolve(self.unpack(packed, limit=len(packed)))
        if encoding is not None:
            envelope = replaced(envelope, lambda leaf: encoded(leaf, encoding))
        return pack_inline(envelope)

    def _decode(self, code: int, data: bytes) -> Any:
        if code != ENCODED:
            return super()._decode(code, data)
        self.seen += 1
        return decoded(data)

    def apart(self, packed: bytes) -> tuple[bytes, tuple[Any, ...]] | None:
        """An envelope with copies of its tensors, in pools that nothing else uses, and the claims on them.

        Those pools may be as large as the node's others. None: they are full.
        """
        if self.beside is None:
            self.beside = Codec(Pools(self.pools.limit_bytes), self.readers)
        envelope = replaced(self.resolve(self.unpack(packed, limit=len(packed))), _array)
        try:
            copied = self.beside.pack(envelope)
            if len(copied) > MAX_ENVELOPE:
                copied = self.beside.pack_large(envelope)
        except NoRoom:
            return None
        return copied, self.beside.taken


def _array(part: Any) -> Any:
    return part.numpy() if isinstance(part, Tensor) else part


def with_bytes(value: Any) -> Any:
    """What a packer is to make of a value that msgpack has no form for: of a tensor, all of it."""
    if isinstance(value, Tensor):
        return Extension(INLINE, pack([value.typestr, value.shape, value.tobytes()]))
    return plain(value)


pack_inline = packer(with_bytes)
"""`pack` with the bytes of every tensor, wherever it is: for what outlives all slots."""


def inline_alone(code: int, data: bytes) -> Tensor:
    """A hook of decoders, for bytes that name no slots: a stored state, what outsiders send.

    Raises:
        Malformed: another extension, or one that is no tensor.
    """
    if code != INLINE:
        raise Malformed(f"extension type {code} is not taken from here")
    return Tensor.private(*unpack_inline(data))


class Tensors:
    """Gives out slots, and says when there are none.

    Args:
        limit_bytes: how large all own pools may be together (the setting `pool_mb`).
    """

    def __init__(self, limit_bytes: int) -> None:
        self.pools, self.readers = Pools(limit_bytes), Readers()
        self.codec = PortCodec(self.pools, self.readers)
        self.resolver = Resolver(self.codec)
        self.flush: Callable[[], None] = lambda: None  # sends what was made so far; on the event loop
        self.allocs = 0  # made by handlers: from the first on, what they return is sent before the next one runs
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def alloc(self, shape: Sequence[int] | int, dtype: Any, device: str) -> Tensor:
        """A writable tensor; off the event loop it waits for a slot.

        Raises:
            NoRoom: on the event loop, when no slot is free.
            RuntimeError: the node ends while it waits.
        """
        self.allocs += 1
        if threading.get_ident() == self._thread:
            return self.pools.alloc(shape, dtype, device)
        wait = _Wait()
        while True:
            try:
                return self.pools.alloc(shape, dtype, device)
            except NoRoom as e:
                if wait.is_new:
                    self._loop.call_soon_threadsafe(self.flush)
                time.sleep(wait.next_s(e))

    async def alloc_when_free(self, shape: Sequence[int] | int, dtype: Any, device: str) -> Tensor:
        """A writable tensor, as soon as a slot is free."""
        self.allocs += 1
        wait = _Wait()
        while True:
            try:
                return self.pools.alloc(shape, dtype, device)
            except NoRoom as e:
                self.flush()
                await asyncio.sleep(wait.next_s(e))

    def trim(self) -> None:
        """Give back what is idle; each second."""
        now_s = time.monotonic()
        for codec in self._codecs():
            codec.pools.trim(now_s)
        self.readers.trim(now_s)

    def stats(self) -> list[dict[str, Any]]:
        """Own pools: for each device and size, slots, how many are in use here or held by readers, bytes."""
        return [pool for codec in self._codecs() for pool in codec.pools.stats()]

    def _codecs(self) -> list[Codec]:
        return [self.codec] if self.codec.beside is None else [self.codec, self.codec.beside]

    def close(self) -> None:
        """Let no handler thread that was left behind wait for a slot."""
        self.pools.close()

    def room(self) -> "Room":
        """For a send that found no room: wait with it and try again."""
        return Room(self)


class Room:
    """The waits of one send."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors, self._wait = tensors, _Wait()

    async def wait(self, error: NoRoom) -> None:
        """Return when trying again may help.

        Raises:
            ValueError: it never will: nothing is in use, and still there is too little.
        """
        if all(not pool["used"] and not pool["waiting"] for pool in self._tensors.pools.stats()):
            raise ValueError(f"one message needs more than this node may share at once: {error}") from None
        self._tensors.flush()
        await asyncio.sleep(self._wait.next_s(error))


class _Wait:
    """How long a wait for a slot takes; said in the log when it is long."""

    def __init__(self) -> None:
        self.is_new = True
        self._seconds = _FIRST_WAIT_S
        self._say_at_s = time.monotonic() + _SAID_AFTER_S

    def next_s(self, error: NoRoom) -> float:
        """Seconds to sleep before the next try."""
        self.is_new = False
        now_s = time.monotonic()
        if now_s > self._say_at_s:
            self._say_at_s = now_s + _SAID_AGAIN_S
            _log.warning("waiting for a slot: %s", error)
        seconds, self._seconds = self._seconds, min(self._seconds * 1.3, _LONGEST_WAIT_S)
        return seconds
