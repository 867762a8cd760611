"""`flowcore deploy FLOW...`: make flows run as their files say."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flowcore.cli.options import DATA, Data, Json


def deploy(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Flow files.")],
    only: Annotated[
        str | None, typer.Option(metavar="NODE,..", help="Take over only these nodes, and the wires at them.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Remove every flow that is not in these files.")] = False,
    base: Annotated[
        int | None, typer.Option(metavar="REVISION", help="The revision the file is based on; a stale one is refused.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite whatever was deployed in between.")] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait until it runs.")] = 60.0,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Deploy flow files: only what changed restarts. Starts a runtime in the background when none runs."""
    from flowcore.cli import background, link, out
    from flowcore.cli.files import base_of, flow_id, read_flow_file, remember_base, without_tests
    from flowcore.cli.summary import summary

    files = without_tests(files)
    _check_use(files, only, full, base, force)
    texts = [read_flow_file(file) for file in files]
    ids = [flow_id(text) for text in texts]
    started = background.ensure(data)
    if started and not json:
        out.note(f"started a runtime in the background; stop it with: {started}")
    based_on: dict[str, int] = {}
    for file, flow in zip(files, ids, strict=True):
        revision = base if base is not None else base_of(data, file, flow) if flow else None
        if flow and revision is not None and not force:
            based_on[flow] = revision
    request: dict[str, Any] = {
        "documents": [{"document": text, "file": str(file)} for file, text in zip(files, texts, strict=True)],
        "scope": "nodes" if only else "full" if full else "flow",
        "nodes": [name.strip() for name in only.split(",")] if only else [],
        "based_on": based_on,
        "timeout_s": timeout,
    }
    try:
        done = link.ask(data, "deploy", timeout=timeout + 30, **request)["flows"]
    except out.Failed as e:
        raise _explained(e, json) from None
    for file, each in zip(files, done, strict=False):
        if not only:
            remember_base(data, file, each["flow"], each["revision"])
    out.result("\n".join(summary(each) for each in done), json, flows=done, started=bool(started))
    if any(each["failed"] or each["problems"] for each in done):
        raise typer.Exit(1)


def _check_use(files: list[Path], only: str | None, full: bool, base: int | None, force: bool) -> None:
    from flowcore.cli.out import Misused

    if only and (full or len(files) != 1):
        raise Misused("--only takes one file and does not go with --full", "For example: --only hot,average")
    if base is not None and (force or len(files) != 1):
        raise Misused("--base takes one file and does not go with --force", "Leave one of them out.")


def _explained(error: Any, json: bool) -> Any:
    """A stale deploy shows the difference first, then says how to go on."""
    from flowcore.cli import out

    if error.details.get("code") == "stale":
        error.do += ", then deploy again with --force"
        if not json and error.details.get("difference"):
            out.note(error.details["difference"]["text"].rstrip())
    return error
