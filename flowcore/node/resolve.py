"""What has to be done with a message before its handler sees it: its large parts put in place, remote ones fetched.

    Fetch        how the bytes of a tensor on another host are brought here; the process around the engine gives it
    ComesAgain   this message can't be made whole, and another one will take its place: not an error

Who decodes a frame marks such messages: `envelope["unresolved"]` has their tensors and parts of large payloads.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from flowcore.buffers import BufferExpired, Codec, Spilled, Tensor
from flowcore.bus.envelope import Malformed

_AHEAD_BYTES = 64 << 20  # that are fetched before their turn
_TRIES, _AGAIN_S = 4, 0.2


class ComesAgain(Exception):
    """Its producer has ended, and the bytes with it; whoever took its place owes the message still."""


class Fetch(Protocol):
    """Brings bytes from another host."""

    async def __call__(self, part: Tensor | Spilled, /) -> None:
        """Fill it (`part.fill(data)`).

        Raises:
            BufferExpired: whoever has the bytes says that they are gone.
            OSError, TimeoutError: they cannot be had now.
        """


class Resolver:
    """Resolves messages in the order in which they are handled; begins to fetch some ahead.

    Attributes:
        is_used: some message had to be resolved; until then nobody needs to look for marks.
        fetch: None where nothing can be fetched.
    """

    def __init__(self, codec: Codec) -> None:
        self.is_used = False
        self.fetch: Fetch | None = None
        self._codec = codec
        self._under_way: dict[int, asyncio.Task] = {}  # id of a part -> its fetch
        self._bytes = 0  # that are under way

    def look_ahead(self, works: Sequence[Any]) -> None:
        """These are handled next: begin to fetch what they need, as far as memory allows."""
        for work in works:
            for part in work.envelope.get("unresolved", ()):
                if self._bytes < _AHEAD_BYTES and part.state == "remote":
                    self._begin(part)

    def _begin(self, part: Tensor | Spilled) -> asyncio.Task:
        task = self._under_way.get(id(part))
        if task is None:
            task = self._under_way[id(part)] = asyncio.get_running_loop().create_task(self._fetch(part))
            task.add_done_callback(lambda _: self._under_way.pop(id(part), None))
        return task

    async def _fetch(self, part: Tensor | Spilled) -> None:
        size_bytes = part.handle.nbytes if isinstance(part, Spilled) else part.nbytes
        self._bytes += size_bytes
        try:
            await self._try(part)
        finally:
            self._bytes -= size_bytes

    async def _try(self, part: Tensor | Spilled) -> None:
        """Fetch one; after some tries it has expired."""
        if self.fetch is None:
            part.expire("its bytes are on another host, and nothing here can fetch them")
            return
        for tries in range(_TRIES):
            try:
                await self.fetch(part)
                return
            except BufferExpired as e:
                part.expire(str(e))
                return
            except (OSError, TimeoutError) as e:
                why = str(e) or type(e).__name__
                await asyncio.sleep(_AGAIN_S * 2**tries)
        part.expire(f"its bytes could not be fetched: {why}")

    async def resolve(self, work: Any) -> None:
        """Make the message of a work whole; a tensor that is gone says so to who wants its bytes.

        Raises:
            BufferExpired: part of its payload is gone.
            Malformed: part of it is not what its handle says.
            ComesAgain: something is gone, and the message with it.
        """
        envelope: dict[str, Any] = work.envelope
        parts = envelope["unresolved"]
        waits = [self._begin(part) for part in parts if part.state == "remote"]
        if waits:
            await asyncio.gather(*waits)
        if any(part.state == "expired" for part in parts) and _is_over(work):
            raise ComesAgain
        try:
            for key in ("payload", "meta"):
                if key in envelope:
                    envelope[key] = self._codec.resolve(envelope[key])
        except (BufferExpired, Malformed):
            envelope["payload"] = None  # what is left of it is nothing that could be sent or shown
            raise
        finally:
            del envelope["unresolved"]


def is_remote(work: Any) -> bool:
    """True when resolving a work means waiting for another host."""
    return any(part.state == "remote" for part in work.envelope["unresolved"])


def _is_over(work: Any) -> bool:
    """True when the process that sent it has been followed by another."""
    return work.wire.delivery == "reliable" and work.epoch != work.wire.epoch
