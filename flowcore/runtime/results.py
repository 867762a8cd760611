"""What the host tells those who ask: outcomes of deploys, the state of every node, and why something was refused.

Plain data without behaviour, so that control services, commands and the gateway share the words.

    HostError
    ├── HostLocked      another process has the data folder
    ├── NewerFolder     a newer flowcore has written it
    ├── DeployRefused   the document has errors; what ran goes on
    ├── StaleRevision   the deploy was based on a revision that is no longer the newest
    ├── UnknownFlow     no such flow here
    ├── UnknownRevision the flow has no such revision, or it is no longer kept
    └── UnknownNode     the flow has no such node, or it has no process now
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowcore import __version__

if TYPE_CHECKING:
    from flowcore.flow.validate import Problem


class HostError(Exception):
    """Something that was asked of the host cannot be done; the text says why and what to do."""


class HostLocked(HostError):
    """Another host has the data folder: `pid`."""

    def __init__(self, folder: str, pid: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(f"{folder} is in use by {who}; stop it with `flowcore down`, or choose another --data folder")
        self.folder, self.pid = folder, pid


class NewerFolder(HostError):
    """A newer flowcore has written the data folder."""

    def __init__(self, folder: str, format_: int, known: int, writer: str) -> None:
        by = f", written by flowcore {writer}" if writer else ""
        knows = f"this flowcore {__version__} knows format {known}"
        do = "`pip install -U flowcore`, or choose another --data folder"
        super().__init__(f"the data folder {folder} is of format {format_}{by}, and {knows}; {do}")
        self.folder, self.format, self.known = folder, format_, known


class DeployRefused(HostError):
    """The document has errors, all of them in `problems`."""

    def __init__(self, flow: str, problems: list[Problem]) -> None:
        errors = [p for p in problems if p.severity == "error"]
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        super().__init__("\n".join([*map(str, problems), f"{count}. Nothing was deployed."]))
        self.flow, self.problems = flow, problems


class StaleRevision(HostError):
    """`based_on` is not the newest revision of the flow, `current` is."""

    def __init__(self, flow: str, based_on: int, current: int) -> None:
        super().__init__(
            f"flow {flow!r} is at revision {current}, this deploy was based on {based_on}; nothing was changed"
        )
        self.flow, self.based_on, self.current = flow, based_on, current


class UnknownFlow(HostError):
    """No flow of that id was deployed here."""

    def __init__(self, flow: str, known: list[str]) -> None:
        super().__init__(f"no flow {flow!r} here" + (f" (there is: {', '.join(sorted(known))})" if known else ""))
        self.flow = flow


class UnknownRevision(HostError):
    """The flow has no such revision, or it is no longer kept."""

    def __init__(self, flow: str, revision: int, kept: list[int]) -> None:
        super().__init__(f"flow {flow!r} has no revision {revision} (it has: {', '.join(map(str, kept))})")
        self.flow, self.revision = flow, revision


class UnknownNode(HostError):
    """The flow has no node of that id with a process."""

    def __init__(self, flow: str, node: str, known: list[str], is_disabled: bool = False) -> None:
        why = f"it runs: {', '.join(sorted(known)) or 'none'}"
        if is_disabled:
            why = f"it is disabled; flowcore start {flow}.{node}"
        super().__init__(f"flow {flow!r} runs no node {node!r} ({why})")
        self.flow, self.node = flow, node


@dataclass(frozen=True)
class DeployResult:
    """What a deploy changed.

    A node id is in exactly one of the lists. `failed` holds what did not come up: node id -> why; a replaced node in
    `failed` still runs its old process. `starting` holds what is slow to start: node id -> seconds so far; it goes by
    itself when it is ready, and a replaced one runs its old process until then. `problems` is not empty when the stored
    document could not be applied, or only in part; `retry`: the host tries again by itself (the bus or its storage was
    away).
    """

    flow: str
    revision: int
    kept: tuple[str, ...] = ()
    reconfigured: tuple[str, ...] = ()
    rewired: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    started: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()  # to another host
    wires_added: int = 0
    wires_closed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    starting: dict[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    took_s: float = 0.0
    retry: bool = False


@dataclass(frozen=True)
class NodeStatus:
    """One node process now.

    `state`: starting, running, paused, bypassed, replacing, restarting (waits for its backoff), failed, stopping,
    stopped, away (its host is not connected). `ready_ms` is what its start took, from fork to connected and subscribed,
    `cpu` the share of one core since the last look, `stats` the newest `.stats` of the process (may be empty).
    """

    flow: str
    node: str
    process: str
    type: str
    state: str
    host: str = ""  # "" for the main host
    pid: int | None = None
    inc: int = 0
    restarts: int = 0
    reason: str = ""
    badge: str = ""
    badge_kind: str = ""
    since_ns: int = 0
    ready_ms: float = 0.0
    cpu: float = 0.0
    rss_bytes: int = 0
    handled: int = 0
    stats: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FlowStatus:
    """One flow now: `wanted` is what `desired` says, `nodes` its processes in the order of the document."""

    flow: str
    name: str
    revision: int
    wanted: str
    nodes: tuple[NodeStatus, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostStatus:
    """Another host: how many nodes are placed on it, and what it says of itself (empty when it never came)."""

    name: str
    connected: bool
    nodes: int
    machine: str = ""
    version: str = ""
    pid: int = 0
    since_ns: int = 0


@dataclass(frozen=True)
class Undrained:
    """What a wire still owed when the host stopped; it is handed over to the next start where that is possible."""

    flow: str
    wire: str
    unacked: int
