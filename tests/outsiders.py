"""nats-py's own clients in tests: what outside systems connect with."""

from nats.aio.client import Client


async def settled(client: Client) -> None:
    """Wait until the server has what was subscribed and published.

    The PING of a first `flush` may go out ahead of a SUB that nats-py's flusher has not written yet.
    """
    await client.flush()
    await client.flush()
