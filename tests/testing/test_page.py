"""`docs/flow-tests.md`: its files are written, its commands run, as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "flow-tests.md").read_text(encoding="utf-8")


def test_what_the_page_shows_is_so(tmp_path):
    """Every block that is no output is a file or a command."""
    blocks = re.findall(r"^```(\w+) (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == PAGE.count("\n```") // 2
    shutil.copytree(ROOT / "flows", tmp_path / "flows")
    for _, use, text in blocks:
        if use.startswith("file="):
            (tmp_path / use.removeprefix("file=")).write_text(text)
    for name, module in {"flowcore": "flowcore.cli", "pytest": "pytest"}.items():
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        script.chmod(0o755)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWCORE_", "PYTEST_"))}
    environ["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{environ['PATH']}"
    said = ""
    for line in [line for _, use, text in blocks if use == "test" for line in text.splitlines()]:
        ran = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=180)
        assert ran.returncode == 0, f"{line}\nended with {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        said += ran.stdout
    assert "ok       gate: small steps do not pass" in said and "3 passed" in said
    assert (tmp_path / "out" / "flows.xml").exists() and not (tmp_path / ".flowcore").exists()
