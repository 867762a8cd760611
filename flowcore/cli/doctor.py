"""`flowcore doctor`: is this machine fit for flowcore, and what to do where it is not."""

from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json


def doctor(
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the sandbox, which is tried with real attacks.")
    ] = False,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Check this machine: Python, bus, ports, shared memory, limits, disk, sandbox, libraries. Says what to do."""
    from flowcore.cli import out
    from flowcore.cli.checks import all_checks

    found = [check for checks in all_checks(data, quick) for check in checks]
    worst = "fail" if any(each.state == "fail" for each in found) else "ok"
    if json:
        out.line({"state": worst, "checks": [each.asdict() for each in found]})
    else:
        marks = {"ok": "ok", "warn": "note", "fail": "FAIL"}
        width = max(len(each.name) for each in found)
        for each in found:
            out.show(f"{marks[each.state]:<5} {each.name:<{width}}  {each.found}")
            if each.do:
                out.show(f"{'':<{width + 8}}{each.do}")
        count = sum(each.state == "fail" for each in found)
        out.show("fit for flowcore" if worst == "ok" else f"{count} to put right before flowcore runs well")
    if worst == "fail":
        raise typer.Exit(1)
