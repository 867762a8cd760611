"""The ends of a wire as one process of a node has them: its subjects name which replica speaks with which."""

from flowcore.bus.subjects import port_token
from flowcore.bus.wire_ends import wire_ends
from flowcore.flow.resolved import WireSpec
from flowcore.wires.out_wire import WireEnds


def ends_of(spec: WireSpec, flow: str, producer_replica: int | None, consumer_replica: int | None) -> WireEnds:
    """The wire in the words of its subjects.

    Args:
        flow: whose document lists the wire.
        producer_replica, consumer_replica: their numbers; None: all replicas of that end, or it has none.
    """
    ends = wire_ends(flow, spec.asdict())
    port, in_port = port_token(ends.port, producer_replica), port_token(ends.in_port, consumer_replica)
    return WireEnds(ends.flow, ends.producer, port, ends.consumer, in_port)
