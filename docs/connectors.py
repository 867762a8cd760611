"""Writes the table of docs/connectors.md: runs the tests that connectors have against real peers, and says what passed.

    python docs/connectors.py            all of them, a row a connector
    python docs/connectors.py -k modbus  some of them, shown and not written

A test is marked `@pytest.mark.survives(node types, peer, *what it was)`.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest

PAGE = Path(__file__).with_name("connectors.md")
ROOT = PAGE.parents[1]
BEGIN, END = "<!-- table: python docs/connectors.py -->\n", "<!-- end of table -->\n"
WHAT = ["peer restart", "killed in between", "wrong password", "slow peer", "malformed data"]


class Gather:
    """A pytest plug-in: what passed, what failed, what was skipped, of the marked tests."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict] = defaultdict(lambda: {})
        self._marks: dict[str, list] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Those with the mark."""
        items[:] = [item for item in items if item.get_closest_marker("survives")]
        self._marks = {item.nodeid: [mark.args for mark in item.iter_markers("survives")] for item in items}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One stage of one test."""
        if report.when != "call" and report.passed:
            return
        for node, peer, *what in self._marks[report.nodeid]:
            row = self.rows[node, peer]
            for one in what:
                if row.get(one) != "failed":
                    row[one] = report.outcome


def table(rows: dict) -> str:
    """As Markdown."""
    lines = [f"| connector | tested against | {' | '.join(WHAT)} |", "|---|---|" + "---|" * len(WHAT)]
    signs = {"passed": "yes", "failed": "**no**", "skipped": "not run here", None: ""}
    for (node, peer), row in sorted(rows.items()):
        cells = [signs[row.get(what)] for what in WHAT]
        lines.append(f"| `{node}` | {peer} | {' | '.join(cells)} |".replace(", ", "`, `", node.count(", ")))
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run, and write the page."""
    gather = Gather()
    status = pytest.main(["-q", "-p", "no:cacheprovider", str(ROOT / "tests/nodes"), *sys.argv[1:]], plugins=[gather])
    made = table(gather.rows)
    if sys.argv[1:]:
        print(made)
        return int(status)
    text = PAGE.read_text()
    PAGE.write_text(re.sub(f"(?s){BEGIN}.*{END}", lambda _: f"{BEGIN}\n{made}\n{END}", text))
    return int(status)


if __name__ == "__main__":
    raise SystemExit(main())
