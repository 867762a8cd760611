"""`flowcore import nodered FILE`: flows of other tools as flow files of ours."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowcore.cli.options import DATA, Data, Json

if TYPE_CHECKING:
    from flowcore.convert.nodered import Imported

app = typer.Typer(help="Turn flows of other tools into flow files.", no_args_is_help=True)

_TITLES = {
    "not turned": "could not be turned; each stands at its place as a disabled node, its JSON in the note",
    "setting": "settings that have no counterpart",
    "differs": "work, but not as they did",
}


@app.callback()
def _group() -> None:
    """A group with one command, so far."""


@app.command("nodered")
def nodered(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An export of Node-RED: its flows.json, or what its menu exports.")
    ],
    to: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", help="A folder, or with one tab a file. Without it: flows/, or here."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Turn a Node-RED export into flow files, one a tab; says what is not as it was and what to use instead."""
    from flowcore.cli import out
    from flowcore.cli.files import read_flow_file
    from flowcore.convert.nodered import NotAnExport, turn
    from flowcore.flow.format import format_flow

    try:
        imported = turn(read_flow_file(file), file.stem)
    except NotAnExport as error:
        raise out.Failed(f"{file} is no Node-RED export: {error}", "Export with Node-RED's menu, as JSON.") from None
    if not imported.flows:
        raise out.Failed(f"{file} holds no tab", "A subflow by itself is no flow: export a tab that uses it.")
    paths = _paths(imported, to)
    if not force and (there := [path for path in paths if path.exists()]):
        raise out.Failed(f"{', '.join(map(str, there))}: there already", "Choose another --out, or --force.")
    for path, document in zip(paths, imported.flows, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(format_flow(document), encoding="utf-8")
    problems = _check(paths)
    written = [
        {"file": str(path), "flow": document["id"], "nodes": len(document["nodes"]), "problems": problems[path]}
        for path, document in zip(paths, imported.flows, strict=True)
    ]
    findings = [finding.asdict() for finding in imported.findings]
    out.result(_text(written, imported), json, flows=written, findings=findings)


def _paths(imported: "Imported", to: Path | None) -> list[Path]:
    """Where each flow is written."""
    from flowcore.cli import out

    if to is None:
        to = Path("flows") if Path("flows").is_dir() else Path()
    if to.suffix == ".json" and not to.is_dir():
        if len(imported.flows) > 1:
            names = ", ".join(document["id"] for document in imported.flows)
            raise out.Misused(f"{to} is one file, and there are {len(imported.flows)} tabs ({names})", "Give a folder.")
        return [to]
    return [to / f"{document['id']}.json" for document in imported.flows]


def _check(paths: list[Path]) -> dict[Path, list[str]]:
    """What `flowcore validate` says of each file."""
    import os

    from flowcore.cli.files import read_flow_file
    from flowcore.cli.types import installed_types
    from flowcore.flow.validate import check

    types, _ = installed_types(DATA)
    texts = {path: read_flow_file(path) for path in paths}
    documents = {path: check(text, str(path), types, os.environ).document for path, text in texts.items()}
    found = {}
    for path, text in texts.items():
        others = [document for other, document in documents.items() if other != path and document is not None]
        found[path] = [str(problem) for problem in check(text, str(path), types, os.environ, None, others).problems]
    return found


def _text(written: list[dict[str, Any]], imported: "Imported") -> str:
    lines = [f"{one['file']}: flow {one['flow']}, {one['nodes']} nodes" for one in written]
    for kind, title in _TITLES.items():
        if findings := [finding for finding in imported.findings if finding.kind == kind]:
            lines += ["", f"{len(findings)} {title}:", *(f"  {finding}" for finding in findings)]
    if problems := [problem for one in written for problem in one["problems"]]:
        lines += ["", "to be mended before a deploy:", *(f"  {problem}" for problem in problems)]
    lines += ["", f"next: flowcore deploy {' '.join(one['file'] for one in written)}"]
    return "\n".join(lines)
