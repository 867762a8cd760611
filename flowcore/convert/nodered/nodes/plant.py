"""Modbus (node-red-contrib-modbus), databases (node-red-node-sqlite, node-red-contrib-postgresql), e-mail."""

from __future__ import annotations

import re
from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.export import Raw
from flowcore.convert.nodered.findings import CannotTurn
from flowcore.convert.nodered.node import Given, Turned

_TABLES = {
    "Coil": "coil", "Input": "discrete", "HoldingRegister": "holding", "InputRegister": "input", "MCoils": "coil",
    "MHoldingRegisters": "holding",
}  # fmt: skip
_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_OF_ITS_FORM = (
    "topic", "showStatusActivities", "logIOActivities", "showErrors", "showWarnings", "useIOFile", "ioFile",
    "useIOForPayload", "emptyMsgOnFail", "keepMsgProperties", "delayOnStart", "startDelayTime",
    "enableDeformedMessages",
)  # fmt: skip


def _registers(given: Given) -> tuple[dict[str, Any], int, int]:
    """Line and values of a Modbus node, its first address, how many."""
    raw = given.around.config_node(given["server"])
    if raw is None:
        raise CannotTurn("its server is not in the export", "export it with its config nodes")
    table = _TABLES.get(given.text("dataType"))
    if table is None:
        raise CannotTurn(f"registers of kind {given['dataType']!r}")
    first, count = int(typed.number(given["adr"], "the address")), int(typed.number(given["quantity"], "the quantity"))
    device = int(typed.number(given["unitid"] or raw.get("unit_id") or 1, "the unit"))
    values: list[dict[str, Any]] = []
    for address in range(first, first + count):
        value: dict[str, Any] = {"name": f"r{address}", "address": address}
        if table != "holding":
            value["table"] = table
        if device != 1:
            value["device"] = device
        values.append(value)
    given.skip(*_OF_ITS_FORM)
    return {"line": {"$use": given.around.resource(raw)}, "values": values}, first, count


def modbus_read(given: Given) -> Turned:
    """`modbus-read`: a script behind it makes the list that it was."""
    config, first, count = _registers(given)
    every = typed.number(given.get("rate", 1), "the rate") * _S.get(given.text("rateUnit", "s"), 1)
    config["every_s"] = int(every) if every == int(every) else every
    script = f"const r = msg.payload;\nmsg.payload = Array.from({{length: {count}}}, (_, k) => r['r' + ({first} + k)]);"
    return Turned("iot/modbus-read", config, then=[("list", "core/javascript", {"script": f"{script}\nreturn msg;"})])


def modbus_write(given: Given) -> Turned:
    """`modbus-write`."""
    config, first, count = _registers(given)
    if count == 1:
        return Turned("iot/modbus-write", config)
    pairs = f"msg.payload.map((value, k) => ['r' + ({first} + k), value])"
    script = f"msg.payload = Object.fromEntries({pairs});\nreturn msg;"
    return Turned("iot/modbus-write", config, before=[("map", "core/javascript", {"script": script})])


_NAMED = re.compile(r"(?<![\w:$])\$(\w+)")


def sqlite(given: Given) -> Turned:
    """`sqlite`, with a statement of its own."""
    raw = given.around.config_node(given["mydb"])
    if raw is None:
        raise CannotTurn("its database is not in the export", "export it with its config nodes")
    kind = given.text("sqlquery", "msg.topic")
    if kind not in ("fixed", "prepared"):
        raise CannotTurn("the message brings the statement", "a core/sql-query with a statement of its own")
    params = {name: f'meta.params["${name}"]' for name in _NAMED.findall(given.text("sql"))}
    return _query(given, raw, given.text("sql"), params)


def postgresql(given: Given) -> Turned:
    """`postgresql`: parameters $1, $2 are in msg.params, $name in msg.queryParameters."""
    raw = given.around.config_node(given["postgreSQLConfig"])
    if raw is None:
        raise CannotTurn("its database is not in the export", "export it with its config nodes")
    statement = given.text("query")
    if "{{" in statement or not statement.strip():
        raise CannotTurn("the message makes a part of the statement", "a core/sql-query with parameters")
    params = {
        f"p{name}" if name.isdigit() else name: f"meta.params[{int(name) - 1}]"
        if name.isdigit()
        else f"meta.queryParameters.{name}"
        for name in _NAMED.findall(statement)
    }
    given.lacks("split", "rows come as one list", "output: rows", harmless=(None, "", False))
    given.skip("rowsPerMsg", "outputs")
    return _query(given, raw, statement, params)


def _query(given: Given, raw: Raw, statement: str, params: dict[str, str]) -> Turned:
    named = _NAMED.sub(lambda found: f":p{found[1]}" if found[1].isdigit() else f":{found[1]}", statement)
    config: dict[str, Any] = {"database": {"$use": given.around.resource(raw)}, "statement": typed.text(named)}
    if params:
        config["params"] = params
    return Turned("core/sql-query", config)


def email(given: Given) -> Turned:
    """`e-mail`, which sends."""
    if given.text("authtype", "BASIC") not in ("BASIC", "NONE"):
        raise CannotTurn(
            f"authentication by {given['authtype']}", "a password for programs, where the provider has them"
        )
    secure = typed.truth(given.get("secure", True))
    server: dict[str, Any] = {
        "host": typed.text(given.text("server") or "localhost"),
        "port": typed.value(given.get("port") or 465, "num"),
        "tls": "tls" if secure else "starttls",
    }
    user = str((given.raw.get("credentials") or {}).get("userid") or "")
    if user:
        server["user"] = typed.text(user)
    to = [one.strip() for one in str(given.raw.get("to") or given.name).split(",") if "@" in one]
    sender = user if "@" in user else "flowcore@localhost"
    given.differs(
        f"user and password are not in an export, and the sender was that user; here it is {sender}",
        '`flowcore secret set NAME`, then user, password: {"$secret": NAME} and sender',
    )
    given.skip("dname", "to", "saslformat", "token", "tls")
    config: dict[str, Any] = {"server": server, "sender": sender}
    if to:
        config["to"] = to
    return Turned("core/email-out", config, [])
