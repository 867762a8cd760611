"""Whether a value is what a case expects, and where it differs. Pure.

An expected value is JSON. It is compared as it is, but for patterns: maps whose only `$` key says how to compare.

    {"$any": true}                      whatever there is
    {"$type": "number"}                 number, text, bool, list, map, bytes, null
    {"$about": 20.5, "within": 0.1}     a number, no further away (within: 1e-9 of it, at least)
    {"$above": 80}  {"$below": 5}  {"$between": [1, 5]}     a number; $between has both ends
    {"$regex": "^oven-[0-9]+$"}         a text in which it is found
    {"$has": {"state": "raised"}}       a map with these keys, and others; a list with these entries, and others
    {"$unordered": [1, 2]}              a list of just these, in any order
    {"$length": 3}                      a list, map, text or bytes so long
    {"$one_of": [1, 2]}  {"$not": 3}    one of these; anything else
    {"$bytes": "aGVsbG8="}              bytes, in base64
    {"$tensor": {"shape": [480, 640, 3], "dtype": "uint8"}}     an array, of which this is known
    {"$equals": {"$any": true}}         just this, no pattern
"""

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import regex

from flowcore.bus.jsonable import jsonable
from flowcore.flow.problems import Report, escape, shown

_REGEX_S = 1.0
_LONGEST = 160
_TYPES: dict[str, tuple[type, ...]] = {
    "number": (int, float),
    "text": (str,),
    "bool": (bool,),
    "list": (list, tuple),
    "map": (dict,),
    "bytes": (bytes, bytearray, memoryview),
    "null": (type(None),),
}


def differences(expected: Any, got: Any, at: str = "payload", *, has: bool = False) -> list[str]:
    """Where a value is not what was expected, a line each; none: it is.

    Args:
        at: what the value is called in the lines.
        has: maps may have more keys than expected, at any depth.
    """
    return list(_differences(expected, got, at, has))


def _differences(expected: Any, got: Any, at: str, has: bool) -> Iterator[str]:
    kind = pattern_of(expected)
    if kind is not None:
        yield from _PATTERNS[kind](expected, got, at, has)
    elif isinstance(expected, dict):
        if not isinstance(got, dict):
            yield _line(at, expected, got)
            return
        for key, value in expected.items():
            if key not in got:
                yield f"{at}: no {key!r}, expected {told(value)} (it has: {', '.join(map(str, got)) or 'nothing'})"
            else:
                yield from _differences(value, got[key], f"{at}.{key}", has)
        if not has:
            for key in got:
                if key not in expected:
                    yield f"{at}: has {key!r} too: {told(got[key])}"
    elif isinstance(expected, list):
        if not isinstance(got, (list, tuple)):
            yield _line(at, expected, got)
            return
        if len(expected) != len(got):
            yield f"{at}: expected {len(expected)} entries, got {len(got)}: {told(got)}"
            return
        for index, (one, other) in enumerate(zip(expected, got, strict=True)):
            yield from _differences(one, other, f"{at}[{index}]", has)
    elif not _same(expected, got):
        yield _line(at, expected, got)


def _same(expected: Any, got: Any) -> bool:
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    return bool(type(expected) is type(got) or (_is_number(expected) and _is_number(got))) and expected == got


def pattern_of(expected: Any) -> str | None:
    """The `$` key of a pattern, None where the value is meant as it is."""
    if not isinstance(expected, dict):
        return None
    found = [key for key in expected if isinstance(key, str) and key.startswith("$")]
    return found[0] if len(found) == 1 and found[0] in _PATTERNS else None


def check_patterns(expected: Any, at: str, report: Report) -> None:
    """Report what is wrong with the patterns in an expected value; `at` is its JSON pointer."""
    if isinstance(expected, list):
        for index, one in enumerate(expected):
            check_patterns(one, f"{at}/{index}", report)
    if not isinstance(expected, dict):
        return
    dollar = [key for key in expected if isinstance(key, str) and key.startswith("$")]
    for key in dollar:
        if key not in _PATTERNS:
            report.error(f"{at}/{escape(key)}", f"no pattern '{key}'{report.near(key, _PATTERNS)}", at_key=True)
            return
    if len(dollar) > 1:
        report.error(at, f"one pattern at a time: it has {' and '.join(dollar)}")
        return
    if not dollar:
        for key, value in expected.items():
            check_patterns(value, f"{at}/{escape(key)}", report)
        return
    (name,) = dollar
    others = [key for key in expected if key != name and (name, key) != ("$about", "within")]
    if others:
        report.error(f"{at}/{escape(others[0])}", f"{name} stands alone in its map", at_key=True)
    elif (wrong := _wrong_argument(name, expected)) is not None:
        report.error(f"{at}/{name}", wrong)
    elif name in ("$has", "$unordered", "$one_of", "$not"):
        check_patterns(expected[name], f"{at}/{name}", report)


