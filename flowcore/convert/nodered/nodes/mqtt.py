"""mqtt in and mqtt out, with the broker as a resource."""

from __future__ import annotations

from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.findings import CannotTurn
from flowcore.convert.nodered.node import Given, Turned

_FORMATS = {"auto-detect": "auto", "auto": "auto", "buffer": "bytes", "utf8": "text", "json": "json"}


def mqtt_in(given: Given) -> Turned:
    """`mqtt in`."""
    if given["inputs"] in (1, "1"):
        raise CannotTurn("it subscribes to what messages say", "name the topics in an iot/mqtt-in node")
    config = _link(given)
    config["topic"] = typed.text(given.text("topic"))
    config["qos"] = int(typed.number(given.get("qos", 2) or 0, "the quality of service"))
    datatype = given.text("datatype", "auto-detect")
    if datatype == "base64":
        raise CannotTurn("payloads come as base64", "use format bytes and a core/base64 node")
    config["format"] = _FORMATS.get(datatype, "auto")
    if given["rh"] in (2, "2"):
        config["retained"] = False
    given.lacks("nl", "MQTT 5: its own messages come too")
    given.lacks("rap", "MQTT 5: retain as published", harmless=(None, "", False, True, "false", "true", 0, "0", 1, "1"))
    given.skip("topicType")
    return Turned("iot/mqtt-in", config)


def mqtt_out(given: Given) -> Turned:
    """`mqtt out`."""
    config = _link(given)
    if topic := given.text("topic"):
        config["topic"] = typed.text(topic)
    elif config.get("broker", {}).get("url") == "embedded":
        config["allow"] = ["#"]
    qos, retain = given.text("qos"), given.text("retain")
    config["qos"] = int(typed.number(qos)) if qos else 0
    if not qos:
        given.differs("quality of service comes from msg.qos there, here it is 0", "set qos")
    if retain in ("true", "True"):
        config["retain"] = True
    elif retain == "":
        given.skip("retain")
        config["retain"] = {"$message": "meta.retain"}
    for key in ("respTopic", "contentType", "userProps", "correl", "expiry"):
        given.lacks(key, "MQTT 5: we speak 3.1.1")
    return Turned("iot/mqtt-out", config, [])


def _link(given: Given) -> dict[str, Any]:
    """What a node has of its broker: the resource, and what in Node-RED the broker says for all its nodes."""
    raw = given.around.config_node(given["broker"])
    if raw is None:
        raise CannotTurn("its broker is not in the export", "export it with its config nodes")
    config: dict[str, Any] = {"broker": {"$use": given.around.resource(raw)}}
    if raw.get("clientid"):
        given.differs(
            f"the client id {raw['clientid']!r} was the broker's; here each node has a connection and an id of its own"
        )
    if raw.get("cleansession") is False and given.type == "mqtt in":
        config["clean_session"] = False
    for notice in ("birth", "close", "will"):
        if topic := raw.get(f"{notice}Topic"):
            said: dict[str, Any] = {"topic": typed.text(str(topic)), "payload": str(raw.get(f"{notice}Payload") or "")}
            said["qos"] = int(typed.number(raw.get(f"{notice}Qos") or 0))
            said["retain"] = typed.truth(raw.get(f"{notice}Retain"))
            config[notice] = said
    return config
