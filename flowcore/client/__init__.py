"""For outside programs: read and write a running flow, and ask its runtime."""

from flowcore.buffers.errors import BufferExpired
from flowcore.bus.tls import BadCertificate, Untrusted
from flowcore.client.address import NotRunning
from flowcore.client.client import CallFailed, Client, NoAnswer, Subscription, connect
from flowcore.client.message import Message
from flowcore.client.tensor import RemoteTensor, RemoteValue

__all__ = [
    "BadCertificate",
    "BufferExpired",
    "CallFailed",
    "Client",
    "Message",
    "NoAnswer",
    "NotRunning",
    "RemoteTensor",
    "RemoteValue",
    "Subscription",
    "Untrusted",
    "connect",
]
