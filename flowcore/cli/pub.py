"""`flowcore pub SUBJECT JSON`: publish a value."""

from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json
from flowcore.cli.sub import Ca, Url


def pub(
    subject: Annotated[str, typer.Argument(help="For a node's input: flow.FLOW.NODE.in.PORT.")],
    value: Annotated[str, typer.Argument(metavar="JSON", help="The value; - reads it from standard input.")],
    topic: Annotated[str, typer.Option(help="The message's topic, on a node's input.")] = "",
    url: Url = None,
    ca: Ca = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Publish a value: a message on a node's input, plain JSON on any other subject."""
    import asyncio

    from flowcore.bus.jsonable import from_jsonable
    from flowcore.cli import link, out
    from flowcore.cli.values import parsed
    from flowcore.client import connect

    async def run() -> None:
        async with connect(url or data, ca=ca, name="flowcore pub") as client:
            await client.publish(subject, from_jsonable(payload), topic=topic)

    payload = parsed(value)
    with link.explained(data):
        try:
            asyncio.run(run())
        except TimeoutError as e:
            raise out.Failed(str(e), "Try again: flowcore status") from None
        except (TypeError, ValueError) as e:
            raise out.Misused(str(e), "See: flowcore pub --help") from None
    out.result(f"published on {subject}", json, subject=subject)
