"""How commands speak: a result for people or as JSON, an error on one line with what to do next, and the exit status.

    Failed   the command was refused or failed: exit status 1
    Misused  the command was given something that makes no sense: exit status 2

Results go to standard output, errors to standard error; with `--json` both are JSON on standard output.
"""

import json as _json
import sys
from collections.abc import Iterable, Sequence
from typing import Any


class Failed(Exception):
    """Ends the command with exit status 1."""

    status = 1

    def __init__(self, message: str, do: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message, self.do, self.details = message, do, details


class Misused(Failed):
    """Ends the command with exit status 2."""

    status = 2


def result(text: Any, json: bool, /, **values: Any) -> None:
    """Print what was done: `text` (a string or something rich draws), or `values` as one line of JSON."""
    if json:
        line(values)
    else:
        show(text)


def line(value: Any) -> None:
    """One line of JSON, written at once."""
    sys.stdout.write(_json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def show(text: Any) -> None:
    """Print text as it is, or draw a rich table as wide as the terminal (as wide as it needs in a pipe)."""
    if isinstance(text, str):
        print(text, flush=True)
        return
    console().print(text)


def console() -> Any:
    """A rich console that does not fold tables at 80 columns when standard output is a pipe."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else 200)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Iterable[str] = ()) -> Any:
    """A plain table; `right` names the columns of numbers."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    numbers = set(right)
    for column in columns:
        made.add_column(
            column, justify="right" if column in numbers else "left", overflow="fold", no_wrap=column in numbers
        )
    for row in rows:
        made.add_row(*("" if cell is None else str(cell) for cell in row))
    return made


def note(text: str) -> None:
    """Something worth knowing that is not the result: to standard error."""
    print(text, file=sys.stderr, flush=True)


def failure(error: Failed, json: bool) -> int:
    """Print an error the way `json` asks and return the exit status."""
    if json:
        line({"error": {"message": error.message, "do": error.do, **error.details}})
    else:
        for problem in error.details.get("problems", ()):
            note(str(problem))
        note(f"{error.message}{_stop(error.message)} {error.do}".rstrip())
    return error.status


def _stop(text: str) -> str:
    return "" if text.endswith((".", "!", "?", ":")) else "."
