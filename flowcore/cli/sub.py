"""`flowcore sub SUBJECT`: what goes over the bus, decoded, a line of JSON a message."""

from pathlib import Path
from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json

Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL", envvar="FLOWCORE_URL", help="nats:// or tls:// user:password@host:port, no data folder."
    ),
]
Ca = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Certificates to trust with tls:// (PEM); else those of the system."),
]


def sub(
    subject: Annotated[str, typer.Argument(help="`*` is one token, `>` the rest: 'flow.factory.*.out.>'.")],
    count: Annotated[int | None, typer.Option("-n", "--count", min=1, help="End after so many messages.")] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="End with status 1 when none comes for so long.")
    ] = None,
    url: Url = None,
    ca: Ca = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Print what is published on a subject, a line of JSON a message. Ctrl-C ends it."""
    import asyncio
    import contextlib

    from flowcore.cli import link, out
    from flowcore.client import connect

    async def run() -> None:
        seen = 0
        async with connect(url or data, ca=ca, name="flowcore sub") as client, client.subscribe(subject) as messages:
            while count is None or seen < count:
                try:
                    message = await messages.next(timeout)
                except TimeoutError:
                    raise out.Failed(f"no message on {subject} for {timeout:g} s", "See: flowcore status") from None
                out.line(message.asdict())
                seen += 1

    with contextlib.suppress(KeyboardInterrupt), link.explained(data):
        try:
            asyncio.run(run())
        except ValueError as e:
            raise out.Misused(str(e), "For example: 'flow.factory.*.out.>'") from None
