"""The table of results in `docs/node-red.md`, between its two marks."""

import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from tests.parity.cases import Case

PAGE = Path(__file__).parents[2] / "docs" / "node-red.md"
_MARKED = re.compile(r"(<!-- parity -->\n).*?(<!-- /parity -->)", re.DOTALL)


def filled(page: str, cases: Iterable[Case]) -> str:
    """The page with the table as the cases have it."""
    found, count = _MARKED.subn(lambda match: match[1] + text(cases) + match[2], page)
    assert count == 1, f"{PAGE.name} has no place for the table"
    return found


def text(cases: Iterable[Case]) -> str:
    """The table, then each case that differs with its reason."""
    by_node = [(node, list(of)) for node, of in groupby(cases, key=lambda case: case.node)]
    total = sum(len(of) for _, of in by_node)
    differ = sum(bool(case.differs) for _, of in by_node for case in of)
    lines = ["| node | sequences | equal | differ |", "|---|---|---|---|"]
    for node, of in by_node:
        different = sum(bool(case.differs) for case in of)
        lines.append(f"| {node} | {len(of)} | {len(of) - different} | {different or ''} |")
    lines.append(f"| all | {total} | {total - differ} | {differ} |")
    lines += ["", "What differs:", ""]
    for node, of in by_node:
        lines += [f"- **{node}**, *{case.name}*: {case.differs}." for case in of if case.differs]
    return "\n".join(lines) + "\n"
