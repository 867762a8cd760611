"""Node types and port types as plain data: what the flow room knows of a node without importing it.

Ports carry one of the types in `PORT_TYPES`, a tensor such as `tensor[uint8, ?, ?, 3]`, or a pydantic model written
`model:<Name>`. `fits` says whether a wire may join two of them; validator, editor and docs all use this one table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PORT_TYPES: dict[str, str] = {
    "any": "whatever comes",
    "bool": "true or false",
    "number": "an int or a float",
    "text": "a string",
    "bytes": "raw bytes",
    "time": "a point in time",
    "list": "a list of anything",
    "map": "a map with text keys",
    "frame": "an image: uint8, (H, W) or (H, W, C)",
    "tensor": "an array of any dtype and shape",
}

# Beside itself and `any`, an output of the type on the left also fits an input of the types on the right.
ALSO_FITS: dict[str, frozenset[str]] = {
    "frame": frozenset({"tensor"}),
    "model": frozenset({"map"}),
}

HIDDEN_PORTS: dict[str, str] = {"error": "map", "status": "map", "complete": "any", "late": "any"}
"""Output ports that every processed node has beside its own. Catch, status and complete nodes are wired to the first
three; `late` takes what passed its deadline where the settings say `"deadline": {"late": "port"}`."""

VIRTUAL = frozenset({"comment", "junction", "link-in", "link-out", "catch", "status", "complete"})
"""What `NodeTypeInfo.virtual` may say: such a node is resolved into direct wires and has no process.

The config fields that resolving reads (all optional, named so in the node classes that ship):
    link-out   links: list of `<link-in id or name>` or `<flow>/<link-in id or name>`; mode: "return" answers a call
    link-in    name: what link-outs may use beside its id; without it the name of the node
    catch      scope: "all" | "group" | list of node ids; uncaught: bool, only what no other catch takes
    status, complete    scope, as for catch
Of a `caller`, which has a process: links, mode, targets (see `calls`); of one that follows, see `followed`.
"""


@dataclass(frozen=True)
class PortInfo:
    """A named port and the type of what goes through it."""

    name: str
    type: str = "any"
    description: str = ""


@dataclass(frozen=True)
class NodeTypeInfo:
    """A node type as data: what the palette, the validator and the reconciler need to know of it.

    `version` is its package's, `config_version` that of its config: the node class's own `version`.
    `missing` is the `pip install` line that brings what the type lacks, None when it can run. `refused` says why this
    runtime does not run it though it could. `outputs_from` and `inputs_from` name a config field that gives further
    ports, see `output_ports`. `outside`: it reaches beyond the flow. `follows`: a config
    field that a deploy fills in, see `followed`. `best_effort`: what fails here holds up nobody, see `resolve`.
    """

    type: str
    title: str = ""
    category: str = ""
    icon: str = ""
    doc: str = ""
    inputs: tuple[PortInfo, ...] = ()
    outputs: tuple[PortInfo, ...] = ()
    config_schema: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    missing: str | None = None
    is_source: bool = False
    stateful: bool = False
    context: bool = False
    script: bool = False
    runs_commands: bool = False
    refused: str = ""
    live_config: bool = False
    virtual: str | None = None
    caller: bool = False
    speaks_for_instance: bool = False
    follows: str = ""
    best_effort: bool = False
    outputs_from: str | None = None
    inputs_from: str | None = None
    bus_publish: tuple[str, ...] = ()
    bus_subscribe: tuple[str, ...] = ()
    outside: bool = False
    module: str = ""
    qualname: str = ""
    distribution: str = ""
    version: str = ""
    config_version: int = 1

    def as_data(self) -> dict[str, Any]:
        """Its fields, the ports as maps too. The schema is the very one: `asdict` takes 0.3 ms to copy it."""
        ports = {key: [dict(vars(port)) for port in getattr(self, key)] for key in ("inputs", "outputs")}
        return vars(self) | ports

    @property
    def can_run(self) -> bool:
        """It lacks nothing, and this runtime runs it."""
        return self.missing is None and not self.refused

    def output_ports(self, config: Mapping[str, Any]) -> tuple[PortInfo, ...]:
        """The output ports of a node with this config: the fixed ones, then those that `outputs_from` gives.

        The field may hold a number n (`out1` .. `out<n>`), a list of names, or any other list (`out1` .. by length).
        """
        return self.outputs + self._ports_from(self.outputs_from, config, "out", self.outputs)

    def input_ports(self, config: Mapping[str, Any]) -> tuple[PortInfo, ...]:
        """The input ports of a node with this config: the fixed ones, then those of `inputs_from` (`in1` ..)."""
        return self.inputs + self._ports_from(self.inputs_from, config, "in", self.inputs)

    def _ports_from(
        self, field_name: str | None, config: Mapping[str, Any], stem: str, fixed: tuple[PortInfo, ...]
    ) -> tuple[PortInfo, ...]:
        if field_name is None:
            return ()
        default = self.config_schema.get("properties", {}).get(field_name, {}).get("default")
        value = config.get(field_name, default)
        if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
            names = value
        elif isinstance(value, list):
            names = [f"{stem}{number}" for number in range(1, len(value) + 1)]
        elif isinstance(value, int) and not isinstance(value, bool):
            names = [f"{stem}{number}" for number in range(1, value + 1)]
        else:
            names = []
        taken = {port.name for port in fixed}
        return tuple(PortInfo(name) for name in names if name not in taken)


def fits(out_type: str, in_type: str) -> bool:
    """Whether what an output of `out_type` sends may go into an input of `in_type`.

    `any` fits everything, a type fits itself, a model fits `map`, a frame fits a tensor of uint8 with two or three
    dimensions and the other way round, a tensor fits one that asks for no more than it promises.
    """
    if "any" in (out_type, in_type) or out_type == in_type:
        return True
    out_base, out_dims = _parts(out_type)
    in_base, in_dims = _parts(in_type)
    if out_base == "model" and in_base == "model":
        return False  # two models fit only by name, and the names differ
    if {out_base, in_base} <= {"frame", "tensor"}:
        return _tensor_fits(out_dims, in_dims)
    return in_base in ALSO_FITS.get(out_base, frozenset())


def may_hold_frame(name: str) -> bool:
    """Whether a frame may come through a port of this type: as the value itself, or somewhere in a map or a list."""
    return name in ("any", "list", "map") or name.startswith("model:") or fits("frame", name)


def is_port_type(name: str) -> bool:
    """Whether `name` is a type a port may have."""
    base, _ = _parts(name)
    return base in PORT_TYPES or (base == "model" and len(name) > len("model:"))


def _parts(name: str) -> tuple[str, list[str]]:
    """The base of a port type, and for tensors its dtype and dimensions (`?`: any; empty: nothing is promised)."""
    if name.startswith("model:"):
        return "model", []
    if name == "frame":
        return "frame", ["uint8", "..."]
    base, _, rest = name.partition("[")
    return base, [part.strip() for part in rest.rstrip("]").split(",")] if rest else []


def _tensor_fits(out_dims: list[str], in_dims: list[str]) -> bool:
    """Whether a tensor of the first dtype and shape may go where the second is asked for; `...`: any more."""
    if not in_dims or not out_dims:
        return True
    if in_dims[0] not in ("?", "any") and out_dims[0] not in ("?", "any", in_dims[0]):
        return False
    out_shape, in_shape = out_dims[1:], in_dims[1:]
    if not out_shape or not in_shape or "..." in out_shape + in_shape:
        return True
    if len(out_shape) != len(in_shape):
        return False
    return all("?" in pair or pair[0] == pair[1] for pair in zip(out_shape, in_shape, strict=True))
