"""Every command and program of README.md and of the pages in `docs/`, run as it stands there.

They run in a folder that looks like a fresh checkout, in the order of the pages, beside one runtime, which README
starts. `tests/written.py` says how a block is marked.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from flowcore.cli.types import installed_types
from flowcore.flow.validate import check
from tests.written import LONGEST_S, Block, Place, blocks_of, make_environment

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
GENERATED = {ROOT / "docs" / "control.md"}
PAGES = sorted(set((ROOT / "docs").glob("*.md")) - GENERATED)
OF_OTHERS = {"flow-tests.md"}  # tests/testing/test_page.py runs it, in an environment of its own
RUNS = {"sh", "bash", "shell", "console", "python", "json", "js"}
BLOCKS = blocks_of(README)


def _named(test: str, language: str = "sh", page: Path = README) -> Block:
    return next(block for block in blocks_of(page) if block.test == test and block.language == language)


def _plain(section: str) -> list[str]:
    return [line for block in BLOCKS if block.test == "" and block.section == section for line in block.lines]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    """What `make install` makes, without installing again: its packages are those of the environment of the tests."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy2(ROOT / name, folder)
    shutil.copytree(ROOT / "flows", folder / "flows")
    make_environment(folder / ".venv")
    for block in BLOCKS:
        if block.file:
            (folder / block.file).write_text(block.text)
    path = f"{folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWCORE_", "PYTEST_"))}
    return Place(folder, {**env, "PATH": path, "COLUMNS": "200"})


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
    running.process.communicate(timeout=LONGEST_S)
    assert running.process.returncode == 0


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
    shown = _named("scale", "python").text
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


def _pids(place: Place, flow_id: str = "acme") -> dict[str, int]:
    (flow,) = json.loads(place.run(f"flowcore status {flow_id} --json"))["flows"]
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


# The pages


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.name)
def test_every_block_is_run_or_says_why_not(page):
    """A block of a language that runs, without a word on how, would rot; so would a command without a fence."""
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    text = page.read_text(encoding="utf-8")
    for block in blocks_of(page):
        is_marked = block.test is not None or block.file or block.not_run
        assert is_marked or block.language not in RUNS, f"{page.name}: how is this run?\n{block.text}"
        is_asked_for = not block.test or re.search(rf"[\"']{re.escape(block.test)}[\"']", tests)
        assert is_asked_for, f"{page.name}: no test asks for {block.test}"
    assert not re.findall(rf"^```(?:{'|'.join(RUNS)})?$\n.+", text, re.MULTILINE), "a fence without a mark"
    commands = r"flowcore|pip|make|python3?|pytest|npm|systemctl|sudo|\{|[A-Z_]+=\S+ (?:python|pytest)"
    hidden = [
        line
        for line in re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL).splitlines()
        if re.match(rf"    (?:{commands})\b", line) and not re.match(r"    flowcore [0-9.]+ is up", line)
    ]
    assert not hidden, f"{page.name}: commands outside a fence: {hidden}"


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.language == "json" for b in blocks_of(page))])
def test_flows_on_pages_are_valid(page):
    """As `flowcore validate` sees them; a part is completed to a flow that uses it."""
    types, _ = installed_types(Path("data"))
    for block in blocks_of(page):
        if block.language != "json" or block.test is None:
            continue
        text = block.text
        if block.test == "part":
            use = '"nodes": [{"id": "one", "type": "subflow:scale", "config": {"LIMIT": 5}}]'
            text = f'{{"flowcore": 1, "id": "part", {use}, {text.rstrip().rstrip(",")}}}'
        assert not check(text, page.name, types, {}).problems


def test_the_devices_on_the_page_of_the_flows():
    """The simulated oven takes a target and comes nearer to it."""
    module: dict = {"__name__": "flows_page"}
    for block in blocks_of(ROOT / "docs" / "flows.md"):
        if block.language == "python":
            exec(block.text, module)
    oven = module["plugin"].flowcore_simulators()["ovens"](1, seed=1)
    assert oven.command("ovens/1/target", b"200") == "oven-1: heating to 200.0" and oven.command("x", b"1") is None
    ((topic, payload),) = oven.play(0.0)
    assert topic == "ovens/oven-1/temp" and 180 < payload["temp_c"] < 200


