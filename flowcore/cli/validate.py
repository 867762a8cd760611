"""`flowcore validate FILE...`: check flow files without a runtime."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flowcore.cli.options import DATA, Data, Json


def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...")], data: Data = DATA, json: Json = False
) -> None:
    """Check flow files, and test files, with the node types installed here; needs no runtime and changes nothing."""
    import os

    from flowcore.cli import out
    from flowcore.cli.files import read_flow_file
    from flowcore.cli.types import installed_types
    from flowcore.flow.validate import check
    from flowcore.runtime.upgrades import upgrade_here
    from flowcore.testing.names import is_tests

    types, troubles = installed_types(data)
    secrets = _secret_names(data)
    results: list[dict[str, Any]] = []
    upgrade = upgrade_here(types)
    texts = {file: read_flow_file(file) for file in files if not is_tests(file)}
    documents = {
        file: check(text, str(file), types, os.environ, secrets, upgrade=upgrade).document
        for file, text in texts.items()
    }
    for file, text in texts.items():
        others = [document for other, document in documents.items() if other != file and document is not None]
        checked = check(text, str(file), types, os.environ, secrets, others, upgrade=upgrade)
        errors = len(checked.errors)
        results.append(
            {
                "file": str(file),
                "flow": checked.document.id if checked.document is not None else None,
                "valid": errors == 0,
                "errors": errors,
                "problems": [str(problem) for problem in checked.problems],
                "notes": list(checked.resolved.notes) if checked.resolved is not None else [],
            }
        )
    results += [_of_tests(file, types) for file in files if is_tests(file)]
    valid = all(each["valid"] for each in results)
    if json:
        out.line({"valid": valid, "files": results, "plugin_problems": troubles})
    else:
        for text in troubles:
            out.note(text)
        for each in results:
            for problem in each["problems"]:
                out.note(problem)
            for note in each["notes"]:
                out.note(f"{each['file']}: {note}")
            count = "1 error" if each["errors"] == 1 else f"{each['errors']} errors"
            (out.show if each["valid"] else out.note)(f"{each['file']}: {'valid' if each['valid'] else count}")
    if not valid:
        raise typer.Exit(1)


def _of_tests(file: Path, types: Any) -> dict[str, Any]:
    from flowcore.cli.files import read_flow_file
    from flowcore.testing.check import check_file

    read_flow_file(file)  # it says better what is wrong with a file that cannot be read
    checked = check_file(file, types)
    return {
        "file": str(file),
        "flow": None,
        "valid": not checked.errors,
        "errors": len(checked.errors),
        "problems": [str(problem) for problem in checked.problems],
        "notes": [],
    }


def _secret_names(data: Path) -> set[str] | None:
    """The names in the data folder's store; None, which checks no reference, where there is no folder."""
    if not data.exists():
        return None
    from flowcore.bus.secrets import SecretStore

    return set(SecretStore(data).names())
