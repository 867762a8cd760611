"""Values that our rules have no word for, set by a line of JavaScript: the time now, bytes, simple JSONata."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from flowcore.convert.nodered import jsonata, typed
from flowcore.convert.nodered.findings import CannotTurn
from flowcore.convert.nodered.node import Given

SCRIPTED = ("date", "bin", "jsonata")


@dataclass(frozen=True)
class Script:
    """A line, and the helpers that it calls."""

    line: str
    needs: list[str] = field(default_factory=list)


def script_of(lines: Iterable[Script]) -> str:
    """The script of these lines, one after the other."""
    lines = list(lines)
    needs = [name for name in jsonata.HELPERS if any(name in one.needs for one in lines)]
    return "\n".join([*(jsonata.HELPERS[name] for name in needs), *(one.line for one in lines), "return msg;"])


def set_by_script(given: Given, property: str, where: str, kind: str, value: Any) -> Script:
    """The line that sets a property to a value of one of the SCRIPTED kinds.

    Raises:
        CannotTurn: the bytes are none, or the expression is not simple.
    """
    needs: list[str] = []
    if kind == "jsonata":
        made, needs = jsonata.expression(str(value))
        given.differs(f"the JSONata expression {value!r} became JavaScript: look at it")
    elif kind == "date":
        made = "new Date().toISOString()" if value in ("iso", "object") else "Date.now()"
    else:
        try:
            made = f"Buffer.from({json.dumps(json.loads(str(value)))})"
        except ValueError:
            raise CannotTurn(f"bytes that are none: {value!r}") from None
    if where in ("flow", "global"):
        return Script(f"{where}.set({json.dumps(typed.context_key(property))}, {made});", needs)
    typed.path(property)  # one that is looked up in the message is told
    return Script(f"RED.util.setMessageProperty(msg, {json.dumps(property)}, {made}, true);", needs)
