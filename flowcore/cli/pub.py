"""`flowcore pub SUBJECT JSON`: publish a value."""

from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json
from flowcore.cli.sub import Ca, Url

_PATIENCE_S = 0.5  # a node that is busy or paused handles it later


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
    from flowcore.client.message import Address

    async def run() -> bool:
        async with connect(url or data, ca=ca, name="flowcore pub") as client:
            if Address.of(subject).kind == "in":
                return await client.deliver(subject, from_jsonable(payload), topic=topic, timeout=_PATIENCE_S)
            await client.publish(subject, from_jsonable(payload), topic=topic)
            return False

    payload = parsed(value)
    with link.explained(data):
        try:
            handled = asyncio.run(run())
        except LookupError as e:
            raise out.Failed(str(e), "See what runs: flowcore status") from None
        except TimeoutError as e:
            raise out.Failed(str(e), "Try again: flowcore status") from None
        except (TypeError, ValueError) as e:
            raise out.Misused(str(e), "See: flowcore pub --help") from None
    text = f"handled by {subject}" if handled else f"published on {subject}"
    out.result(text, json, subject=subject, handled=handled)
