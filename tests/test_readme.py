"""Every command and program of README.md, run as it stands there, in a folder that looks like a fresh checkout.

A fenced block says after its language how it is run: `test` line by line to the end of each, `test=NAME` as the test
that asks for NAME does it, `file=NAME` is written to that file first. The tests run in the order of the page.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest

from flowcore.bus.config import nats_server_program

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_FENCE = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LONGEST_S = 120


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what it says of itself, its text."""

    language: str
    test: str | None  # "" for `test` alone
    file: str
    text: str
    section: str

    @property
    def lines(self) -> list[str]:
        """The commands of a shell block."""
        return [line for line in self.text.splitlines() if line]


def _blocks() -> list[Block]:
    found = []
    for fence in _FENCE.finditer(README):
        words = dict((word.partition("=")[0], word.partition("=")[2]) for word in fence[2].split())
        section = re.findall(r"^## (.+)$", README[: fence.start()], re.MULTILINE)[-1]
        found.append(Block(fence[1], words.get("test"), words.get("file", ""), fence[3], section))
    return found


BLOCKS = _blocks()


def _named(test: str, language: str = "sh") -> Block:
    return next(block for block in BLOCKS if block.test == test and block.language == language)


def _plain(section: str) -> list[str]:
    return [line for block in BLOCKS if block.test == "" and block.section == section for line in block.lines]


@dataclass
class Place:
    """A checkout of its own: the flows, the Makefile, an environment on top of the one that runs the tests."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def run(self, line: str, timeout_s: float = _LONGEST_S) -> str:
        """Run a command line to its end; returns what it printed."""
        ran = subprocess.run(
            ["sh", "-c", line], cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=timeout_s
        )
        assert ran.returncode == 0, f"{line}\nended with {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def until(self, command: list[str], text: str, stop: int = signal.SIGINT) -> tuple[str, int]:
        """Run a command until it prints `text`, then stop it; returns what it printed and its exit status."""
        running = self.start(command, text)
        running.process.send_signal(stop)
        rest, _ = running.process.communicate(timeout=_LONGEST_S)
        return running.said + rest, running.process.returncode

    def start(self, command: list[str], text: str) -> "Running":
        """Start a command; returns when it has printed `text`."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said, deadline_s = "", time.monotonic() + _LONGEST_S
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if text in line:
                return Running(process, said)
            assert time.monotonic() < deadline_s, f"{command} did not say {text!r}:\n{said}"
        raise AssertionError(f"{command} ended with {process.wait()} and did not say {text!r}:\n{said}")


