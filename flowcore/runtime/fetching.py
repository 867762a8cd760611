"""Tensors of other hosts, as one node process sees them: asking for their bytes, and giving its own to who asks.

Messages of reliable wires wait for theirs before the node's queue (`fetch_lanes`); of a latest wire the newest is
fetched when the handler is free (`flowcore.node.resolve`).
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from flowcore.buffers import BufferExpired, Lease, Spilled, Tensor
from flowcore.buffers.encode import Encoding, missing
from flowcore.buffers.fetch import Fetcher
from flowcore.buffers.handle import Handle
from flowcore.buffers.serve import Server
from flowcore.buffers.sources import Shown
from flowcore.bus import subjects
from flowcore.bus.connection import Connection
from flowcore.bus.permissions import INBOX, fetch_replies, inbox_prefix
from flowcore.bus.services import is_inbox
from flowcore.bus.wire_ends import wire_id
from flowcore.node.tensors import Tensors
from flowcore.runtime.fetch_lanes import Lanes

_PATIENCE_S = 1.0  # of one try

_log = logging.getLogger("flowcore.node")


class Fetching:
    """Both sides of fetching for one process.

    Args:
        process: node id, or `<node>#<k>` for replica k.
        inc: its incarnation, by which it is asked.
        tensors: its pools, readers and codec.
        deliver: takes messages that are whole into the node's queue.
        is_open: whether an in-wire is still in the deploy.

    Attributes:
        shown: what was sent, and so may be asked for.
        take: what wires deliver to.
    """

    def __init__(
        self,
        flow: str,
        process: str,
        inc: int,
        connection: Connection,
        tensors: Tensors,
        *,
        deliver: Callable[[list[Any]], None],
        is_open: Callable[[Any], bool],
    ) -> None:
        self.shown = Shown()
        self.fetcher = Fetcher(connection, inbox_prefix(flow, process))
        self.server = Server(
            publish=connection.publish,
            unsent=lambda: connection.unsent_bytes,
            max_payload=lambda: connection.max_payload,
            find=self._find,
            shown=self.shown,
            may_answer=self._may_answer,
        )
        self._lanes = Lanes(self.fetch, tensors.codec, deliver, is_open)
        self.take = self._lanes.take
        self._flow, self._node, self._inc = flow, process.partition("#")[0], inc
        self._connection, self._codec = connection, tensors.codec
        self._consumers: tuple[str, ...] = ()  # where they have their answers
        self._missing: set[str] = set()  # encodings that cannot be used here
        tensors.resolver.fetch = self.fetch

    async def subscribe(self) -> None:
        """Hear those who ask."""
        await self._connection.subscribe(subjects.fetch(self._flow, self._node, "*", self._inc), self.server.on_request)

    def set_wires(self, wires_in: list[dict], wires_out: list[dict]) -> None:
        """The deploy has these wires: their consumers may ask. Says in the log what an encoding lacks here."""
        replies = [one for wire in wires_out for one in fetch_replies(self._flow, wire)]
        self._consumers = tuple(one.removesuffix("*") for one in replies)
        for wire in (*wires_in, *wires_out):
            self._check_library(wire)

    def close(self) -> None:
        """Ask and answer nothing more."""
        self._lanes.close()
        self.server.close()

    def _find(self, handle: Handle) -> Lease:
        """A slot that we own, or have open because we passed it on; a request opens nothing."""
        codec = self._codec
        for pools in (codec.pools, codec.beside.pools if codec.beside is not None else None):
            if pools is not None and (own := pools.by_id.get(handle.pool)) is not None:
                return own.lease(handle.slot, handle.generation, handle.nbytes)
        pool = codec.readers.find(handle.pool)
        if pool is None:
            raise BufferExpired(f"pool {handle.pool:016x} is gone")
        return pool.lease(handle.slot, handle.generation, handle.nbytes)

    def _may_answer(self, reply: str) -> bool:
        return is_inbox(reply) and reply.startswith((f"{INBOX}.", *self._consumers))

    async def fetch(self, part: Tensor | Spilled, work: Any, /) -> None:
        """See `flowcore.node.resolve.Fetch`."""
        handle = part.handle
        assert handle is not None
        ends = work.wire.ends
        port = ends.port.partition("-")[0]  # of a replica: `<port>-<k>`; its epoch says which it is
        subject = subjects.fetch(ends.flow, ends.producer, port, work.epoch)
        encoding: Encoding | None = work.wire.encoding
        if encoding is not None and encoding["kind"] in self._missing:
            encoding = None
        part.fill(await self.fetcher.fetch(subject, handle, encoding, patience_s=_PATIENCE_S))

    def _check_library(self, wire: Mapping[str, Any]) -> None:
        encoding = wire.get("encode")
        if encoding is None or encoding["kind"] in self._missing:
            return
        if text := missing(encoding["kind"]):
            self._missing.add(encoding["kind"])
            _log.warning("wire %s: tensors from or to another host travel as they are: %s", wire_id(wire), text)