def _wrong_argument(name: str, expected: dict) -> str | None:
    value = expected[name]
    if name in ("$about", "$above", "$below") and not _is_number(value):
        return f"must be a number, is {shown(value)}"
    if name == "$about" and not (_is_number(expected.get("within", 0)) and expected.get("within", 0) >= 0):
        return f"within must be a number of at least 0, is {shown(expected['within'])}"
    if name == "$between" and not (isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))):
        return f"must be two numbers, is {shown(value)}"
    if name == "$type" and value not in _TYPES:
        return f"must be one of {', '.join(_TYPES)}, is {shown(value)}"
    if name in ("$unordered", "$one_of") and not isinstance(value, list):
        return f"must be a list, is {shown(value)}"
    if name == "$has" and not isinstance(value, (list, dict)):
        return f"must be a map or a list, is {shown(value)}"
    if name == "$length" and (type(value) is not int or value < 0):
        return f"must be a whole number, is {shown(value)}"
    if name == "$bytes":
        try:
            base64.b64decode(value, validate=True)
        except (TypeError, ValueError, binascii.Error):
            return "must be base64 text"
    if name == "$tensor" and not (isinstance(value, dict) and value.keys() <= {"shape", "dtype", "device"}):
        return "must be a map of shape, dtype, device"
    if name == "$regex":
        try:
            regex.compile(value)
        except (TypeError, regex.error) as e:
            return f"no regular expression: {e}"
    return None


