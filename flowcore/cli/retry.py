"""`flowcore retry`: give messages that were given up to their nodes again."""

from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json

_AT_ONCE = 200  # so that no question takes long


def retry(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...")] = None,
    of: Annotated[
        str | None, typer.Option("--of", metavar="FLOW[.NODE]", help="All of a flow or of a node, instead of ids.")
    ] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Remove them without trying.")] = False,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Give messages that were given up to their nodes again; one that fails again gets a new id."""
    from flowcore.cli import link, out

    if bool(ids) == bool(of):
        raise out.Misused("name ids, or a flow or node with --of", "For example: flowcore retry --of factory.clean")
    wrong = next((one for one in ids or () if not one.isdecimal()), None)
    if wrong is not None:
        raise out.Misused(f"{wrong!r} is no id of a message", "List them: flowcore errors")
    done: dict = {"retried": [], "forgotten": [], "refused": {}}
    if ids:
        numbers = list(map(int, ids))
        for start in range(0, len(numbers), _AT_ONCE):
            _add(done, link.ask(data, "retry", timeout=120, ids=numbers[start : start + _AT_ONCE], forget=forget))
    else:
        flow, node = link.split_target(of or "")
        # Those that fail again come back behind the ones there now: so take the ids first.
        todo = [each["id"] for each in _all(data, flow, node)]
        for start in range(0, len(todo), _AT_ONCE):
            _add(done, link.ask(data, "retry", timeout=120, ids=todo[start : start + _AT_ONCE], forget=forget))
    count = len(done["forgotten"] if forget else done["retried"])
    what = "forgotten" if forget else "given to their nodes again"
    lines = [f"{count} {'message' if count == 1 else 'messages'} {what}"]
    lines += [f"  {id_}: {why}" for id_, why in list(done["refused"].items())[:20]]
    out.result("\n".join(lines), json, **done)
    if done["refused"]:
        raise typer.Exit(1)


def _all(data: Data, flow: str, node: str | None) -> list[dict]:
    from flowcore.cli import link

    found: list[dict] = []
    while True:
        after = found[-1]["id"] if found else 0
        page = link.ask(data, "errors", flow=flow, node=node, after=after, limit=_AT_ONCE)["errors"]
        found += page
        if len(page) < _AT_ONCE:
            return found


def _add(done: dict, answer: dict) -> None:
    done["retried"] += answer["retried"]
    done["forgotten"] += answer["forgotten"]
    done["refused"] |= answer["refused"]
