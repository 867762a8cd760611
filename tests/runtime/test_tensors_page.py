"""The programs in docs/tensors-outside.md run as they stand, against a real flow."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
from frame_flow import NODES, flow

from flowcore.bus.access import AccessStore
from flowcore.runtime.host import Host
from flowcore.runtime.options import HostOptions

ROOT = Path(__file__).parents[2]
PROGRAMS = dict(
    re.findall(r"```python test=(\w+)\n(.*?)```", (ROOT / "docs/tensors-outside.md").read_text(), flags=re.DOTALL)
)


@pytest.fixture
async def environment(tmp_path, installed, monkeypatch):
    """A camera that goes on for as long as it is looked at; the environment of a program outside."""
    monkeypatch.setenv("PYTHONPATH", str(installed("frametest", NODES)))
    password = AccessStore(tmp_path / "data").add("viewer", subscribe=["flow.line.camera.out.frame"])
    host = Host(HostOptions(folder=tmp_path / "data", host_id="here", nats_port=0, mqtt_port=0))
    await host.start()
    text = flow({"camera": ("camera", {"to": 100_000, "pause_s": 0.02})}, []).replace('"id": "frames"', '"id": "line"')
    await host.documents.deploy(text, "line.json")
    yield os.environ | {"BUS_URL": host.bus.url, "BUS_USER": "viewer", "BUS_PASSWORD": password}
    await host.stop(0)


@pytest.mark.parametrize(("name", "dtype"), [("client", "uint8"), ("plain", "|u1")])
async def test_the_program_sees_frames(environment, tmp_path, name, dtype):
    """It prints what it gets, frame after frame, and complains of nothing."""
    file = tmp_path / "program.py"
    file.write_text(PROGRAMS[name])
    program = await asyncio.create_subprocess_exec(
        sys.executable, file, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert program.stdout is not None
    try:
        async with asyncio.timeout(30):
            for _ in range(5):
                line = (await program.stdout.readline()).decode()
                assert line.startswith(dtype) and "480" in line and 0 <= float(line.split()[-1]) <= 251, line
    finally:
        program.kill()
        await program.wait()
