"""What the rules of a switch ask of a value: one function an operator.

As in Node-RED, a number and a text that holds one compare as numbers; things that can't be compared don't match.
"""

import json
from collections.abc import Callable
from typing import Any

Comparison = Callable[[Any, Any, Any], bool]  # the message's value, the rule's value, its second value

_NUMBERS = (int, float)


def _pair(a: Any, b: Any) -> tuple[Any, Any] | None:
    """Both as something that can be ordered, or None."""
    if isinstance(a, _NUMBERS) and isinstance(b, _NUMBERS):
        return a, b
    if isinstance(a, str) and isinstance(b, str):
        return a, b
    try:
        if isinstance(a, _NUMBERS) and isinstance(b, str):
            return a, float(b)
        if isinstance(a, str) and isinstance(b, _NUMBERS):
            return float(a), b
    except ValueError:
        pass
    return None


def equal(a: Any, b: Any, _: Any = None) -> bool:
    """The same value; 5 and "5" are."""
    if a == b:
        return True
    pair = _pair(a, b)
    return pair is not None and pair[0] == pair[1]


def less(a: Any, b: Any, _: Any = None) -> bool:
    pair = _pair(a, b)
    return pair is not None and pair[0] < pair[1]


def less_or_equal(a: Any, b: Any, _: Any = None) -> bool:
    pair = _pair(a, b)
    return pair is not None and pair[0] <= pair[1]


def between(a: Any, low: Any, high: Any) -> bool:
    """From low to high, both included, in whichever order they are given."""
    return (less_or_equal(low, a) and less_or_equal(a, high)) or (less_or_equal(high, a) and less_or_equal(a, low))


def contains(a: Any, b: Any, _: Any = None) -> bool:
    """A text has the other in it; a list has it as an item."""
    if isinstance(a, (list, tuple)):
        return any(equal(item, b) for item in a)
    if isinstance(a, (bytes, bytearray)):
        return (b.encode() if isinstance(b, str) else bytes(b)) in a if isinstance(b, (str, bytes)) else False
    if a is None or b is None or isinstance(a, dict):
        return False
    return str(b) in str(a)


def has_key(a: Any, b: Any, _: Any = None) -> bool:
    return isinstance(a, dict) and b in a if isinstance(b, (str, *_NUMBERS)) else False


def is_empty(a: Any, *_: Any) -> bool:
    """A text, list, map or bytes of length 0; nothing and numbers are neither empty nor not empty."""
    return isinstance(a, (str, bytes, list, tuple, dict)) and len(a) == 0


def is_not_empty(a: Any, *_: Any) -> bool:
    return isinstance(a, (str, bytes, list, tuple, dict)) and len(a) > 0


def _is_json(a: Any) -> bool:
    try:
        json.loads(a)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


KINDS: dict[str, Callable[[Any], bool]] = {
    "text": lambda a: isinstance(a, str),
    "number": lambda a: isinstance(a, _NUMBERS) and not isinstance(a, bool),
    "bool": lambda a: isinstance(a, bool),
    "list": lambda a: isinstance(a, (list, tuple)),
    "map": lambda a: isinstance(a, dict),
    "bytes": lambda a: isinstance(a, (bytes, bytearray)),
    "null": lambda a: a is None,
    "json": lambda a: isinstance(a, (str, bytes)) and _is_json(a),
}


def is_type(a: Any, kind: Any, _: Any = None) -> bool:
    return kind in KINDS and KINDS[kind](a)


def _part(parts: Any, name: str) -> int | None:
    number = parts.get(name) if isinstance(parts, dict) else None
    return number if isinstance(number, int) else None


def head(parts: Any, count: Any, _: Any = None) -> bool:
    """Among the first `count` of its sequence (`meta.parts`)."""
    index = _part(parts, "index")
    return index is not None and less(index, count)


def tail(parts: Any, count: Any, _: Any = None) -> bool:
    """Among the last `count` of its sequence; the sequence must say how many it has."""
    index, total = _part(parts, "index"), _part(parts, "count")
    return index is not None and total is not None and isinstance(count, _NUMBERS) and index >= total - count


def index_between(parts: Any, low: Any, high: Any) -> bool:
    index = _part(parts, "index")
    return index is not None and between(index, low, high)


COMPARISONS: dict[str, Comparison] = {
    "==": equal,
    "!=": lambda a, b, _: not equal(a, b),
    "<": less,
    "<=": less_or_equal,
    ">": lambda a, b, _: less(b, a),
    ">=": lambda a, b, _: less_or_equal(b, a),
    "has key": has_key,
    "between": between,
    "contains": contains,
    "true": lambda a, *_: a is True,
    "false": lambda a, *_: a is False,
    "null": lambda a, *_: a is None,
    "not null": lambda a, *_: a is not None,
    "is type": is_type,
    "empty": is_empty,
    "not empty": is_not_empty,
    "head": head,
    "tail": tail,
    "index between": index_between,
}

TAKES_NO_VALUE = frozenset({"true", "false", "null", "not null", "empty", "not empty", "otherwise"})
TAKES_TWO_VALUES = frozenset({"between", "index between"})
OF_SEQUENCE = frozenset({"head", "tail", "index between"})
