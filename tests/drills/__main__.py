"""Run drills and print a table: what was done, the figures, and whether what was promised was kept.

    python -m tests.drills [--short] [NAME]...     those with one of the names in theirs; none: all

Exit status 1 when one failed. What a failed one said is printed below the table, its folder is kept.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.drills.catalogue import DRILLS
from tests.drills.drill import Drill, Skipped


def main() -> int:
    """Run, print, and say by the exit status how it went."""
    parser = argparse.ArgumentParser(prog="python -m tests.drills", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="part of a drill's name; none: every drill")
    parser.add_argument("--short", action="store_true", help="the short forms, as `make test` runs them")
    parser.add_argument("--list", action="store_true", help="only list them")
    asked = parser.parse_args()
    chosen = [one for one in DRILLS if not asked.names or any(name in one.name for name in asked.names)]
    console = Console(width=None if sys.stdout.isatty() else 160)
    table = Table(title="Drills", show_lines=True)
    for heading in ("drill", "what was done", "figures", "took", "verdict"):
        table.add_column(heading, overflow="fold", max_width=60)
    if asked.list:
        for drill in chosen:
            console.print(f"{drill.name}: {drill.what}", highlight=False)
        return 0
    details: list[str] = []
    for drill in chosen:
        console.print(f"[dim]{drill.name} ...[/dim]")
        row, detail = _run(drill, is_long=not asked.short)
        console.print(f"  {row[4]}  {row[2]}  ({row[3]})", highlight=False)
        table.add_row(*row)
        if detail:
            details.append(f"{drill.name}: {detail}")
    console.print(table)
    for detail in details:
        console.print(detail, markup=False, highlight=False)
    return 1 if details else 0


def _run(drill: Drill, *, is_long: bool) -> tuple[tuple[str, ...], str]:
    """A row of the table, and what went wrong."""
    folder, began_s = Path(tempfile.mkdtemp(prefix="flowcore-drill-")), time.monotonic()
    detail, shown = "", ""
    try:
        found = asyncio.run(drill.run(folder, is_long=is_long))
        shown, verdict = str(found), "[green]passed[/green]"
        if found.faults:
            detail = "; ".join(found.faults)
    except Skipped as e:
        shown, verdict = str(e), "[yellow]skipped[/yellow]"
    except Exception as e:
        detail = "".join(traceback.format_exception(e))
    if detail:
        verdict = "[red]FAILED[/red]"
        detail += f"\n(kept in {folder})"
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return (drill.name, drill.what, shown, f"{time.monotonic() - began_s:.0f} s", verdict), detail


if __name__ == "__main__":
    sys.exit(main())
