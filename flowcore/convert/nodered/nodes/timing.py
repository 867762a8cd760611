"""delay and trigger: what waits, and how fast messages may go."""

from __future__ import annotations

from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.findings import CannotTurn
from flowcore.convert.nodered.node import Given, Turned

_SECONDS = {
    "ms": 0.001, "milliseconds": 0.001, "millisecond": 0.001, "s": 1, "second": 1, "seconds": 1, "min": 60,
    "minute": 60, "minutes": 60, "hr": 3600, "hour": 3600, "hours": 3600, "day": 86_400, "days": 86_400,
}  # fmt: skip


def _seconds(value: Any, unit: str, what: str) -> float | int:
    if unit not in _SECONDS:
        raise CannotTurn(f"{what} in {unit!r}")
    found = typed.number(value, what) * _SECONDS[unit]
    return int(found) if float(found).is_integer() else round(found, 9)


def delay(given: Given) -> Turned:
    """`delay`."""
    kind = given.text("pauseType", "delay")
    config: dict[str, Any]
    outputs = ["out"]
    if kind in ("delay", "delayv"):
        config = {"seconds": _seconds(given.get("timeout", 5), given.text("timeoutUnits", "seconds"), "the delay")}
        if kind == "delayv":
            config["from_message"] = True
        given.skip("rate", "nbRateUnits", "rateUnits", "randomFirst", "randomLast", "randomUnits", "drop", "allowrate")
    elif kind == "random":
        unit = given.text("randomUnits", "seconds")
        config = {
            "seconds": _seconds(given.get("randomFirst", 1), unit, "the shortest delay"),
            "up_to_s": _seconds(given.get("randomLast", 5), unit, "the longest delay"),
        }
        given.skip("timeout", "timeoutUnits", "rate", "nbRateUnits", "rateUnits", "drop", "allowrate")
    elif kind in ("rate", "timed", "queue"):
        config, outputs = _limit(given, kind)
    else:
        raise CannotTurn(f"it delays by {kind!r}")
    return Turned("core/rate", config, outputs)


def _limit(given: Given, kind: str) -> tuple[dict[str, Any], list[str]]:
    given.skip("timeout", "timeoutUnits", "randomFirst", "randomLast", "randomUnits")
    per_s = _seconds(given.get("nbRateUnits", 1) or 1, given.text("rateUnits", "second"), "the time of the rate")
    config: dict[str, Any] = {"mode": {"rate": "limit", "timed": "all_at_once", "queue": "in_turn"}[kind]}
    config |= {"messages": int(typed.number(given.get("rate", 1), "the rate")), "per_s": per_s}
    if typed.truth(given["allowrate"]):
        config["from_message"] = True
    if kind != "rate":
        config["key"] = "topic"
        given.skip("drop")
    elif typed.truth(given["drop"]):
        config["over"] = "drop"
    return config, ["out", "dropped"] if str(given.raw.get("outputs", 1)) == "2" else ["out"]


def trigger(given: Given) -> Turned:
    """`trigger`."""
    config: dict[str, Any] = {}
    send, value = _sent(given, "op1", "1")
    config |= {"send": send} if send != "value" else {"value": value}
    duration, unit = typed.number(given.get("duration", 250) or 0, "the time"), given.text("units", "ms")
    config |= {"seconds": _seconds(abs(duration) or 1, unit, "the time")}
    extends, outputs = typed.truth(given["extend"]), ["out"]
    then, then_value = _sent(given, "op2", "0")
    if duration > 0:
        config |= {"then": then} if then != "value" else {"then_value": then_value}
        if extends:
            config["extend"] = True
        if str(given.raw.get("outputs", 1)) == "2":
            config["second_output"] = True
            outputs = ["out", "later"]
    else:  # what would be sent later never is
        config["mode"] = "repeat" if duration < 0 else "until_reset"
        if str(given.raw.get("outputs", 1)) == "2":
            outputs = ["out", "later"]
    if typed.truth(given["overrideDelay"]):
        config["from_message"] = True
    if (reset := given.text("reset")) != "":
        config["reset_payload"] = typed.text(reset)
    if given.text("bytopic", "all") == "topic":
        config["key"] = typed.path(given.text("topic", "topic"))
    else:
        given.skip("topic")
    return Turned("core/trigger", config, outputs)


def _sent(given: Given, name: str, default: str) -> tuple[str, Any]:
    """What is sent: our word for it, and the value."""
    kind, value = given.text(f"{name}type", "str"), given.get(name, default)
    if kind == "val":
        kind = "bool" if value in ("true", "false") else "json" if value == "null" else "str"
    if kind in ("nul", "pay", "payl"):
        return {"nul": "nothing", "pay": "message", "payl": "newest"}[kind], None
    if kind == "date":
        raise CannotTurn("it sends the time now", "use a core/change or core/javascript node behind it")
    return "value", typed.value(value, kind)
