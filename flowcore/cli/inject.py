"""`flowcore inject FLOW.NODE [JSON]`: put a message into a node, or press a source's button."""

from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json


def inject(
    target: Annotated[str, typer.Argument(metavar="FLOW.NODE[.PORT]")],
    payload: Annotated[str, typer.Argument(metavar="[JSON]", help="The payload, as JSON.")] = "null",
    topic: Annotated[str, typer.Option(help="The message's topic.")] = "",
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Put a message into a node's input (the first, when none is named), or press the button of a source."""
    from flowcore.cli import link, out
    from flowcore.cli.values import parsed

    flow, node, port = link.split_port(target)
    link.ask(data, "inject", flow=flow, node=node, port=port, payload=parsed(payload), topic=topic)
    out.result(f"{target}: injected", json, flow=flow, node=node, port=port)
