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
