"""An instance of a subflow: what it gives as parameters."""

from __future__ import annotations

from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.environment import value_of
from flowcore.convert.nodered.findings import CannotTurn
from flowcore.convert.nodered.node import Given, Turned


def instance(given: Given) -> Turned:
    """`subflow:<id>`."""
    source = given.type.removeprefix("subflow:")
    placed = given.around.everywhere.get(source)
    if placed is None:
        raise CannotTurn("its subflow is not in the export", "export both together")
    definition = placed.scope.definition
    known = {str(entry.get("name")) for entry in definition.get("env") or []}
    config: dict[str, Any] = {}
    env: dict[str, Any] = {}  # what is set inside without being a parameter
    for entry in given.raw.get("env") or []:
        name = str(entry.get("name") or "")
        try:
            typed.env(name)
            (config if name in known else env)[name] = value_of(entry)
        except CannotTurn as error:
            given.around.tell("setting", given, f"its parameter {name!r}: {error.why}", error.instead)
    count = len(definition.get("out") or [])
    outputs = ["out"] if count == 1 else [f"out{k}" for k in range(1, count + 1)]
    return Turned(f"subflow:{placed.flow}", config, outputs, env=env)
