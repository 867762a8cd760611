"""What stays of a node that has no counterpart: its place, its wires, and all that Node-RED knew of it."""

from __future__ import annotations

import json

from flowcore.convert.nodered.export import Raw
from flowcore.convert.nodered.findings import CannotTurn
from flowcore.convert.nodered.names import slug
from flowcore.convert.nodered.node import Turned

_INSTEAD = {
    "http proxy": "core/http-in and core/http-request",
    "e-mail in": "a node of your own in Python with imaplib",
    "modbus-flex-getter": "iot/modbus-read with the values named",
    "modbus-flex-write": "iot/modbus-write with the values named",
    "modbus-getter": "iot/modbus-read, which a message asks when every_s is 0",
    "mysql": "core/sql-query with SQLite or PostgreSQL",
    "html": "a node of your own in Python with lxml or beautifulsoup4",
    "unknown": "the node it was: install its package in Node-RED and export again",
}


def without_counterpart(type: str) -> CannotTurn:
    """Why a node of a type that we don't know can't be turned."""
    why = "there is no such node here"
    if type.startswith("ui_") or type.startswith("ui-"):
        return CannotTurn(why, "dashboards are read from the bus: the subjects `flow.<flow>.<node>.out.<port>`")
    return CannotTurn(why, f"use {_INSTEAD.get(type, 'a node of your own in Python (`flowcore new-node`)')}")


def placeholder(raw: Raw) -> Turned:
    """A disabled node of a type that does not exist, at the same place and with the same wires."""
    count = max(1, len(raw.get("wires") or []))
    return Turned(f"nodered/{slug(str(raw['type'])) or 'node'}", {}, [f"out{k}" for k in range(1, count + 1)], "in")


def placeholder_note(export: list[Raw], error: CannotTurn) -> str:
    """What the note of a placeholder says; last comes an export of the node and of the config nodes that it uses."""
    told = f"Was a Node-RED node of type {export[0]['type']!r}: {error.why}."
    if error.instead:
        told += f" Instead: {error.instead}."
    return f"{told}\n\n{json.dumps(export, ensure_ascii=False)}"
