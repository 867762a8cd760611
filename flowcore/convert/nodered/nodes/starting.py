"""inject and debug: where messages begin, and where people see them."""

from __future__ import annotations

import re
from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.findings import CannotTurn
from flowcore.convert.nodered.node import Given, Turned
from flowcore.convert.nodered.nodes.by_script import SCRIPTED, Script, script_of, set_by_script

_TIME_OF_DAY = re.compile(r"^\s*(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s*$")
_BETWEEN = re.compile(r"^\*/(\d+) ")


def inject(given: Given) -> Turned:
    """`inject`, also of the time when payload and topic stood in the node itself."""
    given.skip("payload", "payloadType", "topic", "once", "onceDelay", "repeat", "crontab", "props")
    config: dict[str, Any] = {}
    late: list[tuple[str, str, dict[str, Any]]] = []  # what an inject of ours can't say by itself
    rules: list[dict[str, Any]] = []
    lines: list[Script] = []
    meta: dict[str, Any] = {}
    for prop in _props(given):
        name, kind, value = str(prop.get("p")), str(prop.get("vt") or "str"), prop.get("v")
        if kind in SCRIPTED and not (name == "payload" and kind == "date"):
            lines.append(set_by_script(given, name, "msg", kind, value))
        elif name == "payload":
            config |= _payload(given, value, kind, rules)
        elif name == "topic" and kind == "str":
            if value:
                config["topic"] = typed.text(str(value))
        elif kind in ("str", "num", "bool", "json", "env") and len(typed.parts(name)) == 1 and name != "topic":
            meta[name] = typed.value(value, kind)
        else:
            rules.append({"action": "set", "path": typed.path(name), "value": typed.value(value, kind)})
    if meta:
        config["meta"] = meta
    if rules:
        late.append(("set", "core/change", {"rules": rules}))
    if lines:
        late.append(("make", "core/javascript", {"script": script_of(lines)}))
    config |= _when(given)
    return Turned("core/inject", config, then=late, input="button")


def _props(given: Given) -> list[dict[str, Any]]:
    props = given.raw.get("props")
    old = {
        "payload": (given.raw.get("payload"), given.raw.get("payloadType")),
        "topic": (given.raw.get("topic"), "str"),
    }
    if not isinstance(props, list):
        return [{"p": name, "v": value, "vt": kind} for name, (value, kind) in old.items()]
    # The first two keep their values beside the list.
    return [
        {"p": one["p"], "v": old[one["p"]][0], "vt": old[one["p"]][1]}
        if one.get("p") in old and "v" not in one
        else one
        for one in props
    ]


def _payload(given: Given, value: Any, kind: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    if kind in ("date", "none", "undefined") or (kind == "" and not value):
        if value in ("iso", "object"):
            given.differs("the time is a text (ISO 8601)") if value == "object" else None
            return {"kind": "now"}
        return {"kind": "timestamp"} if kind == "date" else {}
    if kind in ("flow", "global"):
        rules.append({"action": "set", "path": "payload", "value": typed.value(value, kind)})
        return {}
    return {"payload": typed.value(value, kind)}


def _when(given: Given) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if typed.truth(given.raw.get("once")):
        config["at_start"] = True
        delay = given.raw.get("onceDelay")
        if delay not in (None, "", 0.1, "0.1"):
            config["start_delay_s"] = typed.number(delay, "the delay at the start")
    repeat, crontab = given.raw.get("repeat"), str(given.raw.get("crontab") or "").strip()
    if repeat not in (None, ""):
        config["every_s"] = typed.value(repeat, "num")
        if crontab:
            given.differs("it had an interval and times of day: only the interval is taken")
    elif crontab:
        if not _TIME_OF_DAY.match(crontab):
            raise CannotTurn(f"the times {crontab!r} are no cron expression of five fields")
        config["cron"] = crontab
        given.differs("times of day are UTC until a time zone is set", "set time_zone, such as Europe/Berlin")
    return config


def debug(given: Given) -> Turned:
    """`debug`."""
    config: dict[str, Any] = {}
    complete, kind = given.get("complete", "payload"), given.text("targetType", "msg")
    if kind == "jsonata":
        raise CannotTurn(f"it shows the JSONata expression {complete!r}", "put a core/javascript node in front of it")
    if complete is True or str(complete) in ("true", "full") or kind == "full":
        config["show"] = "message"
    elif str(complete) not in ("false", "payload", ""):
        config |= {"show": "part", "path": typed.path(str(complete))}
    elsewhere = typed.truth(given["console"]) or typed.truth(given["tostatus"])
    is_shown = typed.truth(given.get("tosidebar", True)) or elsewhere
    if not typed.truth(given.get("active", True)) or not is_shown:
        config["active"] = False
    if typed.truth(given["console"]):
        config["log"] = True
    if typed.truth(given["tostatus"]):
        config["status"] = True
    status = given.text("statusVal")
    is_another = given.text("statusType", "auto") not in ("auto", "msg") or status not in ("", "payload", str(complete))
    if is_another and typed.truth(given["tostatus"]):
        given.lacks("statusVal", "the status shows what the panel shows", "use two debug nodes")
    return Turned("core/debug", config, [])