@dataclass
class Running:
    """A command that runs, and what it has said so far."""

    process: subprocess.Popen[str]
    said: str


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    """What `make install` makes, without installing again: its packages are those of the environment of the tests."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy2(ROOT / name, folder)
    shutil.copytree(ROOT / "flows", folder / "flows")
    _make_environment(folder / ".venv")
    for block in BLOCKS:
        if block.file:
            (folder / block.file).write_text(block.text)
    path = f"{folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWCORE_", "PYTEST_"))}
    return Place(folder, {**env, "PATH": path, "COLUMNS": "200"})


def _make_environment(folder: Path) -> None:
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    outer = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "outer.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in outer))
    modules = {"flowcore": "flowcore.cli", "pip": "pip", "pytest": "pytest"}
    for name, module in modules.items():
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{folder}/bin/python" -m {module} "$@"\n')
        script.chmod(0o755)
    (folder / "bin" / "nats-server").symlink_to(nats_server_program())


@pytest.fixture(scope="module")
def up(place) -> Iterator[Place]:
    """The runtime that README starts in its first terminal; its outside user is made as README does it."""
    (line,) = _named("up").lines
    running = place.start(["sh", "-c", f"exec {line}"], "factory: revision 1")
    said = "".join(place.run(line) for line in _named("access").lines)
    told = dict(line.split(maxsplit=1) for line in said.splitlines()[:3])
    place.env |= {f"BUS_{name.upper()}": value for name, value in told.items()}
    yield place
    place.run("flowcore down")
    running.process.communicate(timeout=_LONGEST_S)
    assert running.process.returncode == 0


def test_every_block_is_run_by_a_test():
    """A block of a language that runs, without a word on how, would rot."""
    for block in BLOCKS:
        if block.section == "The first node of your own, in ten minutes" and block.language == "python":
            continue  # the file that new-node makes: compared below
        assert block.test is not None or block.file, block.text
    assert "```sh\n" not in README and "```python\n" in README


def test_the_two_commands(place):
    """`make run` shows the live table; `make test` is what runs this test, and its target is there."""
    run, test = _named("make").lines
    assert (run, test) == ("make run", "make test")
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    said, status = place.until(
        ["sh", "-c", "exec make -o .venv/.installed run"], "factory.shown", signal.SIGTERM
    )  # make hands SIGTERM on, and ends with it
    assert "factory.sensors" in said and "running" in said
    assert status != 0 or "is up" in said
    place.run("make -n -o .venv/.installed test")


def test_the_commands_of_the_start(up):
    """From another terminal."""
    for line in _plain("Start"):
        said = up.run(line)
        if line == "flowcore status factory":
            assert "factory.sensors" in said


def test_the_first_node_of_your_own(up):
    """Made, installed, tested, used, edited: each command as it stands there."""
    if find_spec("pip") is None:
        pytest.skip("pip is not installed in the environment of the tests")
    said = "".join(up.run(line) for line in _named("acme").lines)
    assert "made acme-nodes" in said and "2 passed" in said and "Multiply a number by a factor." in said
    shown = next(block.text for block in BLOCKS if block.language == "python" and block.test is None)
    made = (up.folder / "acme-nodes" / "acme_nodes" / "scale.py").read_text()
    assert made.partition("\n\n")[2] == shown
    said = "".join(up.run(line) for line in _plain("The first node of your own, in ten minutes"))
    assert "started tick, double, show" in said and '"payload": 42.0' in said
    edit, *look = _named("reload").lines
    before = _pids(up)
    up.run(edit)
    deadline_s = time.monotonic() + 30
    while '"payload": 42.5' not in up.run("flowcore sub 'flow.acme.double.out.>' --count 1"):
        assert time.monotonic() < deadline_s, "the edited file was not taken"
    said = "".join(up.run(line) for line in look)
    assert "node types changed: acme/scale" in said and "restarted double" in said
    after = _pids(up)
    assert {name for name in before if before[name] != after[name]} == {"double"}


def _pids(place: Place) -> dict[str, int]:
    (flow,) = json.loads(place.run("flowcore status acme --json"))["flows"]
    return {node["node"]: node["pid"] for node in flow["nodes"]}


@pytest.mark.parametrize(("program", "text"), [("feed", "flow.factory.sensors.out.out"), ("client", "hot out")])
def test_the_python_programs_outside(up, program, text):
    """With the rights that README gives them."""
    file = up.folder / f"{program}.py"
    file.write_text(_named(program, "python").text)
    # Not SIGINT, which a process started in the background of a shell ignores.
    up.until([str(up.folder / ".venv/bin/python"), str(file)], text, signal.SIGTERM)


def test_the_javascript_program_outside(up):
    """nats.js and @msgpack/msgpack read the same feed."""
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("node and npm are not installed")
    install, run = _named("npm").lines
    installed = subprocess.run(shlex.split(install), cwd=up.folder, env=up.env, capture_output=True, text=True)
    if installed.returncode != 0:
        pytest.skip(f"the npm packages cannot be installed here: {installed.stderr.strip()[-200:]}")
    up.until(shlex.split(run), "flow.factory.sensors.out.out", signal.SIGTERM)


def test_the_commands_of_the_rest(up):
    """Devices, revisions."""
    for section in dict.fromkeys(block.section for block in BLOCKS if block.test == ""):
        if section not in ("Start", "The first node of your own, in ten minutes"):
            said = "".join(up.run(line) for line in _plain(section))
            assert "hello: " in said or "oven-7" in said
