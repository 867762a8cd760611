"""`flowcore errors`: messages that nodes gave up."""

from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json


def errors(
    target: Annotated[str | None, typer.Argument(metavar="[FLOW[.NODE]]")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="At most so many.")] = 5000,
    after: Annotated[int, typer.Option(min=0, metavar="ID", help="Only those after this id.")] = 0,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="With the traceback and the message.")] = False,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """List messages that nodes gave up and no catch took; `flowcore retry` gives them to their nodes again."""
    import json as _json
    from datetime import datetime

    from flowcore.cli import link, out

    flow, node = link.split_target(target) if target else (None, None)
    found: list[dict] = []
    total = 0
    while len(found) < limit:  # in pages: a payload may be large, an answer must fit into one frame
        page = min(limit - len(found), 200)
        answer = link.ask(data, "errors", flow=flow, node=node, after=after, limit=page)
        total = answer["total"]
        found += answer["errors"]
        if len(answer["errors"]) < page:
            break
        after = answer["errors"][-1]["id"]
    if json:
        out.line({"total": total, "errors": found})
    elif not found:
        out.show(f"no message of {target} was given up" if target else "no message was given up")
    elif verbose:
        for each in found:
            out.show(f"{each['id']}  {each['flow']}.{each['node']}  {each['error']}: {each['text']}")
            out.show(f"{_json.dumps(each['message'], ensure_ascii=False)}\n{each['traceback'].rstrip()}\n")
    else:
        rows = [
            (
                each["id"],
                datetime.fromtimestamp(each["ts"] / 1e9).strftime("%m-%d %H:%M:%S"),
                f"{each['flow']}.{each['node']}",
                f"{each['error']}: {each['text'][:100]}",
                _short(each["message"]),
            )
            for each in found
        ]
        out.show(out.table(("id", "when", "node", "error", "payload"), rows, right=("id",)))
        if total > len(found):
            out.show(f"{len(found)} of {total}")


def _short(message: dict | None) -> str:
    import json

    text = json.dumps((message or {}).get("payload"), ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
