"""nats-py's own clients in tests: what outside systems connect with."""

from nats.aio.client import Client


async def settled(client: Client) -> None:
    """Wait until the server has what was subscribed and published: nats-py's `flush` alone may send its PING ahead of
    a SUB that its flusher has not written yet."""
    await client._flush_pending(force_flush=True)
    await client.flush()
