"""The checks of `checks.py` under pytest, skipped with the reason where there is no device. `make gpu-check` runs them
without pytest."""

import ast
from pathlib import Path

import pytest

from tests.gpu import machine
from tests.gpu.__main__ import run_apart


def _names() -> list[str]:
    # Read, not imported: it imports cupy.
    tree = ast.parse(Path(__file__).with_name("checks.py").read_text(encoding="utf-8"))
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and any(ast.unparse(mark) == "check" for mark in node.decorator_list)
    ]


@pytest.fixture(scope="module")
def _device() -> None:
    reasons = machine.missing()
    if reasons:
        pytest.skip("; ".join(reasons))


@pytest.mark.usefixtures("_device")
@pytest.mark.parametrize("name", _names())
def test_on_a_device(name):
    """What `checks.py` says of it."""
    state, said = run_apart(name)
    if state == "skipped":
        pytest.skip(said)
    assert state == "passed", said
