"""`flowcore context get|put|delete`: values that the nodes of a flow, or of all flows, share."""

from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json

app = typer.Typer(help="Values that nodes share, of a flow or of all flows.", no_args_is_help=True)
Key = Annotated[str, typer.Argument(metavar="KEY")]
Flow = Annotated[
    str | None, typer.Option("--flow", metavar="FLOW", help="Of this flow; without it: what all flows share.")
]


@app.command("get")
def get(
    key: Annotated[str | None, typer.Argument(metavar="[KEY]")] = None,
    flow: Flow = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Show what is shared as JSON, or one key of it."""
    from flowcore.cli import link, out

    now = link.ask(data, "context.get", flow=flow, key=key)
    out.line(now if json else now["values"] if key is None else now["values"][key])


@app.command("put")
def put(
    key: Key,
    value: Annotated[str, typer.Argument(metavar="JSON")],
    flow: Flow = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Set one key; nodes see it at their next look."""
    from flowcore.cli import link, out
    from flowcore.cli.values import parsed

    link.ask(data, "context.put", flow=flow, key=key, value=parsed(value))
    out.result(f"{flow or 'global'}: {key} set", json, flow=flow, key=key)


@app.command("delete")
def delete(key: Key, flow: Flow = None, data: Data = DATA, json: Json = False) -> None:
    """Remove one key."""
    from flowcore.cli import link, out

    link.ask(data, "context.delete", flow=flow, key=key)
    out.result(f"{flow or 'global'}: {key} deleted", json, flow=flow, key=key)
