"""`flowcore test` as users run it: exit status, what it prints, what it writes."""

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import psutil
import pytest

from flowcore.testing import schema

FLOW = {
    "flowcore": 1,
    "id": "gate",
    "nodes": [
        {"id": "feed", "type": "core/file-in", "config": {"path": "parts.txt"}},
        {"id": "band", "type": "core/deadband", "config": {"band": 1.0}},
        {"id": "show", "type": "core/debug"},
    ],
    "wires": [{"from": "feed.out", "to": "band.value"}, {"from": "band.changed", "to": "show.in"}],
}
CASES = [
    {
        "name": "small steps do not pass",
        "steps": [
            {"put": "feed.out", "payloads": [1.0, 1.5, 3.0]},
            {"expect": "band.changed", "messages": [{"payload": 1.0}, {"payload": 3.0}]},
        ],
    },
    {
        "name": "this one is wrong",
        "steps": [
            {"put": "feed.out", "payloads": [1.0, 5.0]},
            {"expect": "band.changed", "messages": [{"payload": 1.0}, {"payload": {"$about": 4, "within": 0.5}}]},
        ],
    },
    {
        "name": "nobody expects this error",
        "steps": [{"put": "feed.out", "payload": "five"}, {"expect": "show.in", "none": True}],
    },
    {"name": "later", "skip": "not built yet", "steps": [{"advance": 1}]},
]


@pytest.fixture
def gate(tmp_path):
    """A flow and its cases; runs `flowcore test` there."""
    (tmp_path / "gate.json").write_text(json.dumps(FLOW))

    def write(cases, **others):
        document = {"flowtest": 1, "stubs": {"feed": "source"}, "cases": cases} | others
        (tmp_path / "gate.test.json").write_text(json.dumps(document, indent=1))

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "flowcore.cli", "test", *arguments],
            cwd=tmp_path, capture_output=True, text=True, timeout=120, env={**os.environ, "COLUMNS": "200"},
        )  # fmt: skip

    run.write, run.folder = write, tmp_path
    return run


def test_cases_that_fail_say_how(gate):
    """Status 1; each case has its line, a failure its place and its difference; JUnit says the same."""
    gate.write(CASES)
    ran = gate("gate.json", "--junit", "out/junit.xml")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("ok       gate: small steps do not pass")
    at = next(index for index, line in enumerate(lines) if line.startswith("gate.test.json:"))
    assert lines[at].endswith("this one is wrong: step 2, expect band.changed")
    assert lines[at + 1] == "    message 2: payload: expected a number about 4 (within 0.5), got 5.0"
    assert lines[at + 2 : at + 5] == ["    what came there: 2, since the last look", "      1.0", "      5.0"]
    assert "    band failed, and no step expects it: " in ran.stdout
    assert lines[-1].startswith("1 passed, 2 failed, 1 skipped in ")
    suite = ET.parse(gate.folder / "out/junit.xml").getroot().find("testsuite")
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["4", "2", "0", "1"]
    assert "about 4" in suite.findall("testcase")[1].find("failure").get("message")
    assert not (gate.folder / ".flowcore").exists()


def test_json_and_a_choice_of_cases(gate):
    """Status 0 when all that were chosen pass."""
    gate.write(CASES)
    ran = gate("gate.test.json", "-k", "SMALL", "--json")
    said = json.loads(ran.stdout)
    assert ran.returncode == 0 and said["passed"]
    assert [(one["case"], one["outcome"]) for one in said["cases"]] == [("small steps do not pass", "passed")]


def test_a_file_with_errors_is_not_run(gate):
    """Status 2: everything wrong at once, each with its line, its pointer and the nearest right name."""
    gate.write(
        [
            {"name": "one", "steps": [{"put": "fed.out", "payload": 1}, {"expct": "band.changed"}]},
            {"name": "two", "steps": [{"advance": -1}, {"expect": "band.changed", "paylod": 1}]},
        ]
    )
    ran = gate("gate.json")
    assert ran.returncode == 2
    assert ran.stderr.splitlines() == [
        "gate.test.json:14 /cases/0/steps/1: no step is like this; did you mean 'expect'? "
        "(steps: put, expect, advance, kill, wait, pause, resume)",
        "gate.test.json:23 /cases/1/steps/0/advance: must be greater than 0, is -1",
        "gate.test.json:27 /cases/1/steps/1/paylod: no field 'paylod' is known here; did you mean 'payload'? "
        "(it has: payload, has, topic, meta, note, expect, messages, unordered, skip, count, none, within_s)",
        "3 errors. No case was run.",
    ]
    gate.write(
        [
            {"name": "one", "steps": [{"put": "fed.out", "payload": 1}, {"put": "band.changed", "payload": 1}]},
            {"name": "one", "steps": [{"expect": "band.chnged", "payload": {"$regx": "a"}}, {"kill": "shw"}]},
        ],
        stubs={},
    )
    ran = gate("gate.json")
    assert ran.returncode == 2
    told = ran.stderr
    for part in (
        "/cases/0/name: node 'feed' (core/file-in) reaches beyond the flow: stub it",
        "/cases/0/steps/0/put: no node 'fed'; did you mean 'feed'? (nodes: feed, band, show)",
        "/cases/0/steps/1/put: 'changed' is an output of 'band', which is no stub: stub it",
        "/cases/1/name: /cases/0 has this name, too",
        "/cases/1/steps/0/expect: node 'band' has no port 'chnged'; did you mean 'changed'?",
        "/cases/1/steps/0/payload/$regx: no pattern '$regx'; did you mean '$regex'?",
        "/cases/1/steps/1/kill: no node 'shw'; did you mean 'show'?",
    ):
        assert part in told


def test_wrong_use(gate):
    """A flow without cases, a file that is not there; tests are no flow to deploy."""
    gate.write(CASES)
    ran = subprocess.run(
        [sys.executable, "-m", "flowcore.cli", "deploy", "gate.test.json"],
        cwd=gate.folder, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 2 and "holds the tests of a flow. Run them: flowcore test gate.test.json" in ran.stderr
    (gate.folder / "gate.test.json").unlink()
    for name, text in (("gate.json", "has no cases: there is no gate.test.json"), ("gte.json", "no such file")):
        ran = gate(name)
        assert ran.returncode == 2 and text in ran.stderr


def test_the_published_schema_is_what_the_models_give():
    """`make docs` writes it anew."""
    path = Path(schema.__file__).with_name(schema.FILE_NAME)
    assert path.read_text(encoding="utf-8") == schema.text(), "stale, run make docs"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 1)])  # 130: as shells have it
def test_a_run_that_is_called_off_leaves_nothing(gate, tmp_path, number, status):
    """Ctrl-C, or a CI job that ends it: its runtime ends with it, and its folder goes."""
    gate.write([CASES[0]])
    spare = tmp_path / "spare"
    spare.mkdir()
    command = [sys.executable, "-m", "flowcore.cli", "test", "gate.json", "--watch"]
    # A shell that puts a process into the background lets it ignore SIGINT, and Python then does.
    running = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(spare)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while "passed" not in (line := running.stdout.readline()):
        assert line, "it ended"
    children = psutil.Process(running.pid).children(recursive=True)
    assert children and list(spare.glob("flowcore-test-*"))
    running.send_signal(number)
    assert running.wait(30) == status
    assert not list(spare.glob("flowcore-test-*"))
    assert not psutil.wait_procs(children, 10)[1]
