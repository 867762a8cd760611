"""`flowcore upgrade FILE...`: write configs of older versions of their node types as the installed ones want them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowcore.cli.options import DATA, Json

if TYPE_CHECKING:
    from flowcore.flow.types import NodeTypeInfo


def upgrade(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Flow files.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write them without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the difference.")] = False,
    json: Json = False,
) -> None:
    """Bring flow files to the versions of the node types installed here: shows the difference, asks, writes."""
    from flowcore.cli import out
    from flowcore.cli.types import installed_types

    if yes and dry_run:
        raise out.Misused("--yes and --dry-run contradict each other", "Leave one of them out.")
    types, troubles = installed_types(DATA)
    for text in troubles:
        out.note(text)
    done = [_look(file, types) for file in files]  # all of them before the first is written
    changed = [one for one in done if one["difference"]]
    if not json:
        for one in changed:
            for note in one["notes"]:
                out.show(f"{one['file']}: {note}")
            out.show(one["difference"].rstrip("\n"))
    write = bool(changed) and not dry_run and (yes or _wanted(len(changed), json))
    for one in changed if write else ():
        _write(Path(one["file"]), one.pop("text"))
        one["written"] = True
    told = [{name: value for name, value in one.items() if name != "text"} for one in done]
    if json:
        out.line({"files": told})
        return
    for one in done:
        state = "written" if one["written"] else "not written" if one["difference"] else "is up to date"
        out.show(f"{one['file']}: {state}")
    if changed and not write and not dry_run:
        raise typer.Exit(1)


def _look(file: Path, types: "dict[str, NodeTypeInfo]") -> dict[str, Any]:
    """What upgrading a file would make of it.

    Raises:
        Failed: it is no flow, is newer than what is installed, or a type can't upgrade one of its configs.
    """
    import difflib
    import os

    from flowcore.cli.files import read_flow_file
    from flowcore.flow.format import format_flow
    from flowcore.flow.problems import Report
    from flowcore.flow.source import Source, SourceError
    from flowcore.flow.validate import check
    from flowcore.flow.versions import is_newer_format, newer_format, outdated, upgraded
    from flowcore.runtime.upgrades import upgrade_here

    text = read_flow_file(file)
    try:
        source = Source(text)
    except SourceError as e:
        raise _refused(file, [f"{file}:{e.line}: {e}"]) from None
    old, report = source.value, Report()
    if not isinstance(old, dict) or source.faults:
        raise _refused(file, [str(one) for one in check(text, str(file), types, os.environ).problems])
    if is_newer_format(old):
        report.error("/flowcore", newer_format(old))
    new, notes = (old, []) if report.errors else upgraded(old, types, upgrade_here(types), report, disabled=True)
    if report.errors:
        raise _refused(file, [str(one) for one in report.problems(str(file), source.line)])
    before, after = format_flow(old), format_flow(new)
    parts = tuple(part.pointer for _, part in outdated(old, types, disabled=True))
    wrong = [one for one in check(after, str(file), types, os.environ).errors if _stops(one.pointer, parts)]
    if wrong:
        raise _refused(file, [f"{file} {one.pointer}: {one.message}" for one in wrong])
    names = (f"{file} (now)", f"{file} (upgraded)")
    shown = difflib.unified_diff(before.splitlines(True), after.splitlines(True), *names, n=1)
    return {"file": str(file), "notes": notes, "difference": "".join(shown), "written": False, "text": after}


def _stops(pointer: str, parts: tuple[str, ...]) -> bool:
    """Whether an error there is one of versions, or of what was upgraded; others are no business of an upgrade."""
    return pointer.endswith("/version") or pointer.startswith(tuple(f"{part}/" for part in parts))


def _refused(file: Path, problems: list[str]) -> Exception:
    from flowcore.cli.out import Failed

    return Failed(f"{file} cannot be upgraded; nothing was changed", problems=problems)


def _wanted(count: int, json: bool) -> bool:
    """Ask; without somebody to ask, no."""
    import sys

    if json or not sys.stdin.isatty():
        return False
    return typer.confirm("Write it?" if count == 1 else f"Write these {count} files?")


def _write(file: Path, text: str) -> None:
    """In one step: a reader sees the old text or the new one."""
    import shutil

    part = file.with_name(f".{file.name}.part")
    part.write_text(text, encoding="utf-8")
    shutil.copymode(file, part)
    part.replace(file)
