"""Which function turns which type of node."""

from flowcore.convert.nodered.node import Turn
from flowcore.convert.nodered.nodes import changing, files, mqtt, plain, routing, scripts, sequences, starting, subflow, timing, wiring

BY_TYPE: dict[str, Turn] = {
    "inject": starting.inject,
    "debug": starting.debug,
    "switch": routing.switch,
    "range": routing.range_,
    "rbe": routing.filter_,
    "change": changing.change,
    "function": scripts.function,
    "template": scripts.template,
    "split": sequences.split,
    "join": sequences.join,
    "batch": sequences.batch,
    "sort": sequences.sort,
    "delay": timing.delay,
    "json": plain.json,
    "yaml": plain.yaml,
    "xml": plain.xml,
    "csv": plain.csv,
    "file": files.file,
    "file in": files.file_in,
    "mqtt in": mqtt.mqtt_in,
    "mqtt out": mqtt.mqtt_out,
    "link in": wiring.link_in,
    "link out": wiring.link_out,
    "link call": wiring.link_call,
    "junction": wiring.junction,
    "comment": wiring.comment,
    "catch": wiring.catch,
    "status": wiring.status,
    "complete": wiring.complete,
    "subflow": subflow.instance,
}
