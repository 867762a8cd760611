"""dora-rs: a process a node in Python, started by `dora run` (a daemon in the command, no coordinator)."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.control import Control
from benchmarks.peers.family import Family
from benchmarks.peers.install import Installed
from benchmarks.peers.rig import ProgramsRig, Work

_PROGRAM = Path(__file__).with_name("programs") / "dora_node.py"
_QUEUE = 1000  # docs/performance.md of dora: "For high-throughput outputs, increase it", with this number
_FRAME_QUEUE = 10  # its default; a longer one fills the shared memory with frames that wait
_POOL = "256MB"  # the default of 8 MB holds one frame of 6.2 MB
IN_PLACE, COPIED = "in place", "copied"


class Dora:
    """The contestant."""

    def __init__(self, installed: Installed, frames: str = IN_PLACE) -> None:
        self._installed, self._frames = installed, frames
        self.versions: Mapping[str, str] = installed.versions
        self.name = "dora" if frames == IN_PLACE else "dora, as in its examples"
        self.settings = "the same, but frames by send_output of an Arrow array, and shared memory of the default 8 MB"
        if frames == IN_PLACE:
            self.settings = (
                f"`dora run`; Arrow structs passed on as they came; queue_size {_QUEUE:,}, as its page on performance "
                "advises, and queue_policy backpressure, which drops only past ten times that; frames: written in "
                f"place (send_output_raw), queue_size {_FRAME_QUEUE} and drop_oldest, the defaults, "
                f"shared_memory_pool_size {_POOL}"
            )

    @contextlib.asynccontextmanager
    async def rig(self, work: Work, folder: Path) -> AsyncIterator[ProgramsRig]:
        """A dataflow that runs."""
        async with Family(folder) as family, Control(folder) as control:
            path, dataflow = folder / "dataflow.yml", _dataflow(work, self._environ(work, control))
            path.write_text(json.dumps(dataflow, indent=1))  # YAML is a superset of JSON
            environ = {"PATH": f"{self._installed.interpreter.parent}:/usr/bin:/bin", "DORA_ZENOH_MULTICAST": "off"}
            await family.start([self._installed.program, "run", path, "--log-level", "warn"], environ)
            await control.until_joined(*(node["id"] for node in dataflow["nodes"]))
            yield ProgramsRig(control, family)

    def _environ(self, work: Work, control: Control) -> dict[str, str]:
        frames = {"PEERS_FRAMES": self._frames} if work.is_frames else {}
        return {**control.environ, **frames, "RUST_LOG": "error", "DORA_ZENOH_MULTICAST": "off"}


def _dataflow(work: Work, environ: Mapping[str, str]) -> dict[str, Any]:
    names = ["source", *(f"pass{hop}" for hop in range(1, work.hops)), "sink"]
    nodes = [_node(name, environ) for name in names]
    if environ.get("PEERS_FRAMES") == IN_PLACE:
        nodes[0]["shared_memory_pool_size"] = _POOL
    queue: dict[str, Any] = {"queue_size": _QUEUE, "queue_policy": "backpressure"}
    if work.is_frames:
        queue = {"queue_size": _FRAME_QUEUE}
    for before, node in zip(names, nodes[1:], strict=False):
        node["inputs"] = {"in": {"source": f"{before}/out", **queue}}
    if work.has_busy:
        nodes.append(_node("busy", environ))
    return {"nodes": nodes}


def _node(name: str, environ: Mapping[str, str]) -> dict[str, Any]:
    role = name.rstrip("0123456789")
    node: dict[str, Any] = {
        "id": name,
        "path": str(_PROGRAM),
        "env": {**environ, "PEERS_ROLE": role, "PEERS_NAME": name},
    }
    if role in ("source", "pass"):
        node["outputs"] = ["out"]
    return node
