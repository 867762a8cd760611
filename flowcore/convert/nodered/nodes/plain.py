"""json, yaml, xml, html: texts that become values, and values that become texts."""

from __future__ import annotations

from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.node import Given, Turned

_JSON = {"": "auto", "obj": "parse", "str": "stringify"}


def json(given: Given) -> Turned:
    """`json`."""
    config: dict[str, Any] = {"action": _JSON.get(given.text("action"), "auto"), **_path(given)}
    if typed.truth(given["pretty"]):
        config["indent"] = 4
    return Turned("core/json", config)


def yaml(given: Given) -> Turned:
    """`yaml`."""
    return Turned("core/yaml", _path(given))


def _path(given: Given) -> dict[str, Any]:
    path = typed.path(given.text("property", "payload") or "payload")
    return {} if path == "payload" else {"path": path}
