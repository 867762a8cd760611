"""A flow file as text: read strictly, and able to say on which line a value stands.

Python's own reader takes NaN, duplicate keys and numbers that no wire can carry; here each is a fault with its place.
Reading is done by the C scanner in one go. Lines are looked up only when there is something to report, and then only
the containers on the way to it are scanned, so that a good file costs nothing more than reading it.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from flowcore.flow.problems import escape

MAX_BYTES = 7_500_000
"""Largest flow file: the bus carries frames of 8 MB."""
MAX_DEPTH = 64
"""Deepest nesting of lists and maps."""

_SPACE = re.compile(r"[ \t\r\n]*")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")


class SourceError(ValueError):
    """The text is no JSON at all. `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        super().__init__(message)


class _Unfit:
    """What stands in the value for a number that JSON or the bus does not have."""

    def __init__(self, why: str) -> None:
        self.why = why


class Source:
    """The text of a flow file and the value it holds.

    `faults` are `(pointer, message, is about the key)` of things that could be read past: duplicate keys, NaN, numbers
    too large, half characters; an unfit number reads as 0.
    """

    def __init__(self, text: str | bytes) -> None:
        """Read a text.

        Raises:
            SourceError: it is not UTF-8, not JSON, too large or nested too deep.
        """
        self.text = decoded(text)
        self._children: dict[int, dict[str, tuple[int, int]]] = {}
        self._breaks: list[int] | None = None
        self._faulty = False
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._map,
            parse_constant=self._constant,
            parse_float=self._float,
            parse_int=self._int,
        )
        self.value = self._read()
        self.faults: list[tuple[str, str, bool]] = []
        if self._faulty or (_ESCAPED_HALF.search(self.text) and not _encodable(self.value)):
            self.faults = list(self._find_faults())
        if self._faulty:
            self.value = json.loads(self.text, parse_constant=lambda name: 0, parse_float=_tame, parse_int=_tame)

    def line(self, pointer: str, at_key: bool = False) -> int:
        """The line (from 1) of the value at this pointer or of its key; of the nearest part above if not there."""
        offset = key_offset = self._skip(0)
        for step in pointer.split("/")[1:]:
            places = self._places(offset) if self.text[offset : offset + 1] in ("{", "[") else {}
            if step not in places:
                return self._line_at(offset)
            key_offset, offset = places[step]
        return self._line_at(key_offset if at_key else offset)

    def _read(self) -> Any:
        if not self.text.strip():
            raise SourceError(1, "the file is empty")
        try:
            value = self._decoder.decode(self.text)
        except json.JSONDecodeError as error:
            raise self._syntax_error(error) from None
        except RecursionError:
            raise self._too_deep() from None
        level, depth = [value], 0
        while level := [one for one in level if isinstance(one, dict | list)]:
            depth += 1
            if depth > MAX_DEPTH:
                raise self._too_deep()
            level = [one for inner in level for one in (inner.values() if isinstance(inner, dict) else inner)]
        return value

    # The scanner's hooks: they only notice; `_find_faults` says where.

    def _map(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            self._faulty = True
        return found

    def _constant(self, name: str) -> _Unfit:
        self._faulty = True
        return _Unfit(f"{name} is not JSON: write a number or null")

    def _float(self, digits: str) -> float | _Unfit:
        value = float(digits)
        if math.isfinite(value):
            return value
        self._faulty = True
        return _Unfit(f"{digits[:20]} is too large a number")

    def _int(self, digits: str) -> int | _Unfit:
        if len(digits) < 19 or (len(digits) < 21 and -(2**63) <= int(digits) < 2**64):
            return int(digits)
        self._faulty = True
        return _Unfit(f"{digits[:20]}{'...' * (len(digits) > 20)} is too large a number: whole numbers have 64 bits")

    def _find_faults(self) -> Iterator[tuple[str, str, bool]]:
        """Walk the whole text for what the hooks noticed, and for halves of surrogate pairs."""
        waiting = [("", self._skip(0))]
        while waiting:
            pointer, offset = waiting.pop()
            if self.text[offset] in "{[":
                first_line: dict[str, int] = {}
                inner = []
                for step, key_offset, value_offset in self._scan(offset):
                    place = f"{pointer}/{step}"
                    if step in first_line:
                        twice = f"the key '{step}' is there twice, first on line {first_line[step]}; remove one"
                        yield place, twice, True
                    first_line.setdefault(step, self._line_at(key_offset))
                    inner.append((place, value_offset))
                waiting.extend(reversed(inner))
                continue
            value, _ = self._decoder.raw_decode(self.text, offset)
            if isinstance(value, _Unfit):
                yield pointer, value.why, False
            elif isinstance(value, str) and _SURROGATE.search(value):
                yield pointer, "half a character: a \\ud8.. escape without its second half", False

    # Places: offsets of keys and values inside one container, found by skipping over its values at C speed.

    def _places(self, offset: int) -> dict[str, tuple[int, int]]:
        if offset not in self._children:
            self._children[offset] = {step: (key, value) for step, key, value in self._scan(offset)}
        return self._children[offset]

    def _scan(self, offset: int) -> Iterator[tuple[str, int, int]]:
        """Step, offset of the key and offset of the value of everything in the container that opens at `offset`."""
        text, is_map = self.text, self.text[offset] == "{"
        at, index = self._skip(offset + 1), 0
        while text[at] not in "}]":
            key_offset, step = at, str(index)
            if is_map:
                key, at = scanstring(text, at + 1, True)
                step = escape(key)
                at = self._skip(self._skip(at) + 1)  # the colon
            yield step, key_offset, at
            _, at = self._decoder.raw_decode(text, at)
            at = self._skip(at)
            if text[at] == ",":
                at = self._skip(at + 1)
            index += 1

    def _skip(self, offset: int) -> int:
        match = _SPACE.match(self.text, offset)
        return match.end() if match else offset

    def _line_at(self, offset: int) -> int:
        if self._breaks is None:
            self._breaks = [match.start() for match in re.finditer("\n", self.text)]
        return bisect_right(self._breaks, offset - 1) + 1

    # Errors of the text itself

    def _too_deep(self) -> SourceError:
        depth = 0
        for match in _TOKEN.finditer(self.text):
            depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(match.group(), 0)
            if depth > MAX_DEPTH:
                return SourceError(self._line_at(match.start()), f"nested deeper than {MAX_DEPTH} levels")
        return SourceError(1, f"nested deeper than {MAX_DEPTH} levels")

    def _syntax_error(self, error: json.JSONDecodeError) -> SourceError:
        """What the reader stumbled over, in words that say what to do."""
        text, at = self.text, error.pos
        here, before = text[at : at + 1], text[:at].rstrip()
        after = text[at + 1 :].lstrip()[:1] if here == "," else here
        if after in ("}", "]") and (here == "," or before.endswith(",")):
            at, why = (at if here == "," else len(before) - 1), f"a comma before '{after}' is one too many"
        elif not here and not error.msg.startswith("Unterminated"):
            at, why = max(len(before) - 1, 0), "the text ends too early: a '}' or ']' is missing"
        elif here in ("/", "#"):
            why = 'JSON has no comments: write them as "note" or "description"'
        elif here == "'":
            why = "text stands in double quotes"
        elif word := re.match(r"True|False|None|undefined", text[at : at + 10]):
            why = f"'{word.group()}' is not JSON: write true, false or null"
        elif here in ("}", "]") and error.msg.startswith("Expecting ','"):
            why = f"'{here}' does not close what is open here"
        elif error.msg.startswith("Expecting ',' delimiter"):
            at, why = len(before) - 1, "a comma is missing after this"
        elif error.msg.startswith("Expecting property name"):
            why = "a key in double quotes is missing here"
        elif error.msg.startswith("Expecting ':'"):
            why = "a colon is missing after the key"
        elif error.msg.startswith("Unterminated"):
            why = "text that begins here has no closing quote"
        elif error.msg.startswith("Invalid control"):
            why = "a line break or tab inside a text: write \\n or \\t"
        elif error.msg.startswith("Invalid \\"):
            why = "a backslash inside a text is written \\\\"
        elif error.msg.startswith("Extra data"):
            why = "more text after the end of the flow: a file holds one flow"
        else:
            why = "a value is missing here"
        column = at - text.rfind("\n", 0, at)
        return SourceError(self._line_at(at), f"not JSON, column {column}: {why}")


def _encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False, default=lambda unfit: None).encode()
    except UnicodeEncodeError:
        return False
    return True


def _tame(digits: str) -> int | float:
    """A number, or 0 where it does not fit: its fault is told already."""
    whole = digits.lstrip("-").isdigit()
    if whole and len(digits) > 20:
        return 0
    value: int | float = int(digits) if whole else float(digits)
    return value if math.isfinite(value) else 0


def decoded(text: str | bytes) -> str:
    """The text of a file's bytes, without a byte order mark.

    Raises:
        SourceError: it is not UTF-8, or too large; names the line.
    """
    if len(text) > MAX_BYTES:
        raise SourceError(1, f"{len(text) / 1e6:.1f} MB is too large: a flow has at most {MAX_BYTES / 1e6:.1f} MB")
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SourceError(1, "the file is UTF-16; save it as UTF-8")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise SourceError(line, f"the byte 0x{text[error.start]:02x} is not UTF-8; save the file as UTF-8") from None
