"""The cases: a Node-RED node, or a small flow, and the messages that go in. What comes out Node-RED itself says.

`cases/<node>.json`:

    {"node": "switch",
     "base": {"type": "switch", ...},               the node as Node-RED's editor exports it
     "cases": [
        {"name": "numbers and texts that hold one",
         "set": {"rules": [...], "outputs": 2},      what this case changes in it
         "send": [{"payload": 5}, {"wait_ms": 40}, {"payload": "7"}],
         "between_ms": 0,                            between two messages; 3 when not said
         "after_ms": 100,                            how long is listened after the last; 60 when not said
         "context": {"flow": {"k": 1}, "global": {}}, "env": [{"name": "LIMIT", "type": "num", "value": "3"}],
         "differs": "why ours gives something else"}]}

Bytes are `{"$bytes": "hex"}`. A case of several nodes has `flow` (a Node-RED export without its tab) in place of
`set`, and `into`, the id that gets the messages; a wire to "out" (or "out2", ...) ends at what is recorded.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_BETWEEN_MS, _AFTER_MS = 3, 60


@dataclass(frozen=True)
class Case:
    """One sequence of messages through one flow."""

    node: str  # the file it stands in
    name: str
    flow: list[dict[str, Any]]  # a Node-RED export: a tab, and the nodes on it; no sinks
    into: str  # id of the node that gets the messages
    send: list[dict[str, Any]]
    between_ms: int
    after_ms: int
    context: dict[str, dict[str, Any]] = field(default_factory=dict)
    differs: str = ""

    @property
    def id(self) -> str:
        """Unique among all cases, and a Node-RED tab id."""
        return hashlib.sha256(f"{self.node}/{self.name}".encode()).hexdigest()[:12]

    @property
    def is_single(self) -> bool:
        """Whether there is nothing but the node itself."""
        return len(self.flow) == 2

    @property
    def can_share(self) -> bool:
        """Whether it can run beside others, on a busy machine: no context, no environment, no waits that must fit."""
        return not self.context and not self.flow[0]["env"] and not any("wait_ms" in step for step in self.send)

    @property
    def fingerprint(self) -> str:
        """Says whether a recording is of this very case."""
        said = json.dumps(
            [self.flow, self.into, self.send, self.between_ms, self.after_ms, self.context], sort_keys=True
        )
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{self.node}: {self.name}"


def read(folder: Path = HERE / "cases") -> list[Case]:
    """All cases, file by file."""
    return [case for path in sorted(folder.glob("*.json")) for case in _of(json.loads(path.read_text()))]


def _of(file: dict[str, Any]) -> Iterator[Case]:
    for one in file["cases"]:
        unknown = set(one) - {
            "name",
            "set",
            "flow",
            "into",
            "send",
            "between_ms",
            "after_ms",
            "context",
            "env",
            "differs",
        }
        assert not unknown, f"{file['node']}: {one['name']}: {unknown}"
        tab = {
            "id": "tab",
            "type": "tab",
            "label": one["name"],
            "disabled": False,
            "info": "",
            "env": one.get("env", []),
        }
        nodes = one.get("flow") or [{"id": "node", **file["base"], **one.get("set", {})}]
        placed = [{"z": "tab", "x": 100 + 160 * at, "y": 100, "wires": [], **node} for at, node in enumerate(nodes)]
        yield Case(
            file["node"],
            one["name"],
            [tab, *placed],
            one.get("into", "node"),
            one["send"],
            one.get("between_ms", _BETWEEN_MS),
            one.get("after_ms", _AFTER_MS),
            one.get("context", {}),
            one.get("differs", ""),
        )
