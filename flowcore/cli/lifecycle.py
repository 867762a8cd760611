"""`flowcore start`, `stop`, `restart FLOW[.NODE]`: what should run."""

from typing import Annotated, Any

import typer

from flowcore.cli.options import DATA, Data, Json

Target = Annotated[str, typer.Argument(metavar="FLOW[.NODE]")]


def start(target: Target, data: Data = DATA, json: Json = False) -> None:
    """Run a stopped flow again, or enable a node that was stopped."""
    _change("start", target, data, json)


def stop(target: Target, data: Data = DATA, json: Json = False) -> None:
    """Stop a flow, or one node of it: it stays stopped when the runtime starts again."""
    _change("stop", target, data, json)


def restart(target: Target, data: Data = DATA, json: Json = False) -> None:
    """Replace the processes of a flow or of one node, without loss."""
    from flowcore.cli import link, out

    flow, node = link.split_target(target)
    link.ask(data, "restart", timeout=120, flow=flow, node=node)
    out.result(f"{target}: restarted", json, flow=flow, node=node)


def _change(operation: str, target: str, data: Any, json: bool) -> None:
    from flowcore.cli import link, out
    from flowcore.cli.summary import summary

    flow, node = link.split_target(target)
    done = link.ask(data, operation, timeout=120, flow=flow, node=node)
    out.result(summary(done), json, **done)
    if done["failed"]:
        raise typer.Exit(1)
