"""A flow ready to run: every node with its final config, every wire from a real port to a real port.

What `resolve` makes and the runtime works from. Plain data that goes through msgpack and JSON.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class NodeSpec:
    """A node that gets a process.

    `id` is `<instance>:<node>` inside a subflow. `config` has its env values and resources filled in; what the runtime
    fills in later is still a reference: `{"$message": ..}`, `{"$flow": ..}`, `{"$global": ..}`, `{"$secret": ..}` and
    `{"$env": ..}` of the host's own environment. `settings` is complete: each setting is there with its default.
    """

    id: str
    type: str
    config: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    pointer: str = ""
    name: str = ""

    def asdict(self) -> dict[str, Any]:
        """This node as a plain map, for the bus and for files."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NodeSpec:
        """The node that `asdict` wrote."""
        return cls(**values)


@dataclass(frozen=True)
class WireSpec:
    """A wire between two processes.

    `feedback`: it closes a cycle and never blocks. `share` and `replicas` are the consumer's, `producer_replicas` is
    how many processes feed it. `from_flow` and `to_flow` are empty for a wire inside one flow; a link to another flow
    names there the flow of the end that is elsewhere. `encode` is complete: `{"kind": "jpeg", "quality": 90}` or
    `{"kind": "zstd", "level": 1}`. `answers`: it takes only what answers a call of its consumer.
    """

    producer: str
    port: str
    consumer: str
    in_port: str
    delivery: str = "reliable"
    window: int = 1024
    window_bytes: int = 4_194_304
    keep: int = 1
    feedback: bool = False
    answers: bool = False
    bound: int = 1024
    when_failed: str = "block"
    share: str = "any"
    replicas: int = 1
    producer_replicas: int = 1
    durable: dict[str, Any] | None = None
    encode: dict[str, Any] | None = None
    from_flow: str = ""
    to_flow: str = ""

    @property
    def id(self) -> str:
        """`producer.port>consumer.in_port`, an end in another flow written `<flow>/<node>`."""
        producer = f"{self.from_flow}/{self.producer}" if self.from_flow else self.producer
        consumer = f"{self.to_flow}/{self.consumer}" if self.to_flow else self.consumer
        return f"{producer}.{self.port}>{consumer}.{self.in_port}"

    def asdict(self) -> dict[str, Any]:
        """This wire as a plain map, for the bus and for files."""
        return {name: getattr(self, name) for name in _WIRE_FIELDS}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> WireSpec:
        """The wire that `asdict` wrote; keys it does not know are left out."""
        return cls(**{name: value for name, value in values.items() if name in _WIRE_FIELDS})


_WIRE_FIELDS = tuple(one.name for one in fields(WireSpec))


@dataclass(frozen=True)
class ResolvedFlow:
    """A flow with its subflows expanded and its virtual nodes turned into direct wires.

    `notes` say what was decided on the way, for the person who deploys: which wire closes a cycle, what is off.
    """

    id: str
    name: str = ""
    nodes: dict[str, NodeSpec] = field(default_factory=dict)
    wires: tuple[WireSpec, ...] = ()
    notes: list[str] = field(default_factory=list)

    def wires_in(self, node: str) -> list[WireSpec]:
        """The wires that end at this node, in file order."""
        return [wire for wire in self.wires if wire.consumer == node and not wire.to_flow]

    def wires_out(self, node: str) -> list[WireSpec]:
        """The wires that begin at this node, in file order."""
        return [wire for wire in self.wires if wire.producer == node and not wire.from_flow]

    def asdict(self) -> dict[str, Any]:
        """This flow as plain maps and lists."""
        return {
            "id": self.id,
            "name": self.name,
            "nodes": [node.asdict() for node in self.nodes.values()],
            "wires": [wire.asdict() for wire in self.wires],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ResolvedFlow:
        """The flow that `asdict` wrote."""
        nodes = [NodeSpec.from_dict(node) for node in values["nodes"]]
        wires = tuple(WireSpec.from_dict(wire) for wire in values["wires"])
        return cls(values["id"], values["name"], {node.id: node for node in nodes}, wires, list(values["notes"]))
