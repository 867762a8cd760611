"""Flow files on disk, and which revision each was based on.

The data folder's `bases.json` remembers, for each file, the revision it was last the same as: written by a deploy of
the file and by the write-back. The next deploy names it, so that what someone else deployed in between is not
overwritten.
"""

import json
import os
from pathlib import Path
from typing import Any

from flowcore.cli.out import Failed, Misused
from flowcore.flow.source import SourceError, decoded
from flowcore.testing.names import is_tests

_BASES = "bases.json"
MAX_BYTES = 8 * 1024 * 1024


def read_flow_file(path: Path) -> str:
    """The text of a flow file.

    Raises:
        Failed: not readable, not UTF-8, or larger than the bus takes.
    """
    try:
        if path.is_dir():
            raise Misused(f"{path} is a folder", f"Name its files: {path}/*.json")
        if path.stat().st_size > MAX_BYTES:
            raise Failed(f"{path} has {path.stat().st_size} bytes", f"A flow file has at most {MAX_BYTES}.")
        return decoded(path.read_bytes())
    except FileNotFoundError:
        raise Failed(f"{path}: no such file", "Give the path of a flow file, for example flows/factory.json") from None
    except SourceError as e:
        raise Failed(f"{path}:{e.line}: {e}", "A flow file is JSON in UTF-8.") from None
    except OSError as e:
        raise Failed(f"{path}: {e.strerror}", "See that it can be read.") from None


def without_tests(files: list[Path]) -> list[Path]:
    """Of files that a pattern such as flows/*.json gave, those that hold flows and not their tests.

    Raises:
        Misused: they all hold tests.
    """
    flows = [file for file in files if not is_tests(file)]
    if files and not flows:
        raise Misused(f"{files[0]} holds the tests of a flow", f"Run them: flowcore test {files[0]}")
    return flows


def flow_id(text: str) -> str | None:
    """The flow id in a file's text, None where it cannot be read: the deploy will say why."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    found = value.get("id") if isinstance(value, dict) else None
    return found if isinstance(found, str) else None


def base_of(data: Path, file: Path, flow: str) -> int | None:
    """The revision that `file` was last the same as; None when it was never deployed from here."""
    entry = _read(data).get(str(file.resolve()))
    return entry["revision"] if isinstance(entry, dict) and entry.get("flow") == flow else None


def remember_base(data: Path, file: Path, flow: str, revision: int) -> None:
    """`file` is now the same as this revision."""
    bases = _read(data)
    bases[str(file.resolve())] = {"flow": flow, "revision": revision}
    part = data / f"{_BASES}.{os.getpid()}.part"
    part.write_text(json.dumps(bases, indent=1))
    part.replace(data / _BASES)


def _read(data: Path) -> dict[str, Any]:
    try:
        value = json.loads((data / _BASES).read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
