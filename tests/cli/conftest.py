"""The command as users run it: a process, its exit status, what it prints."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

DEMO = {
    "flowcore": 1,
    "id": "demo",
    "name": "Demo",
    "nodes": [
        {"id": "band", "type": "core/deadband", "config": {"band": 1.0}},
        {"id": "show", "type": "core/debug"},
    ],
    "wires": [{"from": "band.changed", "to": "show.in"}],
}


@dataclass
class Ran:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def json(self):
        """Its last line of output, as JSON."""
        return json.loads(self.out.splitlines()[-1])


class Command:
    """`flowcore` in one folder, with the data folder there."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.data = folder / ".flowcore"
        self.env = {**os.environ, "FLOWCORE_DATA": str(self.data), "COLUMNS": "200"}
        self.started: list[asyncio.subprocess.Process] = []

    def line(self, *args):
        """The command line."""
        return [sys.executable, "-m", "flowcore.cli", *map(str, args)]

    async def __call__(self, *args, stdin=None, status=0, timeout=60):
        """Run it to its end; `status` is what it must end with (None: whatever)."""
        process = await asyncio.create_subprocess_exec(
            *self.line(*args),
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        async with asyncio.timeout(timeout):
            out, err = await process.communicate(stdin.encode() if stdin is not None else None)
        ran = Ran(process.returncode, out.decode(), err.decode())
        assert status is None or ran.status == status, f"{args} ended with {ran.status}\n{ran.out}\n{ran.err}"
        return ran

    async def start(self, *args):
        """Start it and go on; ended after the test."""
        process = await asyncio.create_subprocess_exec(
            *self.line(*args),
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    async def up(self, *args):
        """A runtime on free ports; returns when it says that it is up."""
        process = await self.start("up", "--nats-port", 0, "--mqtt-port", 0, *args)
        await said(process, "stop with" if "--json" not in args else '"up"')
        return process

    def write(self, document, name="demo.json"):
        """A flow file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1))
        return path


async def said(process, text, timeout=30):
    """Read a process's output up to a line that holds `text`; returns all lines read."""
    lines = []
    async with asyncio.timeout(timeout):
        while line := (await process.stdout.readline()).decode():
            lines.append(line.rstrip("\n"))
            if text in line:
                return lines
    raise AssertionError(f"it ended without {text!r}:\n" + "\n".join(lines))


@pytest.fixture
async def flowcore(tmp_path):
    """The command, in a folder of its own; what it started is ended."""
    command = Command(tmp_path)
    yield command
    run_file = command.data / "run.json"
    if run_file.exists():
        await command("down", status=None)
    for process in command.started:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
def demo():
    """A small document, to be changed freely."""
    return json.loads(json.dumps(DEMO))
