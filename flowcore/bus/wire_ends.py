"""Where a wire begins and ends, in the words of its subjects, when its ends may be in two flows.

A wire's subjects carry the flow of its *producer*. A consumer in another flow is written `<flow>/<node>`: no node id
has a slash, so it can never be mistaken for a node of the producer's flow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WireEnds:
    """The first four tokens after `wire.`; the last one is the in-port, or a replica's `<port>-<k>`."""

    flow: str
    producer: str
    port: str
    consumer: str
    in_port: str


def wire_ends(flow: str, wire: Mapping[str, Any]) -> WireEnds:
    """The ends of a wire (`WireSpec.asdict()`) that the document of `flow` lists."""
    consumer = wire["consumer"]
    if wire.get("to_flow"):
        consumer = f"{wire['to_flow']}/{consumer}"
    elif wire.get("from_flow"):
        consumer = f"{flow}/{consumer}"
    return WireEnds(wire.get("from_flow") or flow, wire["producer"], wire["port"], consumer, wire["in_port"])


def wire_id(wire: Mapping[str, Any]) -> str:
    """The same text as `WireSpec.id`."""
    producer = f"{wire['from_flow']}/{wire['producer']}" if wire.get("from_flow") else wire["producer"]
    consumer = f"{wire['to_flow']}/{wire['consumer']}" if wire.get("to_flow") else wire["consumer"]
    return f"{producer}.{wire['port']}>{consumer}.{wire['in_port']}"
