"""CSV text to rows of cells and back, as RFC 4180 has it and as people write it.

An empty cell is None, a quoted empty one is "": they can be told apart. Lines end with CRLF, LF or CR; blank ones are
no rows. A last cell that is empty is not there, as a separator at the end of a line means no further column.

    BadCsv      text that is no CSV, with the line; only when asked to be strict
"""

import re
from typing import Any

Cell = str | None

_LINE_END = re.compile(r"\r\n|\r|\n")
_NO_NUMBER = re.compile(r" *(?:\+|-?0\d)")  # telephone numbers, article numbers: they would lose what they begin with


class BadCsv(ValueError):
    """Not CSV; `str()` says what and in which line."""


def parse(text: str, separator: str, quote: str, *, is_strict: bool = False) -> list[list[Cell]]:
    """All rows of a text.

    Args:
        is_strict: refuse a quote inside a cell without quotes, text behind a closing quote, and a cell that is not
            closed; else they are taken for what was most likely meant.
    Raises:
        BadCsv: when strict.
    """
    if quote not in text:
        return [_trimmed([cell or None for cell in line.split(separator)]) for line in _LINE_END.split(text) if line]
    return _Parser(text, separator, quote, is_strict).rows()


def _trimmed(row: list[Cell]) -> list[Cell]:
    if row and row[-1] is None and len(row) > 1:
        row.pop()
    return row


class _Parser:
    def __init__(self, text: str, separator: str, quote: str, is_strict: bool) -> None:
        self._text, self._separator, self._quote, self._is_strict = text, separator, quote, is_strict
        marks = re.escape(separator) + re.escape(quote)
        self._plain = re.compile(rf"[^{marks}\r\n]+")
        self._inside = re.compile(rf"[^{re.escape(quote)}]+")

    def rows(self) -> list[list[Cell]]:
        text, end, at = self._text, len(self._text), 0
        rows: list[list[Cell]] = []
        row: list[Cell] = []
        while at < end:
            cell, at = self._cell(at)
            row.append(cell)
            if at < end and text[at] == self._separator:
                at += 1
                if at < end:
                    continue
            if row != [None]:
                rows.append(_trimmed(row))
            row = []
            found = _LINE_END.match(text, at)
            at = found.end() if found else at
        return rows

    def _cell(self, at: int) -> tuple[Cell, int]:
        """The cell that begins at `at`, and where its separator or line end is."""
        text, quote = self._text, self._quote
        if not text.startswith(quote, at):
            return self._rest(at, at, [])
        begin, parts = at, []
        at += 1
        while True:
            found = self._inside.match(text, at)
            if found:
                parts.append(found.group())
                at = found.end()
            if at >= len(text):
                if self._is_strict:
                    self._refuse("a cell that is not closed", begin)
                return "".join(parts), at
            if text.startswith(quote, at + 1):
                parts.append(quote)
                at += 2
                continue
            at += 1
            break
        if self._ends(at):
            return "".join(parts), at
        if self._is_strict:
            self._refuse("text behind a closing quote", at)
        parts.append(quote)
        return self._rest(begin, at, parts)

    def _rest(self, begin: int, at: int, parts: list[str]) -> tuple[Cell, int]:
        """What is left of a cell without quotes; a quote in it is kept, two are one, one at its end is not there."""
        text, quote = self._text, self._quote
        while not self._ends(at):
            if text[at] != quote:
                found = self._plain.match(text, at)
                assert found
                parts.append(found.group())
                at = found.end()
                continue
            if self._is_strict:
                self._refuse("a quote inside a cell without quotes", at)
            at += 1
            if not self._ends(at):
                parts.append(quote)
                if text[at] == quote:
                    at += 1
        return "".join(parts) or (None if at == begin else ""), at

    def _ends(self, at: int) -> bool:
        return at >= len(self._text) or self._text[at] in (self._separator, "\r", "\n")

    def _refuse(self, what: str, at: int) -> None:
        line = len(_LINE_END.findall(self._text, 0, at)) + 1
        raise BadCsv(f"{what} in line {line}")


def complete_length(text: str, quote: str) -> int:
    """How much of a text is whole lines: up to behind the last line end that is in no quoted cell."""
    if quote not in text:
        return max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1
    end, is_quoted = 0, False
    for found in re.finditer(rf"{re.escape(quote)}|\r\n|\r(?!\Z)|\n", text):
        if found.group() == quote:
            is_quoted = not is_quoted
        elif not is_quoted:
            end = found.end()
    return end


def skip_lines(text: str, count: int) -> str:
    """A text without its first lines."""
    at = 0
    for _ in range(count):
        found = _LINE_END.search(text, at)
        if found is None:
            return ""
        at = found.end()
    return text[at:]


def number_in(cell: str, number_of: Any) -> Any:
    """The number that a cell is, or the cell: with a plus or a leading zero it stays a text."""
    if _NO_NUMBER.match(cell):
        return cell
    number = number_of(cell)
    return cell if number is None else number


def write_row(cells: list[str], separator: str, quote: str) -> str:
    """A line without its end; cells are quoted where they must be."""
    must = (separator, quote, "\r", "\n")
    return separator.join(
        quote + cell.replace(quote, quote * 2) + quote if any(mark in cell for mark in must) else cell for cell in cells
    )
