"""Node-RED: one process for all nodes; between a source and a sink of ours stand its own nodes.

Nothing holds a source back there: one that sends more a turn of the event loop than the flow handles fills the memory,
so each kind of stage has the number of messages a turn that gave the highest rate.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.control import Control
from benchmarks.peers.family import Family
from benchmarks.peers.install import Installed
from benchmarks.peers.rig import ProgramsRig, Work

_NODES = Path(__file__).with_name("programs") / "node_red"
_SETTINGS = """\
module.exports = {
    uiHost: "127.0.0.1",
    uiPort: 0,
    httpAdminRoot: false,
    httpNodeRoot: false,
    flowFile: "flows.json",
    nodesDir: %s,
    telemetry: { enabled: false, updateNotification: false },
    logging: { console: { level: "warn", metrics: false, audit: false } },
};
"""
_BATCH = {"function": 4, "change": 16, "switch": 1}  # messages a turn of the event loop: the best of 1, 4, 16, 64
_STAGES: Mapping[str, dict[str, Any]] = {
    "function": {"type": "function", "func": "return msg;", "outputs": 1, "timeout": 0, "libs": []},
    "change": {
        "type": "change",
        "rules": [{"t": "set", "p": "topic", "pt": "msg", "to": "press", "tot": "str"}],
    },
    "switch": {
        "type": "switch",
        "property": "payload.n",
        "propertyType": "msg",
        "rules": [{"t": "gte", "v": "0", "vt": "num"}],
        "checkall": "true",
        "repair": False,
        "outputs": 1,
    },
}
_SPIN = "const ends = Date.now() + msg.payload * 1000; while (Date.now() < ends) {} return null;"


class NodeRed:
    """The contestant, with one of its own nodes as stages: function, change or switch."""

    def __init__(self, installed: Installed, stage: str = "") -> None:
        self._installed, self._stage, self._batch = installed, stage, _BATCH.get(stage, 1)
        self.name = f"Node-RED, {stage} nodes" if stage else "Node-RED, within its one process"
        self.versions: Mapping[str, str] = installed.versions
        self.settings = (
            f"all nodes in one process; source sends {self._batch} a turn of the event loop (the best of 1, 4, 16, "
            "64); no editor open, no HTTP, log level warn"
        )

    @contextlib.asynccontextmanager
    async def rig(self, work: Work, folder: Path) -> AsyncIterator[ProgramsRig]:
        """A Node-RED with a user folder of its own."""
        (folder / "settings.js").write_text(_SETTINGS % json.dumps(str(_NODES)))
        (folder / "flows.json").write_text(json.dumps(_flow(work, self._stage)))
        async with Family(folder) as family, Control(folder) as control:
            environ = {**control.environ, "PEERS_BATCH": str(self._batch), "NODE_ENV": "production"}
            arguments: list[str | Path] = ["--userDir", folder, "--settings", folder / "settings.js"]
            await family.start([self._installed.interpreter, self._installed.program, *arguments], environ)
            await control.until_joined("source", "sink", *(["busy"] if work.has_busy else []))
            yield ProgramsRig(control, family)


def _flow(work: Work, stage: str) -> list[dict[str, Any]]:
    stages = [f"stage{hop}" for hop in range(1, work.hops)]
    names = ["source", *stages, "sink"]
    nodes: list[dict[str, Any]] = [{"id": "tab", "type": "tab", "label": "peers"}]
    for name, after in zip(names, [*names[1:], None], strict=True):
        kind = _STAGES[stage] if name in stages else {"type": f"peers-{name}"}
        nodes.append({**kind, "id": name, "z": "tab", "x": 0, "y": 0, "wires": [[after]] if after else []})
    if work.has_busy:
        place = {"z": "tab", "x": 0, "y": 0}
        nodes.append({"type": "peers-trigger", "id": "trigger", "wires": [["busy"]], **place})
        nodes.append({**_STAGES["function"], "func": _SPIN, "id": "busy", "wires": [[]], **place})
    return nodes
