"""Paths to a part of a message: `payload.machines[0].temp_c`, `topic`, `meta.parts`.

A path begins with a part of the message (`payload`, `topic`, `meta`, or to read only: `id`, `port`, `trace`, `parent`,
`ts_ns`, `origin_ns`, `deadline_ns`); anything else is looked up inside the payload, so `temp_c` is `payload.temp_c`.
Keys that are no plain words are quoted in brackets: `payload["flow rate"]`; `[-1]` is the last of a list.

    PathError       nothing is there, or nothing can be there
    BadPath         the text is not a path

Invariant: nothing is changed in place. Setting and deleting copy what lies on the path and share the rest, so a
handler that is tried again finds the message as it came in.
"""

import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from flowcore.node.message import Message

Part = str | int
WRITABLE = ("payload", "topic", "meta")
READABLE = (*WRITABLE, "id", "port", "trace", "parent", "ts_ns", "origin_ns", "deadline_ns")

_FIRST = re.compile(r"[^.\[\]\"']+")
_NEXT = re.compile(
    r"""\.([^.\[\]"']+) | \[\s*(-?\d+)\s*\] | \["((?:[^"\\]|\\.)*)"\] | \['((?:[^'\\]|\\.)*)'\]""", re.VERBOSE
)
_LONGEST_LIST = 100_000


class BadPath(ValueError):
    """A text that is not a path; `str()` says at which character."""


class PathError(LookupError):
    """The message has nothing at this path, or nothing can be put there."""


