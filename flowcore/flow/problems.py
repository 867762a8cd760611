"""What is wrong with a flow: where it stands, what is wrong, the nearest right thing.

    FlowError     a flow that can't be used; `.problems` has every reason at once

A check collects into a `Report` by JSON pointer; file and line are put in once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

_SHOWN = 12  # names listed after "it has:"
_SEARCHES = 200  # near names looked for in one report: each costs milliseconds in a flow of thousands of nodes


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a flow. `line` is 0 and `file` the flow's id when it did not come from a file."""

    file: str
    line: int
    pointer: str
    message: str
    severity: str = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        what = self.message if self.severity == "error" else f"{self.severity}: {self.message}"
        return f"{place} {self.pointer}: {what}" if self.pointer else f"{place}: {what}"

    def asdict(self) -> dict[str, Any]:
        """This problem as a plain map."""
        return asdict(self)


class FlowError(Exception):
    """A flow that can't be used, with every problem found in it."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


@dataclass(frozen=True)
class Finding:
    """A problem before its line is known; `at_key`: it is about the key at the pointer, not about the value."""

    pointer: str
    message: str
    severity: str
    at_key: bool


class Report:
    """Collects what is wrong. One finding at one place, such as in each instance of a subflow, counts once."""

    def __init__(self) -> None:
        self._findings: dict[tuple[str, str], Finding] = {}
        self._muted: set[str] = set()
        self._searches = 0
        self.errors = 0

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._findings.values())

    def error(self, pointer: str, message: str, *, at_key: bool = False) -> None:
        """Add something that stops the deploy."""
        if pointer not in self._muted and (pointer, message) not in self._findings:
            self._findings[pointer, message] = Finding(pointer, message, "error", at_key)
            self.errors += 1

    def warning(self, pointer: str, message: str) -> None:
        """Add something that runs, but hardly as it was meant."""
        if pointer not in self._muted:
            self._findings.setdefault((pointer, message), Finding(pointer, message, "warning", False))

    def mute(self, pointer: str) -> None:
        """Take nothing more at this pointer: what follows from a fault already told only hides it."""
        self._muted.add(pointer)

    def near(self, name: str, names: Iterable[str], has: str = "it has") -> str:
        """The end of a message about an unknown name: `; did you mean 'image'? (it has: image, roi)`."""
        known = list(dict.fromkeys(names))
        if not known:
            return f" ({has} none)"
        close: list[str] = []
        if self._searches < _SEARCHES:
            self._searches += 1
            close = get_close_matches(name, known, n=5, cutoff=0.6)
        listed = known if len(known) <= _SHOWN else close or known[:_SHOWN]
        more = f" and {len(known) - len(listed)} more" if len(listed) < len(known) else ""
        tail = f" ({has}: {', '.join(listed)}{more})"
        return f"; did you mean '{close[0]}'?{tail}" if close else tail

    def problems(self, file: str, line_of: Callable[[str, bool], int] | None = None) -> list[Problem]:
        """All findings with file and line, in the order of the file."""
        line_of = line_of or (lambda pointer, at_key: 0)
        found = [
            Problem(file, line_of(one.pointer, one.at_key), one.pointer, one.message, one.severity) for one in self
        ]
        return sorted(found, key=lambda problem: problem.line)


def shown(value: Any, limit: int = 60) -> str:
    """A value as an error shows it: text in quotes, long ones cut."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "{}" if not value else f"a map with {', '.join(list(map(str, value))[:3])}"[:limit]
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 4]}...{text[-1]}"


def escape(key: object) -> str:
    """A key or index as one step of a JSON pointer."""
    return str(key).replace("~", "~0").replace("/", "~1")


def pointer(*steps: object) -> str:
    """A JSON pointer from its steps."""
    return "".join(f"/{escape(step)}" for step in steps)
