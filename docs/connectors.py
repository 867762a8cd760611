"""Writes the table of docs/connectors.md: runs the tests that connectors have against real peers, and says what passed.

    python docs/connectors.py            all of them, a row a connector
    python docs/connectors.py -k modbus  some of them, shown and not written
    python docs/connectors.py --only -k modbus   the same, and written; the other rows stay as they are
    python docs/connectors.py --figures  none: only the figures anew

A test is marked `@pytest.mark.survives(node types, peer, *what it was)`. The figures are those of docs/connectors.json,
which `python -m tests.drills.peers --write` measures.
"""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest

PAGE = Path(__file__).with_name("connectors.md")
FIGURES = PAGE.with_suffix(".json")
ROOT = PAGE.parents[1]
BEGIN, END = "<!-- table: python docs/connectors.py -->\n", "<!-- end of table -->\n"
MEASURED = ["messages/s", "back after", "was away"]
WHAT = ["peer restart", "killed in between", "wrong password", "slow peer", "malformed data"]
LISTENERS = "core/http-in core/websocket-server iot/udp-in iot/udp-out"  # their peers come and go as they like
NEVER = {  # what does not exist, because the protocol has no such thing
    "peer restart": LISTENERS,
    "back after": f"{LISTENERS} iot/opcua-browse",  # it has no connection between two messages
    "was away": f"{LISTENERS} iot/opcua-browse",
    "killed in between": "iot/ble-scan iot/udp-in",  # nothing comes in, and nobody keeps what nobody confirms
    "wrong password": "core/buffer iot/ble-device iot/ble-scan iot/modbus-read iot/modbus-write iot/serial iot/tcp-in "
    "iot/tcp-out iot/tcp-request iot/udp-in iot/udp-out iot/udp-request",
    "slow peer": "iot/ble-scan iot/udp-in iot/udp-out",  # nobody is waited for
    "malformed data": "core/buffer",  # keeps whatever comes
}  # a row of several nodes: what none of them has


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
                worst = max(row.get(one, "passed"), report.outcome, key=["passed", "skipped", "failed"].index)
                row[one] = worst


def table(rows: dict, figures: dict) -> str:
    """As Markdown. What has figures and no test with the mark has a row, too."""
    columns = [*WHAT, *MEASURED]
    lines = [f"| connector | tested against | {' | '.join(columns)} |", "|---|---|" + "---|" * len(columns)]
    signs = {"passed": "yes", "failed": "**no**", "skipped": "not run here", None: ""}
    of_row: dict[tuple[str, str], dict[str, dict]] = defaultdict(dict)
    for name, one in figures.items():
        node = name.partition(" ")[0]
        fits = (key for key in rows if node in key[0].split(", ") and one["peer"] in key[1])
        of_row[next(fits, (node, one["peer"]))][node] = one
    for node, peer in sorted({*rows, *of_row}):
        row = rows.get((node, peer), {})
        cells = [*(signs[row.get(what)] for what in WHAT), *measured(of_row.get((node, peer), {}))]
        for at, what in enumerate(columns):
            if not cells[at] and {*node.split(", ")} <= {*NEVER.get(what, "").split()}:
                cells[at] = "–"
        lines.append(f"| `{node}` | {peer} | {' | '.join(cells)} |".replace(", ", "`, `", node.count(", ")))
    return "\n".join(lines) + "\n"


def measured(figures: dict[str, dict]) -> list[str]:
    """The cells of what was measured, empty where it was not; of several node types each, where they are not the same.

    Args:
        figures: node type -> its figures.
    """
    of_each = {node.rpartition("-")[2]: measured_of(one) for node, one in sorted(figures.items())}
    cells = []
    for number in range(len(MEASURED)):
        texts = {node: of_one[number] for node, of_one in of_each.items() if of_one[number]}
        is_same = len(set(texts.values())) <= 1 and len(texts) == len(of_each)
        cells.append(next(iter(texts.values()), "") if is_same else "; ".join(f"{n}: {t}" for n, t in texts.items()))
    return cells


def measured_of(figures: dict) -> list[str]:
    """The same of one."""
    rate_hz, away = figures.get("rate_hz"), figures.get("away")
    rate = f"{rate_hz:,.0f}" if rate_hz else ""
    if away is None:
        return [rate, "", ""]
    minutes = "10 minutes" if away["away_s"] >= 600 else f"{away['away_s']:g} s"
    lost = {None: "", 0: ", nothing lost"}.get(away["lost"], f", **{away['lost']} lost**")
    return [rate, f"{away['back_s']:g} s", f"{minutes}{lost}"]


def ticked(page: str) -> dict[tuple[str, str], dict]:
    """The rows of the table as it is, without the figures."""
    rows = {}
    for line in page.partition(BEGIN)[2].splitlines():
        if line.startswith("| `"):
            node, peer, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            named = {what: "passed" for what, cell in zip(WHAT, cells, strict=False) if cell == "yes"}
            if named:
                rows[node.replace("`", ""), peer] = named
    return rows


def main() -> int:
    """Run, and write the page."""
    gather = Gather()
    if sys.argv[1:] == ["--figures"]:
        return write(table(ticked(PAGE.read_text()), json.loads(FIGURES.read_text())))
    options = [one for one in sys.argv[1:] if one != "--only"]
    status = pytest.main(["-q", "-p", "no:cacheprovider", str(ROOT / "tests/nodes"), *options], plugins=[gather])
    rows = gather.rows
    if "--only" in sys.argv:
        there = ticked(PAGE.read_text())
        rows = {key: there.get(key, {}) | rows.get(key, {}) for key in {*there, *rows}}
    made = table(rows, json.loads(FIGURES.read_text()))
    if options and "--only" not in sys.argv:
        print(made)
        return int(status)
    write(made)
    return int(status)


def write(made: str) -> int:
    """Put the table into the page."""
    text = PAGE.read_text()
    PAGE.write_text(re.sub(f"(?s){BEGIN}.*{END}", lambda _: f"{BEGIN}\n{made}\n{END}", text))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
