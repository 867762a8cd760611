"""websocket, tcp, udp and serial: lines to devices and pages.

Where several nodes of theirs share a listener or a port, one node of ours has it, and the others are junctions at it.
"""

from __future__ import annotations

from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.export import Raw
from flowcore.convert.nodered.findings import CannotTurn
from flowcore.convert.nodered.node import Given, Turned

_FIRST_PORT = 1891
_FORMATS = {"buffer": "bytes", "utf8": "text", "base64": "bytes"}
_ENDS = {"\\n": "\\n", "\\r": "\\r", "\\r\\n": "\\r\\n"}


def _holder(given: Given, types: tuple[str, ...], key: str) -> str:
    """Node-RED's id of the node here that comes first with this config node: ours has the listener or port."""
    nodes = given.around.placed.scope.nodes
    same = [node for kind in types for node in nodes if node["type"] == kind and node.get(key) == given.raw.get(key)]
    return str(same[0]["id"])


def _at(given: Given, holder: str, *, reads: bool) -> Turned:
    """A junction that gets what the holder says, or hands on to it."""
    id = given.around.id_of(holder)
    if reads:
        return Turned("core/junction", joins=[(f"{id}.out", "{id}.in")])
    return Turned("core/junction", {}, [], joins=[("{id}.out", f"{id}.in")])


def websocket(given: Given) -> Turned:
    """`websocket in` and `websocket out`."""
    key = "server" if given["server"] else "client"
    raw = given.around.config_node(given[key])
    given.skip("server", "client")
    if raw is None:
        raise CannotTurn("its listener or its server is not in the export", "export it with its config nodes")
    holder = _holder(given, ("websocket in", "websocket out"), key)
    reads = given.type == "websocket in"
    if holder != given.id:
        return _at(given, holder, reads=reads)
    if typed.truth(raw.get("wholemsg")):
        given.differs("whole messages were said as JSON; here it is the payload")
    outputs = ["out"] if reads else []
    path = str(raw.get("path") or "/")
    if key == "client":
        config: dict[str, Any] = {"url": typed.text(path)}
        if raw.get("subprotocol"):
            given.around.tell("setting", given, f"subprotocol = {raw['subprotocol']!r} has no counterpart here")
        return Turned("core/websocket-client", config, outputs)
    listeners = [id for id, one in given.around.export.configs.items() if one["type"] == "websocket-listener"]
    port = _FIRST_PORT + listeners.index(str(raw["id"]))
    path = path if path.startswith("/") else f"/{path}"
    given.differs(
        f"it listens at ws://127.0.0.1:{port}{path}, not at Node-RED's own address",
        "set port and address, and in origins the pages that may connect",
    )
    return Turned("core/websocket-server", {"port": port, "path": typed.text(path)}, outputs)


def _tls(given: Given) -> dict[str, Any]:
    raw = given.around.config_node(given["tls"]) if given["tls"] else None
    given.skip("usetls")
    if raw is None:
        return {}
    config: dict[str, Any] = {"tls": True}
    for theirs, ours in (("ca", "tls_ca"), ("cert", "tls_cert"), ("key", "tls_key")):
        if raw.get(theirs):
            config[ours] = typed.text(str(raw[theirs]))
    return config


def tcp_in(given: Given) -> Turned:
    """`tcp in`."""
    mode = given.text("server", "server")
    config: dict[str, Any] = {"port": typed.value(given["port"], "num"), **_tls(given)}
    if mode == "client":
        config |= {"mode": "client", "host": typed.text(given.text("host", "localhost"))}
    else:
        given.skip("host")
        config["host"] = "0.0.0.0"
    if given.text("datamode", "stream") == "single":
        raise CannotTurn("a message is all that comes until the connection ends", "tell messages apart by a delimiter")
    datatype = given.text("datatype", "buffer")
    config["format"] = _FORMATS.get(datatype, "bytes")
    newline = given.text("newline")
    if datatype != "buffer" and newline:
        config["delimiter"] = _ENDS.get(newline, newline)
    else:
        config["frame"] = "none"
    if typed.truth(given["trim"]):
        given.differs("the delimiter was passed on; here it is not")
    given.lacks("topic", "the topic is the address of the peer", "a core/change behind it")
    given.skip("base64")
    then = [("base64", "core/base64", {"action": "encode"})] if datatype == "base64" else []
    return Turned("iot/tcp-in", config, input="reply", then=then)


def tcp_out(given: Given) -> Turned:
    """`tcp out`; what replies goes to the tcp-in that the message came from."""
    kind = given.text("beserver", "client")
    if typed.truth(given["base64"]):
        raise CannotTurn("it sends what base64 text stands for", "a core/base64 node in front")
    if kind == "reply":
        given.skip("host", "port", "end", "tls")
        servers = [one for one in given.around.placed.scope.nodes if one["type"] == "tcp in"]
        if len(servers) != 1:
            raise CannotTurn(f"it replies to what {len(servers)} tcp in nodes take", "wires to `reply` of each")
        id = given.around.id_of(str(servers[0]["id"]))
        return Turned("core/junction", {}, [], joins=[("{id}.out", f"{id}.reply")])
    if kind != "client":
        raise CannotTurn("it sends to all that connect to it", "iot/tcp-in, whose `reply` answers who has asked")
    given.lacks("end", "the connection is kept", "iot/tcp-request with keep off")
    host = typed.text(given.text("host", "localhost"))
    config = {"host": host, "port": typed.value(given["port"], "num"), "frame": "none", **_tls(given)}
    return Turned("iot/tcp-out", config, [])


