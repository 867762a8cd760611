"""The bus as a node may use it beside its wires: subjects that its config names (`bus_subscribe`, `bus_publish`).

The process around the engine puts a `BusAccess` into `extras["bus"]`; `bus_of(node)` finds it. What the node's user may
say and hear, the server decides.

Invariant: an answer goes to an outsider's inbox (`_INBOX.`) and nowhere else; a requester chooses the reply subject,
and must not choose one of the engine's.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flowcore.node.node import Node

if TYPE_CHECKING:  # who writes a node imports this, and needs no bus for it
    from flowcore.bus.connection import Connection

OUTSIDE_INBOX = "_INBOX."

Arrived = Callable[[str, bytes, str], None]  # subject, content, reply subject ("" when no answer is wanted)


class BusAccess:
    """Publish, subscribe, ask and answer on a node's own connection."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    async def subscribe(self, subject: str, arrived: Arrived, *, queue: str = "") -> "Subscribed":
        """Call `arrived` for each message, until `close()` of what is returned; it must not wait.

        Of all subscribers with the same `queue` one gets each message.
        """

        def take(subject: str, content: bytes, reply: str, headers: bytes) -> None:
            arrived(subject, content, reply if is_answerable(reply) else "")

        await self._connection.subscribe(subject, take, queue=queue)
        return Subscribed(self._connection, subject)

    def publish(self, subject: str, content: bytes) -> bool:
        """Send at once; False when the bus is away."""
        return self._connection.publish(subject, content)

    async def request(self, subject: str, content: bytes, timeout: float) -> bytes:
        """Ask, and wait for the answer. Raises TimeoutError."""
        return await self._connection.request(subject, content, timeout=timeout)

    def respond(self, reply: str, content: bytes) -> bool:
        """Answer a request; False when the bus is away.

        Raises:
            PermissionError: `reply` is no outsider's inbox.
        """
        if not is_answerable(reply):
            raise PermissionError(f"{reply!r} is no inbox of a program outside")
        return self._connection.publish(reply, content)


class Subscribed:
    """A subscription that lasts until it is closed."""

    def __init__(self, connection: "Connection", subject: str) -> None:
        self._connection, self._subject = connection, subject

    async def close(self) -> None:
        """No message arrives afterwards."""
        await self._connection.unsubscribe(self._subject)


def is_answerable(reply: str) -> bool:
    """True for the inbox of a program outside."""
    return reply.startswith(OUTSIDE_INBOX) and not set(reply) & set("*> \t\r\n")


def bus_of(node: Node) -> BusAccess:
    """The bus of a node that runs.

    Raises:
        RuntimeError: it runs without one, as in `drive` when no bus was given.
    """
    bus: Any = node.engine.extras.get("bus")
    if bus is None:
        raise RuntimeError(f"{node.type} needs the bus, and runs without one")
    return bus
