"""Mustache, as the template node of Node-RED fills it in: `pystache` parses, names and texts are JavaScript's.

A name is looked up in the message, then `flow.x`, `global.x` and `env.X`; a part of a list by its number, `.length`; a
number is written as JavaScript writes it (`1`, not `1.0`), a list with commas, a map as `[object Object]`.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from pystache.parser import ParsingError, parse
from pystache.renderengine import RenderEngine

_ESCAPES = str.maketrans({
    "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "/": "&#x2F;", "`": "&#x60;", "=": "&#x3D;",
})  # fmt: skip
_JSON_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\f": "\\f", "\b": "\\b"})
_OUTSIDE = re.compile(r"(flow|global|env)(?:\[\w+\])?\.(.+)")  # Node-RED's stores have names; here is one
_MISSING: Any = object()
_SAME: Any = object()  # a section that is just true: names in it mean what they mean around it


class Mustache:
    """A parsed template. `BadTemplate` (a ValueError) says why one cannot be parsed."""

    def __init__(self, template: str) -> None:
        try:
            self._parsed = parse(template, raise_on_mismatch=True)
        except ParsingError as e:
            raise BadTemplate(f"the template is wrong: {e}") from None

    def render(self, view: dict[str, Any], outside: Callable[[str, str], Any], *, escapes_json: bool) -> str:
        """The text for a message.

        Args:
            view: the message.
            outside: gives the value of `flow.x`, `global.x`, `env.X`, of the two words; None: there is none.
            escapes_json: texts of the message are escaped as within the quotes of JSON, outside of sections.
        """
        return self._parsed.render(_Engine(outside, escapes_json), _Stack(view))


class BadTemplate(ValueError):
    """The template cannot be parsed."""


class _Stack:
    """What names are looked up in, innermost last."""

    def __init__(self, view: Any) -> None:
        self.views = [view]
        self.is_outside = [True]  # of sections

    def push(self, view: Any) -> None:
        self.views.append(self.views[-1] if view is _SAME else view)
        self.is_outside.append(self.is_outside[-1] and view is _SAME)

    def pop(self) -> None:
        self.views.pop()
        self.is_outside.pop()


class _Engine(RenderEngine):
    def __init__(self, outside: Callable[[str, str], Any], escapes_json: bool) -> None:
        super().__init__(literal=str, escape=lambda text: text.translate(_ESCAPES), to_str=as_text,
                         resolve_context=self._look_up, resolve_partial=lambda name: "")  # fmt: skip
        self._outside, self._escapes_json = outside, escapes_json

    def _look_up(self, stack: _Stack, name: str) -> Any:
        """The value of a name, from the innermost section out; a map is never false."""
        found = stack.views[-1] if name == "." else _MISSING
        for view in reversed(stack.views) if found is _MISSING else ():
            found = _in(view, name)
            if found is not _MISSING:
                break
        if found is _MISSING:
            outside = _OUTSIDE.match(name)
            found = self._outside(outside[1], outside[2]) if outside else ""
        elif self._escapes_json and stack.is_outside[-1] and isinstance(found, str):
            found = found.translate(_JSON_ESCAPES)
        return _Map(found) if type(found) is dict else found

    def fetch_string(self, context: _Stack, name: str) -> str:
        found = self._look_up(context, name)
        return found if isinstance(found, str) else as_text(found)

    def fetch_section_data(self, context: _Stack, name: str) -> list[Any]:
        found = self._look_up(context, name)
        if isinstance(found, list | tuple):
            return list(found)
        if found is True:
            return [_SAME]
        return [found] if found and found == found else []  # NaN is false, too


class _Map(dict):
    def __bool__(self) -> bool:
        return True


def look_in(view: Any, name: str) -> Any:
    """A dotted name in one map; None where it is not there."""
    found = _in(view, name)
    return None if found is _MISSING else found


def _in(view: Any, name: str) -> Any:
    """A dotted name in one map; `_MISSING` where the last part is not there."""
    value = view
    for part in name.split("."):
        if isinstance(value, dict):
            value = value.get(part, _MISSING)
        elif isinstance(value, list | tuple | str | bytes):
            if part == "length":
                value = len(value)
            else:
                value = value[int(part)] if part.isascii() and part.isdigit() and int(part) < len(value) else _MISSING
        else:
            return _MISSING
        if value is _MISSING:
            return _MISSING
    return value


def as_text(value: Any) -> str:
    """A value as JavaScript makes a text of it."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, list | tuple):
        return ",".join(map(as_text, value))
    if isinstance(value, dict):
        return "[object Object]"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def number_text(value: float) -> str:
    """A number as JavaScript writes it."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if value == int(value):
        return str(int(value)) if abs(value) < 1e21 else repr(value)
    if abs(value) >= 1e-6:
        return format(Decimal(repr(value)), "f")  # Python writes 1e-05, JavaScript 0.00001
    digits, _, power = repr(value).partition("e")
    return f"{digits}e{int(power)}"
