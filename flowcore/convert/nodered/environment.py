"""Environment variables of tabs, subflows and the whole of an installation, as values of a flow's `env`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.export import Export, Raw, Scope
from flowcore.convert.nodered.findings import CannotTurn
from flowcore.convert.nodered.scope import Around

Tell = Callable[..., None]
_TYPES = {"str": "text", "num": "number", "bool": "bool", "env": "any", "json": "any", "bin": "any", "jsonata": "any",
          "cred": "text", "conf-types": "any"}  # fmt: skip


def of_scope(scope: Scope, tell: Tell) -> dict[str, Any]:
    """The variables of a tab; those of a subflow are its parameters."""
    return {} if scope.definition["type"] == "subflow" else _values(scope.definition.get("env") or [], tell)


def of_globals(export: Export, around: Around) -> dict[str, Any]:
    """The variables of the `global-config` node: each flow has them, as each tab did."""
    found: dict[str, Any] = {}
    for raw in export.configs.values():
        if raw["type"] == "global-config":
            found |= _values(raw.get("env") or [], lambda *_: None)
    return found


def _values(entries: list[Raw], tell: Tell) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in entries:
        name = str(entry.get("name") or "")
        try:
            typed.env(name)
            found[name] = ""  # so that what names it can be filled in
            found[name] = value_of(entry)
        except CannotTurn as error:
            tell("setting", f"its environment variable {name!r}: {error.why}", error.instead)
    return found


def of_the_machine(parts: Iterable[Any], known: Iterable[str]) -> list[str]:
    """Names that configs use and that are set nowhere in the flow."""
    used = re.findall(r"(?<!\$)\$\{(\w+)\}", json.dumps(list(parts)))
    return sorted(set(used) - set(known))


def value_of(entry: Raw) -> Any:
    """The value of a variable.

    Raises:
        CannotTurn: of a kind we have no word for.
    """
    kind = str(entry.get("type") or "str")
    if kind == "cred":
        raise CannotTurn("it is a credential, which exports do not hold", "`flowcore secret set NAME`")
    if kind == "bin":
        raise CannotTurn("bytes can't stand in a flow file")
    return typed.value(entry.get("value"), kind)


def parameters(scope: Scope, tell: Tell) -> dict[str, Any]:
    """The parameters of a subflow."""
    found: dict[str, Any] = {}
    for entry in scope.definition.get("env") or []:
        name = str(entry.get("name") or "")
        try:
            typed.env(name)
            made: dict[str, Any] = {"type": _TYPES.get(str(entry.get("type")), "any")}
            ui = entry.get("ui") if isinstance(entry.get("ui"), dict) else {}
            options = [
                {"value": one.get("v"), "label": _in_english(one.get("l"))}
                for one in (ui.get("opts") or {}).get("opts") or []
            ]
            if ui.get("type") == "select" and options:
                made |= {"type": "select", "options": options}
            if entry.get("value") not in (None, "") or entry.get("type") == "str":
                made["default"] = value_of(entry)
            if title := _in_english(ui.get("label")):
                made["title"] = title
            found[name] = made
        except CannotTurn as error:
            tell("setting", f"its parameter {name!r}: {error.why}", error.instead)
    return found


def _in_english(label: Any) -> str:
    """A label, which has a text for each language."""
    return str(label.get("en-US") or next(iter(label.values()), "")) if isinstance(label, dict) else ""
