"""`flowcore last FLOW.NODE[.PORT]`: the newest message that a node sent."""

from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json


def last(
    target: Annotated[str, typer.Argument(metavar="FLOW.NODE[.PORT]")], data: Data = DATA, json: Json = False
) -> None:
    """Show the newest message of an output (the first, when none is named)."""
    from flowcore.cli import link, out

    flow, node, port = link.split_port(target)
    message = link.ask(data, "last", flow=flow, node=node, port=port)["message"]
    if message is None and not json:
        out.show(f"{target}: nothing was sent yet")
    else:
        out.line({"message": message} if json else message)
