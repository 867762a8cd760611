"""For outside programs: read and write a running flow, and ask its runtime."""

from flowcore.client.address import NotRunning
from flowcore.client.client import CallFailed, Client, NoAnswer, Subscription, connect
from flowcore.client.message import Message

__all__ = ["CallFailed", "Client", "Message", "NoAnswer", "NotRunning", "Subscription", "connect"]
