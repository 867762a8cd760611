"""`flowcore url`: an address that lets a browser into the editor."""

from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json


def url(
    token: Annotated[
        bool, typer.Option("--token", help="Only a token for programs: Authorization: Bearer TOKEN.")
    ] = False,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="With --token: one that reads /metrics and nothing else, for ten years.")
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Print a fresh address of the editor; it lets a browser in for a quarter of an hour."""
    from flowcore.cli import link, out
    from flowcore.gateway.sessions import SESSION_S, Sessions

    where = link.editor_url(data)
    sessions = Sessions(data)
    if token or metrics:
        made = sessions.token("metrics", 3650 * 86_400) if metrics else sessions.token("session", SESSION_S)
        out.result(made, json, url=where, token=made)
        return
    from flowcore.gateway.process import start_url

    start = start_url(data, where)
    out.result(start, json, url=where, start_url=start)
    if open_:
        import webbrowser

        webbrowser.open(start)
