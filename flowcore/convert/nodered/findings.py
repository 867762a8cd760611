"""What an import tells: of which node, what is not as it was, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["not turned", "setting", "differs"]


@dataclass(frozen=True)
class Finding:
    """One thing to know.

    Attributes:
        kind: not turned: the node is a disabled placeholder; setting: one of its settings has no counterpart;
            differs: it works, in another way.
        flow, node: ids in the flow file; `node` is empty where the flow as a whole is meant.
        source, name, type: the node's id, name and type in Node-RED.
        why, instead: what is the matter; what to use or to do.
    """

    kind: Kind
    flow: str
    node: str
    source: str
    name: str
    type: str
    why: str
    instead: str = ""

    def asdict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return asdict(self)

    def __str__(self) -> str:
        place = f"{self.flow}.{self.node}" if self.node else self.flow or "the export"
        named = f"'{self.name}' " if self.name else ""
        what = f"{place} ({named}{self.type} {self.source}): {self.why}"
        return f"{what}; {self.instead}" if self.instead else what


class CannotTurn(Exception):
    """A node, or a part of it, has no counterpart: the whole node becomes a placeholder."""

    def __init__(self, why: str, instead: str = "") -> None:
        super().__init__(why)
        self.why, self.instead = why, instead
