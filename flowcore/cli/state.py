"""`flowcore state get|put|delete`: what a node keeps in `self.state`."""

from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json

app = typer.Typer(help="What nodes keep in self.state.", no_args_is_help=True)
NodeTarget = Annotated[str, typer.Argument(metavar="FLOW.NODE")]


@app.command("get")
def get(
    target: NodeTarget,
    key: Annotated[str | None, typer.Argument(metavar="[KEY]")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Show a node's stored state as JSON, or one key of it."""
    from flowcore.cli import link, out

    flow, node = link.split_node(target)
    now = link.ask(data, "state.get", flow=flow, node=node, key=key)
    out.line(now if json else now["values"] if key is None else now["values"][key])


@app.command("put")
def put(
    target: NodeTarget,
    key: Annotated[str, typer.Argument(metavar="KEY")],
    value: Annotated[str, typer.Argument(metavar="JSON")],
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Set one key; the node's process is replaced and goes on from there."""
    from flowcore.cli import link, out
    from flowcore.cli.values import parsed

    flow, node = link.split_node(target)
    link.ask(data, "state.put", flow=flow, node=node, key=key, value=parsed(value))
    out.result(f"{target}: {key} set", json, flow=flow, node=node, key=key)


@app.command("delete")
def delete(
    target: NodeTarget,
    key: Annotated[str | None, typer.Argument(metavar="[KEY]")] = None,
    all: Annotated[bool, typer.Option("--all", help="All of it, with a source's position.")] = False,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Delete one key, or everything; the node's process is replaced."""
    from flowcore.cli import link, out

    if (key is None) != all:
        raise out.Misused("name a key, or --all", f"For example: flowcore state delete {target} count")
    flow, node = link.split_node(target)
    link.ask(data, "state.delete", flow=flow, node=node, key=key)
    out.result(f"{target}: {key or 'all'} deleted", json, flow=flow, node=node, key=key)