def parse_path(text: str) -> tuple[Part, ...]:
    """The parts of a path: `a.b[0]["c d"]` is `("a", "b", 0, "c d")`.

    Raises:
        BadPath: with the place where it stops making sense.
    """
    first = _FIRST.match(text)
    parts: list[Part] = []
    at = 0
    if first:
        parts.append(first.group())
        at = first.end()
    while at < len(text):
        found = _NEXT.match(text, at)
        if found is None or (at == 0 and found.group(1)):
            raise BadPath(f'path {text!r} is wrong at character {at + 1}: expected .name, [0] or ["name"]')
        name, index, double, single = found.groups()
        if index is not None:
            parts.append(int(index))
        else:
            quoted = double if double is not None else single
            parts.append(name if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        at = found.end()
    if not parts:
        raise BadPath("an empty path")
    return tuple(parts)


def get_in(value: Any, parts: tuple[Part, ...]) -> Any:
    """What lies at `parts` inside `value`.

    Raises:
        PathError: says how far the path led and what was there.
    """
    here = value
    for depth, part in enumerate(parts):
        try:
            if isinstance(part, int) != isinstance(here, (list, tuple)) and not isinstance(here, dict):
                raise TypeError
            here = here[part]
        except (LookupError, TypeError):
            raise PathError(_nothing(parts, depth, here)) from None
    return here


def set_in(value: Any, parts: tuple[Part, ...], new: Any) -> Any:
    """`value` with `new` at `parts`; missing maps and lists on the way are made. Returns the new root.

    Raises:
        PathError: something on the way is neither map nor list, or a list is too short for the index.
    """
    if not parts:
        return new
    part, rest = parts[0], parts[1:]
    if isinstance(part, int):
        if value is None:
            value = []
        if isinstance(value, (list, tuple)):
            if part == len(value) < _LONGEST_LIST:
                return [*value, set_in(None, rest, new)]
            if not -len(value) <= part < len(value):
                raise PathError(f"[{part}] is out of range: the list has {len(value)}")
            listed = list(value)
            listed[part] = set_in(listed[part], rest, new)
            return listed
    elif value is None:
        value = {}
    if not isinstance(value, dict):
        raise PathError(f"can't set {_shown(part)} in {_kind(value)}")
    return {**value, part: set_in(value.get(part), rest, new)}


def delete_in(value: Any, parts: tuple[Part, ...]) -> Any:
    """`value` without what lies at `parts`; nothing there is no error. Returns the new root.

    Deleting from a list closes the gap.
    """
    part, rest = parts[0], parts[1:]
    if isinstance(part, int) and isinstance(value, (list, tuple)):
        if not -len(value) <= part < len(value):
            return value
        listed = list(value)
        if rest:
            listed[part] = delete_in(listed[part], rest)
        else:
            del listed[part]
        return listed
    if not isinstance(value, dict) or part not in value:
        return value
    if rest:
        return {**value, part: delete_in(value[part], rest)}
    return {key: kept for key, kept in value.items() if key != part}


class MessagePath:
    """A parsed path, made once and used for every message.

    Attributes:
        text: as it was written.
        root: the part of the message it begins with.
        rest: the parts below it.
        get: function of a message: what lies there; raises PathError.
    """

    __slots__ = ("get", "rest", "root", "text")

    def __init__(self, text: str) -> None:
        """Raises BadPath."""
        self.text = text
        parts = parse_path(text) if text else ("payload",)
        if isinstance(parts[0], str) and parts[0] in READABLE:
            self.root, self.rest = parts[0], parts[1:]
        else:
            self.root, self.rest = "payload", parts
        self.get: Callable[[Message], Any] = self._getter()

    def _getter(self) -> Callable[[Message], Any]:
        root, rest = self.root, self.rest
        if not rest:
            return _READERS[root]
        if root == "payload" and len(rest) == 1 and isinstance(rest[0], str):
            key, keys = rest[0], rest

            def get_key(message: Message) -> Any:
                payload = message.payload
                if type(payload) is dict and key in payload:
                    return payload[key]
                return get_in(payload, keys)

            return get_key
        return lambda message: get_in(getattr(message, root), rest)

    def find(self, message: Message, default: Any = None) -> Any:
        """What lies there, or `default`."""
        try:
            return self.get(message)
        except PathError:
            return default

    def check_writable(self) -> None:
        """Raises BadPath for a part that the engine gives, such as `id`."""
        if self.root not in WRITABLE:
            raise BadPath(f"path {self.text!r}: {self.root} is given by the engine and can't be changed")
        if self.root == "topic" and self.rest:
            raise BadPath(f"path {self.text!r}: the topic is a text, it has no parts")

    def set(self, message: Message, value: Any) -> None:
        """Put a value there, in this message; what it was made from stays as it is. Nothing empties topic and meta.

        Raises:
            PathError: nothing can be put there; a topic that is no text, a meta that is no map.
        """
        if value is None and not self.rest:
            self.delete(message)
            return
        new = set_in(getattr(message, self.root), self.rest, value)
        if self.root == "topic" and not isinstance(new, str):
            raise PathError(f"the topic is a text, got {_kind(new)}")
        if self.root == "meta" and not isinstance(new, dict):
            raise PathError(f"meta is a map, got {_kind(new)}")
        setattr(message, self.root, new)

    def delete(self, message: Message) -> None:
        """Take out what lies there; the payload as a whole becomes nothing, the topic empty."""
        if self.rest:
            setattr(message, self.root, delete_in(getattr(message, self.root), self.rest))
        else:
            setattr(message, self.root, {"payload": None, "topic": "", "meta": {}}[self.root])

    def __repr__(self) -> str:
        return f"MessagePath({self.text!r})"


_READERS: dict[str, Callable[[Message], Any]] = {name: attrgetter(name) for name in READABLE}


def _nothing(parts: tuple[Part, ...], depth: int, here: Any) -> str:
    way = "".join(_shown(part) for part in parts[:depth]).lstrip(".")
    there = f"nothing at {''.join(_shown(part) for part in parts).lstrip('.')!r}"
    if isinstance(here, dict):
        names = ", ".join(map(str, list(here)[:8])) or "nothing"
        return f"{there}: {way or 'the map'} has {names}{', ...' if len(here) > 8 else ''}"
    if isinstance(here, (list, tuple)):
        return f"{there}: {way or 'the list'} is a list of {len(here)}"
    return f"{there}: {way or 'it'} is {_kind(here)}"


def _shown(part: Part) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if re.fullmatch(r"[^.\[\]\"' ]+", part) else f'["{part}"]'


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    names = {
        bool: "a bool",
        int: "a number",
        float: "a number",
        str: "a text",
        bytes: "bytes",
        list: "a list",
        dict: "a map",
    }
    return names.get(type(value), type(value).__name__)
