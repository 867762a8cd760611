"""`flowcore remove FLOW`: take a flow away."""

from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json


def remove(flow: Annotated[str, typer.Argument(metavar="FLOW")], data: Data = DATA, json: Json = False) -> None:
    """Stop a flow and take it out; its revisions stay, and `flowcore rollback` brings it back."""
    from flowcore.cli import link, out
    from flowcore.cli.summary import summary

    done = link.ask(data, "remove", timeout=120, flow=flow)
    out.result(summary(done), json, **done)
