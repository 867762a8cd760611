"""What one process of a node shall be: `plans` draws it up, `supervise` keeps a process that is it.

Plain data. Secrets and names of the environment stand in it as references: they are filled in for each start, and a
plan may be logged and compared.

Invariant: a plan never changes; other wires, another config or another mode are another plan.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from flowcore.bus.wire_ends import wire_id


@dataclass(frozen=True)
class ProcessPlan:
    """`process` is `<node>`, or `<node>#<k>` for replica k.

    `wires_in` and `wires_out` are maps as `WireSpec.asdict` gives them; `mode`: run, paused or bypassed. `code` stands
    for the source of the node type.
    """

    flow: str
    node: str
    process: str
    type: str
    module: str
    qualname: str
    needs: tuple[str, ...] = ()
    replica: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    wires_in: tuple[dict[str, Any], ...] = ()
    wires_out: tuple[dict[str, Any], ...] = ()
    streams: dict[str, dict[str, str]] = field(default_factory=dict)
    mode: str = "run"
    is_source: bool = False
    live_config: bool = False
    context: bool = False
    script: bool = False
    code: str = ""
    bus_publish: tuple[str, ...] = ()
    bus_subscribe: tuple[str, ...] = ()
    mqtt: dict[str, list[str]] | None = None  # topics to "subscribe" and "publish" on the embedded broker

    @property
    def wires(self) -> dict[str, Any]:
        """The fields that can be changed by a rewire, by name."""
        return {"wires_in": self.wires_in, "wires_out": self.wires_out, "streams": self.streams}

    def with_wires_of(self, other: "ProcessPlan") -> "ProcessPlan":
        """This plan with the wires of another."""
        return replace(self, **other.wires)

    @property
    def input_wires(self) -> list[str]:
        """The ids of its input wires, as the runner writes them in the page."""
        return [wire_id(wire) for wire in self.wires_in]

    @property
    def restart_settings(self) -> dict[str, Any]:
        """What `Intensity` goes by; empty for its defaults."""
        return self.settings.get("restart") or {}

    @property
    def drain_s(self) -> float:
        """How long the process may take to finish what it has begun."""
        return float(self.settings.get("drain_timeout_s", 5))

    @property
    def run_state(self) -> str:
        """The state of a process that goes: running, paused or bypassed."""
        return "running" if self.mode == "run" else self.mode
