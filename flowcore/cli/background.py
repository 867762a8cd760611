"""A runtime that runs on after the command that started it."""

import subprocess
import sys
import time
from pathlib import Path

from flowcore.cli.out import Failed

_READY_S = 30.0


def ensure(data: Path) -> str | None:
    """Start `flowcore up` on `data` unless a runtime runs there; returns how to stop what was started.

    Raises:
        Failed: it does not come up; holds what it said.
    """
    from flowcore.client.address import NotRunning, read_run_file

    try:
        read_run_file(data)
        return None
    except NotRunning:
        pass
    said = data / "logs" / "up.out"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    said.parent.mkdir(exist_ok=True)
    with said.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "flowcore.cli", "up", "--data", str(data)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        if process.poll() is not None:
            last = [line for line in said.read_text(errors="replace").splitlines() if line.strip()][-1:]
            raise Failed(f"the runtime ended at once: {''.join(last) or 'it said nothing'}", f"See: {said}")
        try:
            if read_run_file(data).get("pid") == process.pid:
                _answers(data)
                return f"flowcore down --data {data}"
        except NotRunning:
            pass
        time.sleep(0.05)
    raise Failed(f"the runtime (process {process.pid}) is not ready after {_READY_S:.0f} s", f"See: {said}")


def _answers(data: Path) -> None:
    """Wait until the control services answer: `run.json` is there a moment earlier."""
    from flowcore.cli import link

    for attempt in range(20):
        try:
            link.ask(data, "flows", timeout=5)
            return
        except Failed as e:
            if attempt == 19 or e.details.get("code") not in ("no_answer", "not_running"):
                raise
            time.sleep(0.1)
