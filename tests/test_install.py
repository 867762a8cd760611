"""The distribution: what is in it, and the first day with it, in an environment that never saw the clone."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_LONGEST_S = 240

pytestmark = pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling is not installed: make install")


def _run(*line, cwd, env=None, status=0) -> str:
    ran = subprocess.run(list(map(str, line)), cwd=cwd, env=env, capture_output=True, text=True, timeout=_LONGEST_S)
    assert ran.returncode == status, f"{line} ended with {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """What `make wheel` builds."""
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    return folder


def _files(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def test_the_wheel_has_what_runs_and_nothing_else(dist):
    """The server's configuration, the example flows, the schema; no tests, no data of a runtime."""
    (wheel,) = dist.glob("*.whl")
    names = set(_files(wheel))
    flows = {f"flowcore/flows/{path.name}" for path in (ROOT / "flows").iterdir() if path.is_file()}
    confs = {f"flowcore/bus/conf/{path.name}" for path in (ROOT / "nats").glob("*.conf")}
    assert flows | confs | {"flowcore/flow/flow.schema.json", "flowcore/py.typed"} <= names
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"flowcore", "flowcore_nodes", "flowcore_agents"}
    modules = {
        str(path.relative_to(folder))
        for folder in (ROOT, ROOT / "nodes")
        for package in ("flowcore", "flowcore_nodes", "flowcore_agents")
        for path in (folder / package).rglob("*.py")
    }
    assert modules <= names
    assert not [name for name in names if "/.flowcore/" in name or name.endswith(".pyc")]


def test_the_source_distribution_builds_the_same_wheel(dist, tmp_path):
    """Byte for byte, so that a distribution by others is what we tested."""
    (packed,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert (source / "tests").is_dir() and (source / "docs" / "wires.md").is_file() and not (source / ".ci").exists()
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "again", cwd=source)
    (again,) = (tmp_path / "again").glob("*.whl")
    assert _files(again) == _files(wheel)


@pytest.fixture(scope="module")
def installed(dist, tmp_path_factory) -> dict[str, str]:
    """An environment with the wheel and what it needs, by pip as a user would; its variables."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv", with_pip=False)
    python, (wheel,) = folder / "venv" / "bin" / "python", dist.glob("*.whl")
    if find_spec("pip") is None:
        pytest.skip("pip is not installed in the environment of the tests")
    line = [sys.executable, "-m", "pip", "--python", python, "install", "--no-compile", "-c", ROOT / "constraints.txt"]
    ran = subprocess.run([*line, wheel], capture_output=True, text=True, timeout=_LONGEST_S)
    if ran.returncode != 0 and "No matching distribution" not in ran.stderr:
        pytest.fail(ran.stderr)
    if ran.returncode != 0:
        # No package index can be reached. What is installed here has the same versions.
        _run(*line, "--no-deps", wheel, cwd=folder)
        (site,) = (folder / "venv").glob("lib/python*/site-packages")
        outer = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        (site / "outer.pth").write_text("".join(f"{path}\n" for path in outer))
    kept = ("HOME", "LANG", "TMPDIR")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    return {**env, "PATH": f"{python.parent}:/usr/bin:/bin"}


def test_the_first_day_in_an_empty_folder(installed, tmp_path):
    """init, up, status, deploy, down: what the README tells, with nothing but the wheel."""

    def flowcore(*args, status=0) -> str:
        return _run("flowcore", *args, cwd=tmp_path, env=installed, status=status)

    where = _run("python", "-c", "import flowcore; print(flowcore.__file__)", cwd=tmp_path, env=installed)
    assert not Path(where.strip()).is_relative_to(ROOT)
    assert flowcore("--version") == "flowcore 0.1.0\n"
    assert "next: flowcore up --watch flows/" in flowcore("init")
    assert ".flowcore/" in (tmp_path / ".gitignore").read_text()
    up = subprocess.Popen(
        ["flowcore", "up", "--watch", "flows/", "--nats-port", "0", "--mqtt-port", "0"],
        cwd=tmp_path,
        env=installed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    enough = threading.Timer(_LONGEST_S, up.kill)  # reading its lines would wait for ever
    enough.start()
    try:
        assert up.stdout is not None
        said = ""
        while "hello: revision 1" not in said:
            line = up.stdout.readline()
            assert line, said
            said += line
        (flow,) = json.loads(flowcore("status", "--json"))["flows"]
        assert {node["node"]: node["state"] for node in flow["nodes"]} == dict.fromkeys(
            ("tick", "greet", "show"), "running"
        )
        assert '"payload": "hello world"' in flowcore("sub", "flow.hello.greet.out.>", "--count", "1")
        file = tmp_path / "other.json"
        file.write_text((tmp_path / "flows" / "hello.json").read_text().replace('"hello"', '"other"'))
        assert "other: revision" in flowcore("deploy", "other.json")
        assert "has ended" in flowcore("down")
        assert up.wait(timeout=30) == 0
    finally:
        enough.cancel()
        if up.poll() is None:
            up.send_signal(signal.SIGTERM)
            up.wait(timeout=60)
    assert not (tmp_path / ".flowcore" / "run.json").exists()


def test_init_leaves_alone_what_is_there(installed, tmp_path):
    """Files and flows of the user stay, byte for byte; what was made and kept is told, also as JSON."""
    (tmp_path / "flows").mkdir()
    mine = {"README.md": "mine\n", "flows/mine.json": "{}\n", ".gitignore": "*.pyc\n"}
    for name, text in mine.items():
        (tmp_path / name).write_text(text)
    said = json.loads(_run("flowcore", "init", "--json", cwd=tmp_path, env=installed))
    assert (said["made"], said["kept"], said["ignored"]) == ([], [".gitignore", "README.md"], False)
    assert {name: (tmp_path / name).read_text() for name in mine} == mine
    told = _run("flowcore", "init", cwd=tmp_path, env=installed)
    assert "made nothing" in told and "add the line .flowcore/" in told
    there = json.loads(_run("flowcore", "init", "new place", "--json", cwd=tmp_path, env=installed))
    assert there["next"] == "cd 'new place' && flowcore up --watch flows/" and len(there["made"]) == 3
    refused = subprocess.run(
        ["flowcore", "init", "README.md"], cwd=tmp_path, env=installed, capture_output=True, text=True
    )
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1 and "README.md" in refused.stderr
