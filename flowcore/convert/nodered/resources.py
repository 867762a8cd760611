"""Config nodes that several nodes share, as resources of a flow: MQTT brokers, Modbus lines, databases."""

from __future__ import annotations

from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.export import Export
from flowcore.convert.nodered.node import Given

_LOCAL = ("localhost", "127.0.0.1", "::1", "")


def resource_of(given: Given, export: Export) -> dict[str, Any]:
    """The resource that a config node becomes."""
    if given.type in _MADE:
        return _MADE[given.type](given)
    return _broker(given, export)


def _line(given: Given) -> dict[str, Any]:
    """A Modbus line, of a `modbus-client`."""
    config: dict[str, Any] = {}
    if given.text("clienttype", "tcp") == "tcp":
        config |= {"host": typed.text(given.text("tcpHost", "127.0.0.1")), "port": typed.value(given["tcpPort"], "num")}
        if "RTU" in given.text("tcpType"):
            config["kind"] = "rtu_over_tcp"
    else:
        config |= {"kind": "rtu", "serial": typed.text(given.text("serialPort"))}
        config["baud"] = int(typed.number(given.get("serialBaudrate", 9600), "the speed"))
        config["parity"] = given.text("serialParity", "none")
        if (stop := int(typed.number(given.get("serialStopbits", 1)))) != 1:
            config["stop_bits"] = stop
        if given.text("serialType").startswith("ASCII"):
            given.around.tell("setting", given, "serialType = 'ASCII': lines speak RTU")
    if timeout := typed.number(given.get("clientTimeout", 0) or 0):
        config["timeout_s"] = min(60, max(0.01, timeout / 1000))
    return {"type": "iot/modbus-line", "config": config}


def _sqlite(given: Given) -> dict[str, Any]:
    return {"type": "core/sql-database", "config": {"kind": "sqlite", "file": typed.text(given.text("db"))}}


def _postgresql(given: Given) -> dict[str, Any]:
    """What may be a typed value of theirs has its type beside it: `host`, `hostFieldType`."""
    config: dict[str, Any] = {"kind": "postgresql"}
    for theirs, ours in (("host", "host"), ("port", "port"), ("database", "database"), ("user", "user")):
        if (value := given[theirs]) not in (None, ""):
            config[ours] = typed.value(value, given.text(f"{theirs}FieldType", "num" if ours == "port" else "str"))
    if typed.truth(given["ssl"]):
        config["tls"] = True
    given.differs("passwords are not in an export", '`flowcore secret set NAME`, then password: {"$secret": NAME}')
    return {"type": "core/sql-database", "config": config}


_MADE = {"modbus-client": _line, "sqlitedb": _sqlite, "postgreSQLConfig": _postgresql}


def _broker(given: Given, export: Export) -> dict[str, Any]:
    """An MQTT broker."""
    host, port = given.text("broker").strip(), given.get("port", 1883)
    secure = typed.truth(given["usetls"]) or str(host).startswith(("mqtts:", "ssl:", "wss:"))
    if "://" in host:
        scheme, _, rest = host.partition("://")
        if scheme in ("ws", "wss"):
            given.lacks("broker", "MQTT over WebSocket", "use mqtt:// or mqtts:// on the broker's port for it")
        url = f"{'mqtts' if scheme in ('mqtts', 'ssl', 'wss') else 'mqtt'}://{rest.partition('/')[0]}"
    else:
        url = f"{'mqtts' if secure else 'mqtt'}://{host or 'localhost'}:{port}"
    config: dict[str, Any] = {"url": typed.text(url) if typed.ENV.search(url) is None else url}
    keepalive = typed.number(given.get("keepalive", 60))
    if keepalive != 30:
        config["keepalive_s"] = max(1, int(keepalive))
    credentials = given.raw.get("credentials") or {}
    user = credentials.get("user") or given["user"]
    if user:
        config["user"] = typed.text(str(user))
    if user or "credentials" in given.raw:
        given.differs("passwords are not in an export", '`flowcore secret set NAME`, then password: {"$secret": NAME}')
    if secure:
        config["tls"] = _tls(given, export)
    given.lacks("autoConnect", "it connects when the flow starts", harmless=(True, "true", None, ""))
    given.lacks("autoUnsubscribe", "subscriptions end with the session", harmless=(True, "true", None, ""))
    given.lacks("protocolVersion", "MQTT 5: we speak 3.1.1", harmless=(4, "4", "", None, "3", 3))
    given.lacks("sessionExpiry", "MQTT 5", harmless=(0, "0", "", None))
    given.lacks("userProps", "MQTT 5", harmless=("", None, {}))
    given.lacks("compatmode", "MQTT 3.1")
    given.skip("clientid", "cleansession", "birthTopic", "birthQos", "birthRetain", "birthPayload", "birthMsg",
               "closeTopic", "closeQos", "closeRetain", "closePayload", "closeMsg", "willTopic", "willQos",
               "willRetain", "willPayload", "willMsg", "verifyservercert", "tls", "user")  # fmt: skip
    for key, value in given.unseen().items():
        given.around.tell("setting", given, f"{key} = {value!r} has no counterpart here")
    made: dict[str, Any] = {"type": "iot/mqtt-broker", "config": config}
    if host in _LOCAL:
        made["note"] = 'Node-RED took the broker on its own machine; flowcore\'s own is {"url": "embedded"}.'
    return made


def _tls(given: Given, export: Export) -> dict[str, Any]:
    raw = export.configs.get(str(given["tls"])) or {}
    tls = Given({"id": "", "type": "tls-config", **raw}, given.around)
    config: dict[str, Any] = {}
    for theirs, ours in (("ca", "ca"), ("cert", "certificate"), ("key", "key")):
        if tls[theirs]:
            config[ours] = typed.text(str(tls[theirs]))
    if raw.get("verifyservercert") is False or (not raw and given.raw.get("verifyservercert") is False):
        config["insecure"] = True
    for key in ("caname", "certname", "keyname"):
        tls.lacks(key, "the file was uploaded into Node-RED", "save it beside the flow and name its path")
    tls.lacks("servername", "another name for the server than its host")
    tls.lacks("alpnprotocol", "ALPN")
    return config
