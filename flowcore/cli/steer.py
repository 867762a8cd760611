"""`flowcore pause`, `resume`, `bypass`, `disable`, `kill`: steer what runs."""

from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json

Target = Annotated[str, typer.Argument(metavar="FLOW[.NODE]")]
NodeTarget = Annotated[str, typer.Argument(metavar="FLOW.NODE")]
Off = Annotated[bool, typer.Option("--off", help="Undo it.")]


def pause(target: Target, data: Data = DATA, json: Json = False) -> None:
    """Handle nothing more: queues fill and push back."""
    _steer("pause", target, "paused", data, json)


def resume(target: Target, data: Data = DATA, json: Json = False) -> None:
    """Undo `pause`."""
    _steer("resume", target, "goes on", data, json)


def _steer(operation: str, target: str, now: str, data: Data, json: bool) -> None:
    from flowcore.cli import link, out

    flow, node = link.split_target(target)
    link.ask(data, operation, flow=flow, node=node)
    out.result(f"{target}: {now}", json, flow=flow, node=node)


def bypass(target: NodeTarget, off: Off = False, data: Data = DATA, json: Json = False) -> None:
    """Send what comes in straight on, without the node's handler."""
    from flowcore.cli import link, out

    flow, node = link.split_node(target)
    link.ask(data, "bypass", flow=flow, node=node, on=not off)
    out.result(f"{target}: {'handles again' if off else 'bypassed'}", json, flow=flow, node=node, on=not off)


def disable(target: NodeTarget, off: Off = False, data: Data = DATA, json: Json = False) -> None:
    """Disable a node in its flow, as a new revision; its process and its wires go."""
    from flowcore.cli import link, out
    from flowcore.cli.summary import summary

    flow, node = link.split_node(target)
    done = link.ask(data, "disable", timeout=120, flow=flow, node=node, on=not off)
    out.result(summary(done), json, **done)


def kill(target: NodeTarget, data: Data = DATA, json: Json = False) -> None:
    """Kill a node's processes with SIGKILL, as a crash would; they are restarted."""
    from flowcore.cli import link, out

    flow, node = link.split_node(target)
    pids = link.ask(data, "kill", flow=flow, node=node)["pids"]
    out.result(f"{target}: killed {', '.join(map(str, pids)) or 'nothing'}", json, flow=flow, node=node, pids=pids)