def told(value: Any) -> str:
    """A value as a difference shows it."""
    if isinstance(value, (bytes, bytearray)) and len(value) <= 24:
        return repr(bytes(value))
    text = json.dumps(jsonable(value), ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _line(at: str, expected: Any, got: Any) -> str:
    return f"{at}: expected {told(expected)}, got {told(got)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(test: Callable[[Any, Any, dict], bool], words: Callable[[dict], str]) -> Callable[..., Iterator[str]]:
    def compare(expected: dict, got: Any, at: str, has: bool) -> Iterator[str]:
        value = next(value for key, value in expected.items() if key.startswith("$"))
        if not _is_number(got) or not test(got, value, expected):
            yield f"{at}: expected a number {words(expected)}, got {told(got)}"

    return compare


def _about(got: Any, value: Any, expected: dict) -> bool:
    return math.isclose(got, value, rel_tol=1e-9, abs_tol=expected.get("within", 1e-9))


def _about_words(expected: dict) -> str:
    within = f" (within {expected['within']})" if "within" in expected else ""
    return f"about {expected['$about']}{within}"


def _any(expected: dict, got: Any, at: str, has: bool) -> Iterator[str]:
    return iter(())


def _type(expected: dict, got: Any, at: str, has: bool) -> Iterator[str]:
    wanted = expected["$type"]
    if not isinstance(got, _TYPES[wanted]) or (isinstance(got, bool) and wanted == "number"):
        yield f"{at}: expected {wanted}, got {told(got)}"


def _regex(expected: dict, got: Any, at: str, has: bool) -> Iterator[str]:
    try:
        found = isinstance(got, str) and regex.search(expected["$regex"], got, timeout=_REGEX_S)
    except TimeoutError:
        yield f"{at}: {expected['$regex']!r} takes too long on {told(got)}"
        return
    if not found:
        yield f"{at}: expected a text with {expected['$regex']!r}, got {told(got)}"


def _has(expected: dict, got: Any, at: str, has: bool) -> Iterator[str]:
    wanted = expected["$has"]
    if isinstance(wanted, dict):
        yield from _differences(wanted, got, at, True)
    elif not isinstance(got, (list, tuple)):
        yield _line(at, wanted, got)
    else:
        _, missing, _ = _pair(wanted, got, has)
        yield from (f"{at}: no entry {told(one)} in {told(got)}" for one in missing)


def _unordered(expected: dict, got: Any, at: str, has: bool) -> Iterator[str]:
    if not isinstance(got, (list, tuple)):
        yield _line(at, expected["$unordered"], got)
        return
    _, missing, more = _pair(expected["$unordered"], got, has)
    yield from (f"{at}: no entry {told(one)}" for one in missing)
    yield from (f"{at}: has {told(one)} too" for one in more)


def _pair(wanted: list, got: Any, has: bool) -> tuple[int, list, list]:
    """Give each wanted entry one that fits: how many have one, the wanted without, the entries left."""
    chosen = paired([[not any(_differences(one, other, "", has)) for other in got] for one in wanted])
    missing = [one for one, index in zip(wanted, chosen, strict=True) if index is None]
    return len(wanted) - len(missing), missing, [one for index, one in enumerate(got) if index not in chosen]


def paired(fits: list[list[bool]]) -> list[int | None]:
    """For each row a column of its own that fits, for as many rows as can be; None where none is left.

    A row that took the only column of another moves to one that is free (augmenting paths), so that `{"$any": true}`
    before `5` takes nothing away from it.
    """
    owner: dict[int, int] = {}

    def take(row: int, seen: set[int]) -> bool:
        for column, fit in enumerate(fits[row]):
            if fit and column not in seen:
                seen.add(column)
                if column not in owner or take(owner[column], seen):
                    owner[column] = row
                    return True
        return False

    for row in range(len(fits)):
        take(row, set())
    of_row = {row: column for column, row in owner.items()}
    return [of_row.get(row) for row in range(len(fits))]


def _length(expected: dict, got: Any, at: str, has: bool) -> Iterator[str]:
    if not isinstance(got, (str, list, tuple, dict, bytes)) or len(got) != expected["$length"]:
        size = f", which has {len(got)}" if isinstance(got, (str, list, tuple, dict, bytes)) else ""
        yield f"{at}: expected a length of {expected['$length']}, got {told(got)}{size}"


def _one_of(expected: dict, got: Any, at: str, has: bool) -> Iterator[str]:
    if all(any(_differences(one, got, at, has)) for one in expected["$one_of"]):
        yield f"{at}: expected one of {told(expected['$one_of'])}, got {told(got)}"


def _not(expected: dict, got: Any, at: str, has: bool) -> Iterator[str]:
    if not any(_differences(expected["$not"], got, at, has)):
        yield f"{at}: expected anything but {told(expected['$not'])}, got {told(got)}"


def _bytes(expected: dict, got: Any, at: str, has: bool) -> Iterator[str]:
    wanted = base64.b64decode(expected["$bytes"])
    if not isinstance(got, (bytes, bytearray, memoryview)) or bytes(got) != wanted:
        yield f"{at}: expected {told(wanted)}, got {told(got)}"


def _tensor(expected: dict, got: Any, at: str, has: bool) -> Iterator[str]:
    if not hasattr(got, "shape") or not hasattr(got, "dtype"):
        yield f"{at}: expected an array, got {told(got)}"
        return
    for name, wanted in expected["$tensor"].items():
        is_so = list(got.shape) if name == "shape" else str(getattr(got, name, "cpu"))
        yield from _differences(wanted, is_so, f"{at}.{name}", has)


def _equals(expected: dict, got: Any, at: str, has: bool) -> Iterator[str]:
    if expected["$equals"] != got:
        yield _line(at, expected["$equals"], got)


_PATTERNS: dict[str, Callable[[dict, Any, str, bool], Iterator[str]]] = {
    "$any": _any,
    "$type": _type,
    "$about": _number(_about, _about_words),
    "$above": _number(lambda got, value, _: got > value, lambda expected: f"above {expected['$above']}"),
    "$below": _number(lambda got, value, _: got < value, lambda expected: f"below {expected['$below']}"),
    "$between": _number(
        lambda got, value, _: value[0] <= got <= value[1],
        lambda expected: f"between {expected['$between'][0]} and {expected['$between'][1]}",
    ),
    "$regex": _regex,
    "$has": _has,
    "$unordered": _unordered,
    "$length": _length,
    "$one_of": _one_of,
    "$not": _not,
    "$bytes": _bytes,
    "$tensor": _tensor,
    "$equals": _equals,
}
