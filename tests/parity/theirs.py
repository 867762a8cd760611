"""Cases through Node-RED 5 itself: installed by npm into a folder that git ignores, all cases in one process."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.install import Installed
from tests.parity.cases import HERE, Case
from tests.parity.export import own_export, own_id
from tests.parity.outcome import Outcome

_TIMEOUT_S = 300


def run(cases: Sequence[Case], installed: Installed) -> tuple[str, dict[str, Outcome]]:
    """Node-RED's version, and what came out of each case by its id.

    Raises:
        RuntimeError: Node-RED did not get to the end; says what it printed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cases.json").write_text(json.dumps([_prepared(case) for case in cases]))
        (folder / "flows.json").write_text("[]")
        package = installed.program.parent.resolve()
        command = [installed.interpreter.resolve(), HERE / "node_red" / "run.js", package]
        ran = subprocess.run(
            [*map(str, command), str(folder / "cases.json"), str(folder / "recorded.json")],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
        if ran.returncode:
            raise RuntimeError(f"Node-RED ended with {ran.returncode}: {ran.stdout}{ran.stderr}")
        done = json.loads((folder / "recorded.json").read_text())
    return done["version"], done["recorded"]


def _prepared(case: Case) -> dict[str, Any]:
    """The case with something that records at each of its ends, and a catch node for what fails."""

    def end(port: int) -> dict[str, Any]:
        return {"type": "parity-sink", "case": case.id, "port": port}

    place = {"z": own_id(case, "tab"), "x": 0, "y": 0}
    catch = {"id": own_id(case, "catch"), "type": "catch", "scope": None, "wires": [[own_id(case, "errors")]], **place}
    errors = {"id": own_id(case, "errors"), "type": "parity-sink", "case": case.id, "port": "error", **place}
    into = own_id(case, case.into)
    return {
        "id": case.id,
        "anchor": into,
        "flow": [*own_export(case, end), catch, errors],
        "context": case.context,
        "send": [one if "wait_ms" in one else {"into": into, "msg": one} for one in case.send],
        "between_ms": case.between_ms,
        "after_ms": case.after_ms,
    }
