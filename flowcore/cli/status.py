"""`flowcore status [FLOW[.NODE]]`: what runs."""

from typing import Annotated, Any

import typer

from flowcore.cli.options import DATA, Data, Json


def status(
    target: Annotated[str | None, typer.Argument(metavar="[FLOW[.NODE]]")] = None,
    live: Annotated[bool, typer.Option("--live", help="Go on showing it, each second.")] = False,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="With --live: how often.")] = 1.0,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Show the runtime, its flows and their nodes: state, rate, queue, drops, p50, CPU, memory."""
    from flowcore.cli import link, out
    from flowcore.cli.live import draw, head

    flow, node = link.split_target(target) if target else (None, None)
    if live:
        _live(flow, node, every, data, json)
        return
    now = _only(link.ask(data, "status", flow=flow), node)
    if json:
        out.line(now)
        return
    out.show(head(now))
    if not now["flows"]:
        out.show("no flow is deployed; deploy one: flowcore deploy flows/factory.json")
        return
    for each in now["flows"]:
        out.show(f"\n{each['flow']} ({each['name'] or 'no name'}): {each['wanted']}, revision {each['revision']}")
        if each["nodes"]:
            out.show(draw({**now, "flows": [each]}))


def _only(now: dict[str, Any], node: str | None) -> dict[str, Any]:
    """What a status says of one node and its replicas.

    Raises:
        Failed: the flow has no such node.
    """
    if node is None:
        return now
    [flow] = now["flows"]
    chosen = [one for one in flow["nodes"] if node in (one["node"], one["process"])]
    if not chosen:
        from flowcore.cli.out import Failed

        there = ", ".join(sorted({one["node"] for one in flow["nodes"]})) or "none"
        raise Failed(f"flow {flow['flow']!r} runs no node {node!r} (it runs: {there})", code="unknown_node")
    return {**now, "flows": [{**flow, "nodes": chosen}]}


def _live(flow: str | None, node: str | None, every: float, data: Data, json: bool) -> None:
    import asyncio
    import contextlib

    from flowcore.cli import link, out
    from flowcore.cli.live import show
    from flowcore.client import Client

    async def run(client: Client) -> None:
        async def look() -> dict[str, Any]:
            return _only(await client.call("status", flow=flow), node)

        while json:
            out.line(await look())
            await asyncio.sleep(every)
        await show(look, every)

    with contextlib.suppress(KeyboardInterrupt):
        link.talk(data, run)
