"""`flowcore history FLOW`, `diff`, `rollback`: the revisions of a flow, what changed, and back to one."""

from pathlib import Path
from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json

Flow = Annotated[str, typer.Argument(metavar="FLOW")]


def history(flow: Flow, data: Data = DATA, json: Json = False) -> None:
    """List the revisions of a flow that are kept, newest first."""
    from datetime import datetime

    from flowcore.cli import link, out

    kept = link.ask(data, "revisions", flow=flow)["revisions"][::-1]
    rows = [
        (
            each["revision"],
            datetime.fromtimestamp(each["created_ns"] / 1e9).astimezone().isoformat(" ", "seconds"),
            "removed" if each["deleted"] else each["source"],
        )
        for each in kept
    ]
    out.result(out.table(("revision", "deployed", "from"), rows, right=("revision",)), json, revisions=kept)


def diff(
    flow: Flow,
    old: Annotated[int | None, typer.Argument(help="A revision; the one before the newest when left out.")] = None,
    new: Annotated[int | None, typer.Argument(help="A revision; the newest when left out.")] = None,
    file: Annotated[Path | None, typer.Option(help="Compare with this file instead of a revision.")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Show what changed between two revisions, and which nodes it touches."""
    from flowcore.cli import link, out
    from flowcore.cli.files import read_flow_file

    document = read_flow_file(file) if file is not None else None
    shown = link.ask(data, "diff", flow=flow, old=old, new=new, document=document)
    out.result(_words(shown), json, **shown)


def _words(shown: dict) -> str:
    if shown["same"]:
        return f"{shown['flow']}: no difference"
    touched = [
        f"{kind}: {', '.join(shown[kind])}"
        for kind in ("started", "restarted", "reconfigured", "rewired", "stopped", "wires_added", "wires_closed")
        if shown[kind]
    ]
    return "\n".join([shown["text"].rstrip("\n"), "", *(touched or ["no node is touched"])])


def rollback(
    flow: Flow,
    revision: Annotated[int | None, typer.Argument(help="The one before the newest when left out.")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Run an earlier revision of a flow again; it becomes a new revision."""
    from flowcore.cli import link, out
    from flowcore.cli.summary import summary

    done = link.ask(data, "rollback", timeout=120, flow=flow, revision=revision)
    out.result(summary(done), json, **done)
    if done["failed"]:
        raise typer.Exit(1)
