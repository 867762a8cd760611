"""`flowcore new-agent`: an agent that is found, and passes its test; no runtime is needed."""

import asyncio
import os
import subprocess
import sys


async def test_a_new_agent_is_found_and_passes_its_test(flowcore, tmp_path):
    """As a user does it, in an empty folder; a file beside it that is wrong hides nothing."""
    flowcore.env.pop("FLOWCORE_AGENTS", None)
    made = (await flowcore("new-agent", "too-hot", "--data", str(tmp_path / ".flowcore"), "--json")).json
    assert made["type"] == "agent/too-hot"
    folder = tmp_path / "flows" / "agents"
    assert made["files"] == [str(folder / "test_too_hot.py"), str(folder / "too_hot.py")]
    (folder / "broken.py").write_text("def broken(:\n")
    listed = await flowcore("nodes", "agent/", "--data", str(tmp_path / ".flowcore"))
    assert "agent/too-hot" in listed.out and "broken.py:1" in listed.err
    environ = {**os.environ, "FLOWCORE_AGENTS": str(folder)}
    command = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", str(folder)]
    run = asyncio.to_thread(subprocess.run, command, env=environ, cwd=tmp_path, capture_output=True, text=True)
    tests = await asyncio.wait_for(run, 60)
    assert tests.returncode == 0 and "2 passed" in tests.stdout, tests.stdout + tests.stderr


async def test_what_cannot_be_is_refused(flowcore, tmp_path):
    """An agent that is there, a name that is none, a folder that is not there."""
    folder = str(tmp_path / "agents")
    await flowcore("new-agent", "too-hot", "--in", folder)
    assert "exists" in (await flowcore("new-agent", "too-hot", "--in", folder, status=1)).err
    assert "no name for an agent" in (await flowcore("new-agent", "../evil", status=2)).err
    assert "no such folder" in (await flowcore("up", "--agents", str(tmp_path / "nothing"), status=1)).err
