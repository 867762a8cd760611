"""`flowcore logs`: the log of the runtime and of what nodes print."""

from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json


def logs(
    target: Annotated[str | None, typer.Argument(metavar="[FLOW[.NODE]]")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is written from now on.")] = False,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="No older than this: 90s, 10m, 2h, 1d.")] = None,
    level: Annotated[str, typer.Option(help="This or worse: debug, info, warning, error, critical.")] = "info",
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="At most so many of the newest.")] = 200,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Show the log; reads the data folder, so it works when the runtime has died, too."""
    import contextlib
    import time

    from flowcore.cli import link, out
    from flowcore.cli.values import seconds_ago
    from flowcore.runtime import logfile

    flow, node = link.split_target(target) if target else (None, None)
    if level not in logfile.LEVELS:
        raise out.Misused(f"no level {level!r}", f"One of: {', '.join(logfile.LEVELS)}")
    folder = data / "logs"
    if not folder.is_dir():
        raise out.Failed(f"no log in {data.resolve()}", f"Start a runtime: flowcore up --data {data}")
    wanted = logfile.LogFilter(flow, node, level, time.time() - seconds_ago(since) if since else 0.0)
    show = out.line if json else lambda entry: out.show(logfile.text(entry))
    found = logfile.newest(folder, wanted, lines) if lines else []
    for entry in found:
        show(entry)
    if not found and not follow:
        out.note(f"nothing in the log of {target}" if target else "nothing in the log")
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            for entry in logfile.follow(folder, wanted):
                show(entry)
