"""What changes between two revisions of a flow, node by node: the smallest change from the old to the new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowcore.flow.resolved import ResolvedFlow, WireSpec
from flowcore.flow.types import NodeTypeInfo


@dataclass(frozen=True)
class Plan:
    """What a deploy does. A node is in one list only, but that a reconfigured one may be rewired too.

    kept: nothing changes for its process. reconfigured: a new config, taken without a restart. rewired: other wires,
    the same process. restarted: replaced by a new process. A wire with other settings is closed and added.
    """

    kept: list[str] = field(default_factory=list)
    reconfigured: list[str] = field(default_factory=list)
    rewired: list[str] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    wires_added: list[WireSpec] = field(default_factory=list)
    wires_closed: list[WireSpec] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether nothing changes at all."""
        changes = (self.reconfigured, self.rewired, self.restarted, self.started, self.stopped)
        return not any(changes) and not self.wires_added and not self.wires_closed

    def asdict(self) -> dict[str, Any]:
        """This plan as plain lists; wires by their id."""
        nodes = ("kept", "reconfigured", "rewired", "restarted", "started", "stopped")
        return {name: list(getattr(self, name)) for name in nodes} | {
            "wires_added": [wire.id for wire in self.wires_added],
            "wires_closed": [wire.id for wire in self.wires_closed],
        }

    def summary(self) -> str:
        """`1 restarted (hot), 1 rewired (mean), 47 kept`."""
        told = []
        for name in ("started", "stopped", "restarted", "reconfigured", "rewired"):
            nodes = getattr(self, name)
            if nodes:
                shown = ", ".join(nodes[:5]) + (" ..." if len(nodes) > 5 else "")
                told.append(f"{len(nodes)} {name} ({shown})")
        return ", ".join([*told, f"{len(self.kept)} kept"])


def plan(old: ResolvedFlow | None, new: ResolvedFlow, types: Mapping[str, NodeTypeInfo]) -> Plan:
    """The steps from `old` (None: nothing runs) to `new`.

    A config that changes is handed to a running node only where its type has `live_config`; else the node is
    restarted, as it is for other settings or another type. Name, place on the canvas and notes change nothing.
    """
    before = {wire.id: wire for wire in old.wires} if old else {}
    after = {wire.id: wire for wire in new.wires}
    added = [wire for id_, wire in after.items() if before.get(id_) != wire]
    closed = [wire for id_, wire in before.items() if after.get(id_) != wire]
    ends = {end for wire in (*added, *closed) for end in _own_ends(wire)}
    result = Plan(wires_added=added, wires_closed=closed)
    for id_, node in new.nodes.items():
        was = old.nodes.get(id_) if old else None
        if was is None:
            result.started.append(id_)
        elif (was.type, was.settings) != (node.type, node.settings):
            result.restarted.append(id_)
        elif was.config != node.config:
            info = types.get(node.type)
            if info is None or not info.live_config:
                result.restarted.append(id_)
                continue
            result.reconfigured.append(id_)
            if id_ in ends:
                result.rewired.append(id_)
        elif id_ in ends:
            result.rewired.append(id_)
        else:
            result.kept.append(id_)
    result.stopped.extend(id_ for id_ in (old.nodes if old else ()) if id_ not in new.nodes)
    return result


def _own_ends(wire: WireSpec) -> list[str]:
    """The ends of a wire that are nodes of this flow."""
    producer = [] if wire.from_flow else [wire.producer]
    return producer if wire.to_flow else [*producer, wire.consumer]
