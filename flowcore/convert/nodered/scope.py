"""What a node may ask about what is around it: the export, the ids there, the resources of its flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowcore.convert.nodered.export import Export, Raw, Scope
from flowcore.convert.nodered.findings import Finding, Kind
from flowcore.convert.nodered.names import Names

if TYPE_CHECKING:
    from flowcore.convert.nodered.node import Given


@dataclass
class Placed:
    """The ids of one scope: of a tab or of a subflow."""

    scope: Scope
    flow: str  # id of the flow; of a subflow its name
    nodes: dict[str, str] = field(default_factory=dict)  # Node-RED's id -> ours
    groups: dict[str, str] = field(default_factory=dict)
    names: Names = field(default_factory=Names)


class Around:
    """Around the nodes of one scope."""

    def __init__(
        self,
        export: Export,
        placed: Placed,
        everywhere: dict[str, Placed],  # Node-RED's id of a scope -> its ids
        resource: Callable[[Raw], str],
        findings: list[Finding],
        kept: set[str],  # config nodes of which something stays; grows
    ) -> None:
        self._kept = kept
        self.export, self.placed, self.everywhere = export, placed, everywhere
        self.resource, self._findings = resource, findings

    @property
    def flow(self) -> str:
        """Id of the flow."""
        return self.placed.flow

    def id_of(self, source: str) -> str | None:
        """Our id of a node in this scope."""
        return self.placed.nodes.get(source)

    def config_node(self, source: Any) -> Raw | None:
        """A config node, such as a broker."""
        self._kept.add(str(source))
        return self.export.configs.get(str(source))

    def reach(self, source: str) -> str | None:
        """A node wherever it is: its id, with its flow in front when that is another one."""
        if source in self.placed.nodes:
            return self.placed.nodes[source]
        for other in self.everywhere.values():
            if source in other.nodes and other.scope.definition["type"] == "tab":
                return f"{other.flow}/{other.nodes[source]}"
        return None

    def tell(self, kind: Kind, given: Given, why: str, instead: str = "") -> None:
        """Note a finding."""
        node = self.placed.nodes.get(given.id, "")
        self._findings.append(Finding(kind, self.flow, node, given.id, given.name, given.type, why, instead))
