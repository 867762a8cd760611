"""What the nodes of a flow send and say, in the order in which it came."""

import asyncio
from collections import defaultdict

from flowcore.bus import subjects
from flowcore.bus.connection import Connection
from flowcore.bus.envelope import Malformed
from flowcore.client.message import Address, Message, decode
from flowcore.client.tensor import Memory
from flowcore.testing.document import EVENTS, Spot


class Recorder:
    """Listens to one flow.

    Attributes:
        came: set when something new has come.
    """

    def __init__(self, connection: Connection, flow: str, memory: Memory) -> None:
        self._connection, self._memory = connection, memory
        self._subject = f"flow.{flow}.>"
        self._flow = flow
        self._seen: dict[Spot, list[tuple[int, Message]]] = defaultdict(list)
        self._count = 0
        self.came = asyncio.Event()

    async def start(self) -> None:
        """Listen."""
        await self._connection.subscribe(self._subject, self._take)
        await self._connection.flush()

    async def stop(self) -> None:
        """Listen no more."""
        await self._connection.unsubscribe(self._subject)

    def _take(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        address = Address.of(subject)
        if address.kind == "in" or address.kind == "stats" or not address.kind:
            return
        try:
            messages = decode(subject, data, self._memory)
        except Malformed:
            return
        for message in messages:
            if address.kind == "out":
                self._add((message.node, "out", message.port), message)
            elif address.kind in EVENTS:
                self._add((message.node, "event", message.kind), message)

    def put(self, node: str, port: str, payload: object, topic: str, meta: dict) -> None:
        """A message that was put into an input."""
        into = subjects.into(self._flow, node, port)
        self._add((node, "in", port), Message(into, payload, topic, meta, self._flow, node, "in", port))

    def _add(self, spot: Spot, message: Message) -> None:
        self._count += 1
        self._seen[spot].append((self._count, message))
        self.came.set()

    @property
    def count(self) -> int:
        """The number of what came last."""
        return self._count

    def spots(self) -> list[Spot]:
        """Where anything was seen."""
        return list(self._seen)

    def seen(self, spots: list[Spot], after: int = 0) -> list[tuple[int, Message]]:
        """Number and message of what was seen at any of these spots, in order of arrival, after number `after`."""
        found = [one for spot in spots for one in self._seen.get(spot, ()) if one[0] > after]
        return sorted(found, key=lambda one: one[0])

    def events(self, kind: str) -> list[tuple[int, Message]]:
        """All of one kind, of every node."""
        return self.seen([spot for spot in self.spots() if spot[1:] == ("event", kind)])