RUN_HERE = [page for page in PAGES if page.name not in OF_OTHERS and any(b.test == "" for b in blocks_of(page))]


@pytest.mark.parametrize("page", RUN_HERE, ids=lambda page: page.name)
def test_the_commands_of_a_page(up, page):
    """Line by line, each to its end."""
    for block in blocks_of(page):
        if block.language == "sh" and block.test == "":
            for line in block.lines:
                up.run(line)


FIRST_STEPS, OPERATIONS = ROOT / "docs" / "first-steps.md", ROOT / "docs" / "operations.md"


@pytest.fixture(scope="module")
def line(place) -> Iterator[Place]:
    """The folder that the first steps make, with its runtime not running."""
    (made,) = _named("first-init", page=FIRST_STEPS).lines
    assert "made flows/hello.json" in place.run(made)
    folder = Place(place.folder / "my-line", place.env)
    yield folder
    for run_file in folder.folder.rglob(".flowcore/run.json"):  # of a test that failed
        subprocess.run(["flowcore", "down", "--data", run_file.parent], cwd=folder.folder, env=folder.env)


def test_the_first_steps(up, line):
    """Up, look, change, a mistake, down: beside a runtime that has the usual ports."""

    def lines(name: str) -> list[str]:
        return _named(name, page=FIRST_STEPS).lines

    running = line.start(["sh", "-c", f"exec {lines('first-up')[0]}"], "hello: revision 1: started tick, greet, show")
    assert "data folder" in running.said
    status, last, sub = (line.run(command) for command in lines("first-look"))
    assert "hello.greet" in status and '"hello world"' in last and sub.count("\n") == 2
    before = _pids(line, "hello")
    line.run(lines("first-change")[0])
    _wait_for(lambda: '"good morning world"' in line.run("flowcore last hello.greet"))
    after = _pids(line, "hello")
    assert {name for name in before if before[name] != after[name]} <= {"greet"}
    edit, validate = lines("first-mistake")
    line.run(edit)
    said = subprocess.run(["sh", "-c", validate], cwd=line.folder, env=line.env, capture_output=True, text=True)
    shown = re.findall(r"^    (flows/hello.json:.*)$", FIRST_STEPS.read_text(encoding="utf-8"), re.MULTILINE)
    assert said.returncode == 1 and said.stderr.startswith(shown[0].partition(" (it has")[0])
    assert _pids(line, "hello") == after
    assert "has ended" in line.run(lines("first-down")[0])
    rest, _ = running.process.communicate(timeout=LONGEST_S)
    assert running.process.returncode == 0 and "did you mean 'every_s'" in rest


def test_a_backup(up, line):
    """The folder as it was unpacks to a runtime that knows its revisions."""
    down, pack, start = _named("backup", page=OPERATIONS).lines
    shutil.copy(ROOT / "flows" / "hello.json", line.folder / "flows")
    running = line.start(["sh", "-c", f"exec {start}"], "hello: revision")
    before = line.run("flowcore history hello --json")
    line.run(down)
    line.run(pack)
    running.process.communicate(timeout=LONGEST_S)
    restored = Place(line.folder / "restored", line.env)
    restored.folder.mkdir()
    restored.run("tar -xzf ../backup.tar.gz")
    running = restored.start(["sh", "-c", f"exec {start}"], "is up")
    assert restored.run("flowcore history hello --json") == before
    restored.run(down)
    running.process.communicate(timeout=LONGEST_S)


def test_the_other_commands_of_the_operations(up, line):
    """The unit is for the folder it is asked in; the line for a machine that joins is printed once."""
    unit = line.run(_named("service", page=OPERATIONS).lines[0])
    assert f"WorkingDirectory={line.folder}" in unit and '"--watch" "flows/"' in unit
    assert "flowcore up --host edge1 --nats nats://edge1:" in line.run(_named("member", page=OPERATIONS).lines[0])


def test_the_command_of_the_page_of_the_flows(up, line):
    """As in README, here beside another runtime."""
    (command,) = _named("table", page=ROOT / "docs" / "flows.md").lines
    shutil.copytree(ROOT / "flows", line.folder / "other" / "flows", dirs_exist_ok=True)
    said, status = Place(line.folder / "other", line.env).until(["sh", "-c", f"exec {command}"], "factory.shown")
    assert "factory.sensors" in said and status == 0


def _wait_for(condition) -> None:
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come"