def tcp_request(given: Given) -> Turned:
    """`tcp request`."""
    if not given["server"] or not given["port"]:
        raise CannotTurn("the message says whom it asks", "name host and port in an iot/tcp-request node")
    host, port = typed.text(given.text("server")), typed.value(given["port"], "num")
    config: dict[str, Any] = {"host": host, "port": port}
    how, by = given.text("out", "time"), given.text("splitc")
    if how == "time":
        config |= {"frame": "time", "silence_s": max(0.001, min(60.0, typed.number(by or 0) / 1000))}
        given.differs("the answer ended so long after its first byte; here when nothing comes for so long")
    elif how == "char":
        config["delimiter"] = chr(int(by)) if by.isdigit() else by
        config["delimiter"] = {"\n": "\\n", "\r": "\\r"}.get(config["delimiter"], config["delimiter"])
        given.differs("the question is ended by the same delimiter")
    elif how == "count":
        config |= {"frame": "length", "length_bytes": int(typed.number(by))}
    else:
        raise CannotTurn("it passes on all that comes until the connection ends", "an iot/tcp-in in mode client")
    config["format"] = "text" if given.text("ret", "buffer") == "string" else "bytes"
    given.skip("newline", "trim")
    return Turned("iot/tcp-request", config | _tls(given))


def udp_in(given: Given) -> Turned:
    """`udp in`."""
    config: dict[str, Any] = {"port": typed.value(given["port"], "num"), "address": "0.0.0.0"}
    if given.text("ipv", "udp4") != "udp4":
        raise CannotTurn("IPv6", "IPv4")
    if typed.truth(given["multicast"]):
        config["group"] = typed.text(given.text("group"))
        if interface := given.text("iface"):
            config["interface"] = typed.text(interface)
    given.skip("group", "iface", "multicast")
    datatype = given.text("datatype", "buffer")
    config["format"] = _FORMATS.get(datatype, "bytes")
    then = [("base64", "core/base64", {"action": "encode"})] if datatype == "base64" else []
    return Turned("iot/udp-in", config, then=then)


def udp_out(given: Given) -> Turned:
    """`udp out`; without an address the message says it, `msg.ip` and `msg.port`."""
    if given.text("ipv", "udp4") != "udp4":
        raise CannotTurn("IPv6", "IPv4")
    if typed.truth(given["base64"]):
        raise CannotTurn("it sends what base64 text stands for", "a core/base64 node in front")
    address, port = given.text("addr"), given.text("port")
    config: dict[str, Any] = {
        "host": typed.text(address) if address else {"$message": "meta.ip"},
        "port": typed.value(port, "num") if port else {"$message": "meta.port"},
    }
    kind = given.text("multicast", "false")
    if kind == "broad":
        config["broadcast"] = True
    if interface := given.text("iface"):
        config["interface"] = typed.text(interface)
    given.lacks("outport", "the port that it sends from", harmless=(None, "", 0, "0"))
    return Turned("iot/udp-out", config, [])


_PARITY = {"none": "none", "even": "even", "odd": "odd", "mark": "mark", "space": "space"}


def serial(given: Given) -> Turned:
    """`serial in`, `serial out` and `serial request`, of the package node-red-node-serialport."""
    raw = given.around.config_node(given["serial"])
    if raw is None:
        raise CannotTurn("its port is not in the export", "export it with its config nodes")
    holder = _holder(given, ("serial request", "serial in", "serial out"), "serial")
    if holder != given.id:
        return _at(given, holder, reads=given.type != "serial out")
    if given.type == "serial request":
        given.differs("all that the device says comes out, whether it was asked or not")
    config: dict[str, Any] = {"port": typed.text(str(raw.get("serialport") or "")), **_line(raw)}
    if raw.get("waitfor"):
        given.around.tell("setting", given, f"waitfor = {raw['waitfor']!r}: all that comes is passed on")
    return Turned("iot/serial", config, [] if given.type == "serial out" else ["out"])


def _line(raw: Raw) -> dict[str, Any]:
    config: dict[str, Any] = {"baud": int(typed.number(raw.get("serialbaud") or 57600, "the speed"))}
    for theirs, ours, usual in (("databits", "data_bits", 8), ("stopbits", "stop_bits", 1)):
        if (number := typed.number(raw.get(theirs) or usual)) != usual:
            config[ours] = number
    if (parity := _PARITY.get(str(raw.get("parity") or "none"), "none")) != "none":
        config["parity"] = parity
    how, by = str(raw.get("out") or "char"), str(raw.get("newline") or "")
    if how == "char":
        config["delimiter"] = _ENDS.get(by, by) or "\\n"
    elif how == "count":
        config |= {"frame": "length", "length_bytes": int(typed.number(by))}
    elif how in ("time", "interbyte"):
        config |= {"frame": "time", "silence_s": max(0.001, min(60.0, typed.number(by or 0) / 1000))}
    else:
        config["frame"] = "none"
    config["format"] = "bytes" if str(raw.get("bin")).lower() in ("true", "bin") else "text"
    return config
