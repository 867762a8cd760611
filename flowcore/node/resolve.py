"""What has to be done with a message before its handler sees it: its large parts put in place, remote ones fetched.

    Fetch        how the bytes of a tensor on another host are brought here; the process around the engine gives it
    ComesAgain   this message can't be made whole, and another one will take its place: not an error

Who decodes a frame marks such messages: `envelope["unresolved"]` has their tensors and parts of large payloads.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from flowcore.buffers import BufferExpired, Codec, Spilled, Tensor
from flowcore.buffers.handle import Kind
from flowcore.buffers.spilled import parts
from flowcore.bus.envelope import Malformed

_AHEAD_BYTES = 64 << 20  # that are fetched before their turn
_TRIES, _AGAIN_S = 4, 0.2


class ComesAgain(Exception):
    """Its producer has ended, and the bytes with it; whoever took its place owes the message still."""


class Fetch(Protocol):
    """Brings bytes from another host."""

    async def __call__(self, part: Tensor | Spilled, work: Any, /) -> None:
        """Fill a part of the message of a work (`part.fill(data)`).

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
                    self._begin(part, work)

    def _begin(self, part: Tensor | Spilled, work: Any) -> asyncio.Task:
        task = self._under_way.get(id(part))
        if task is None:
            task = self._under_way[id(part)] = asyncio.get_running_loop().create_task(self._fetch(part, work))
            task.add_done_callback(lambda _: self._under_way.pop(id(part), None))
        return task

    async def _fetch(self, part: Tensor | Spilled, work: Any) -> None:
        size_bytes = part.handle.nbytes if isinstance(part, Spilled) else part.nbytes
        self._bytes += size_bytes
        try:
            await self._try(part, work)
        finally:
            self._bytes -= size_bytes

    async def _try(self, part: Tensor | Spilled, work: Any) -> None:
        """Fetch one; after some tries it has expired. A latest wire has something newer by then."""
        if self.fetch is None:
            part.expire("its bytes are on another host, and nothing here can fetch them")
            return
        for tries in range(1 if work.is_latest else _TRIES):
            try:
                await self.fetch(part, work)
                return
            except BufferExpired as e:
                part.expire(str(e))
                return
            except (OSError, ImportError) as e:
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
        try:
            while envelope["unresolved"]:
                if waits := [self._begin(part, work) for part in remote_parts(work)]:
                    await asyncio.gather(*waits)
                if any(part.state == "expired" for part in envelope["unresolved"]) and _is_over(work):
                    raise ComesAgain
                envelope["unresolved"] = settle(envelope, self._codec)
        except (BufferExpired, Malformed):
            envelope["payload"] = None  # what is left of it is nothing that could be sent or shown
            raise
        finally:
            del envelope["unresolved"]


def settle(envelope: dict[str, Any], codec: Codec) -> list[Tensor | Spilled]:
    """Put the large parts of a message in place; returns tensors of other hosts that were in them.

    Raises:
        BufferExpired, Malformed: one is gone, or is not what its handle says.
    """
    is_whole = any(isinstance(part, Spilled) and part.handle.kind == Kind.VALUE for part in envelope["unresolved"])
    for key in ("payload", "meta"):
        if key in envelope:
            envelope[key] = codec.resolve(envelope[key])
    found = parts([envelope["payload"], envelope.get("meta")]) if is_whole else ()
    return [part for part in found if part.state == "remote"]


def remote_parts(work: Any) -> list[Tensor | Spilled]:
    """What of the message of a work has to come from another host."""
    return [part for part in work.envelope.get("unresolved", ()) if part.state == "remote"]


def _is_over(work: Any) -> bool:
    """True when another message takes its place: a newer one of a latest wire, or that of the sender's next process."""
    return work.is_latest or (work.wire.delivery == "reliable" and work.epoch != work.wire.epoch)
