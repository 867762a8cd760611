"""`flowcore status [FLOW]`: what runs."""

from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json


def status(
    flow: Annotated[str | None, typer.Argument(metavar="[FLOW]")] = None,
    live: Annotated[bool, typer.Option("--live", help="Go on showing it, each second.")] = False,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="With --live: how often.")] = 1.0,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Show the runtime, its flows and their nodes: state, rate, queue, drops, p50, CPU, memory."""
    from flowcore.cli import link, out
    from flowcore.cli.live import draw, head

    if live:
        _live(flow, every, data, json)
        return
    now = link.ask(data, "status", flow=flow)
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


def _live(flow: str | None, every: float, data: Data, json: bool) -> None:
    import asyncio
    import contextlib

    from flowcore.cli import link, out
    from flowcore.cli.live import show
    from flowcore.client import Client

    async def run(client: Client) -> None:
        while json:
            out.line(await client.call("status", flow=flow))
            await asyncio.sleep(every)
        await show(lambda: client.call("status", flow=flow), every)

    with contextlib.suppress(KeyboardInterrupt):
        link.talk(data, run)
