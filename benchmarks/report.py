"""Write a report of `flowcore bench --json` into benchmarks/README.md, as tables.

flowcore bench --json > bench.json && python benchmarks/report.py bench.json
"""

import json
import sys
from pathlib import Path
from typing import Any

from flowcore.bench.figures import Target, shown
from flowcore.bench.session import process_line

_README = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- bench: written by benchmarks/report.py -->", "<!-- bench: end -->"


def main(file: str) -> None:
    """Replace what stands between the two marks."""
    report = json.loads(Path(file).read_text().splitlines()[0])
    before, _, rest = _README.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    if not after:
        sys.exit(f"{_README}: has no lines '{_BEGIN}' and '{_END}' to write between")
    _README.write_text(f"{before}{_BEGIN}\n\n{_text(report)}\n\n{_END}{after}")


def _text(report: dict[str, Any]) -> str:
    on, options = report["machine"], report["options"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    busy = ", ".join(f"{one['name']} {one['cpu']:.0%}" for one in report["surroundings"]["busy"]) or "nothing"
    machine = (
        f"{on['cpu']}, {on['cores']} cores, {on['memory_bytes'] / 2**30:.0f} GiB, {on['system']}, kernel {on['kernel']}"
    )
    runs = f"{options['runs']} runs of {options['seconds']:g} s"
    head = f"{report['when'][:10]}: {machine}; {versions}. {runs}; busy beside it: {busy}."
    return "\n\n".join([head, *map(_part, report["parts"])])


def _part(part: dict[str, Any]) -> str:
    has_tail = any("percentiles" in row for row in part["rows"])
    columns = [part["part"], "median", "min to max", "n", *(["p99", "p99.9"] if has_tail else []), "to reach"]
    lines = [f"| {' | '.join(columns)} |", f"|---|{'---:|' * (len(columns) - 2)}---|"]
    lines += [f"| {' | '.join(_cells(row, has_tail))} |" for row in part["rows"]]
    what = f"{part['what'][0].upper()}{part['what'][1:]}. Processes: {process_line(part['processes'])}."
    return "\n".join([*lines, "", what])


def _cells(row: dict[str, Any], has_tail: bool) -> list[str]:
    spread = f"{shown(row['min'])} to {shown(row['max'])}" if len(row["values"]) > 1 else ""
    cells = [row["name"], f"{shown(row['median'])} {row['unit']}".strip(), spread, str(len(row["values"]))]
    if has_tail:
        tail = row.get("percentiles")
        cells += [shown(tail["p99"]), shown(tail["p99.9"])] if tail else ["", ""]
    target = row.get("target")
    if target is None:
        return [*cells, ""]
    is_ceiling = "at_most" in target
    asked = Target(target["at_most" if is_ceiling else "at_least"], is_ceiling, target["text"])
    return [*cells, f"{asked}: {'reached' if target['reached'] else '**missed**'}"]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
