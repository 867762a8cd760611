"""Flow files broken in every way we know: the right message at the right line, and nothing else."""

import json
from pathlib import Path

import pytest

BROKEN = Path(__file__).parent / "broken"
EXPECTED = json.loads((BROKEN / "expected.json").read_text(encoding="utf-8"))
FILES = sorted(path.name for path in BROKEN.glob("*.json") if path.name != "expected.json")


@pytest.mark.parametrize("name", FILES)
def test_a_broken_flow_gets_its_message_at_its_line(look, name):
    """Each fixture gives exactly the problems written beside it (`<line> <pointer>: <message>`) and no flow."""
    checked = look((BROKEN / name).read_bytes(), file=name)
    found = [f"{one.line} {one.pointer}: {one.message}" for one in checked.problems]
    assert found == EXPECTED[name]
    assert not checked.ok and checked.document is None and checked.resolved is None


def test_every_expectation_has_its_file():
    """No expectation is left behind when a fixture goes."""
    assert sorted(EXPECTED) == FILES
    assert len(FILES) >= 30


def test_a_problem_names_file_line_and_pointer(look):
    """A problem as text begins as an editor can jump to, and what is not about one place leaves the pointer out."""
    problem = look((BROKEN / "wire-to-unknown-port.json").read_bytes(), file="flows/factory.json").problems[0]
    assert str(problem) == (
        "flows/factory.json:9 /wires/0/to: node 'detect' has no port 'imge'; did you mean 'image'? (it has: image, roi)"
    )
    assert str(look(b"", file="flows/factory.json").problems[0]) == "flows/factory.json:1: the file is empty"
