"""`self.bus`: plain NATS for nodes that connect a flow with other systems; at most once, no acks."""

from collections.abc import Callable

from flowcore.bus.connection import Connection


class NodeBus:
    """Publish, subscribe and request on the subjects that the node's config names (its user may use no others)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def subscribe(self, subject: str, callback: Callable[[str, bytes, str], None]) -> None:
        """Call `callback(subject, data, reply)` for each message, also after a reconnect; it must not wait."""
        await self._connection.subscribe(subject, lambda subject, data, reply, headers: callback(subject, data, reply))

    async def unsubscribe(self, subject: str) -> None:
        """Undo `subscribe`."""
        await self._connection.unsubscribe(subject)

    def publish(self, subject: str, data: bytes) -> bool:
        """Send at once; False when the bus is away."""
        return self._connection.publish(subject, data)

    async def request(self, subject: str, data: bytes, timeout: float = 5.0) -> bytes:
        """Ask and wait for the answer.

        Raises:
            TimeoutError: no answer in time, or nobody to answer.
        """
        return await self._connection.request(subject, data, timeout)
