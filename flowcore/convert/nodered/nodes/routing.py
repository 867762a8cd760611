"""switch, range, filter (rbe): what decides where a message goes, and what becomes of a number."""

from __future__ import annotations

from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.findings import CannotTurn
from flowcore.convert.nodered.node import Given, Turned

_OPERATORS = {
    "eq": "==", "neq": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">=", "hask": "has key", "btwn": "between",
    "cont": "contains", "regex": "matches", "true": "true", "false": "false", "null": "null", "nnull": "not null",
    "istype": "is type", "empty": "empty", "nempty": "not empty", "head": "head", "tail": "tail",
    "index": "index between", "else": "otherwise",
}  # fmt: skip
_NO_VALUE = ("true", "false", "null", "nnull", "empty", "nempty", "else")
_TYPES = {
    "string": "text", "number": "number", "boolean": "bool", "array": "list", "buffer": "bytes", "object": "map",
    "json": "json", "undefined": "null", "null": "null",
}  # fmt: skip


def switch(given: Given) -> Turned:
    """`switch`."""
    path = typed.place(given.text("property", "payload"), given.text("propertyType", "msg"))
    rules = [_rule(one) for one in given.get("rules", [])]
    given.lacks("repair", "sequences are not made anew of what goes out", "put a core/batch node behind it")
    config: dict[str, Any] = {"path": path, "rules": rules}
    if not typed.truth(given.get("checkall", "true")):
        config["first_match"] = True
    return Turned("core/switch", config, [f"out{k}" for k in range(1, len(rules) + 1)])


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    kind = str(rule.get("t"))
    if kind == "jsonata_exp":
        raise CannotTurn(f"a rule is the JSONata expression {rule.get('v')!r}", "use a core/javascript node")
    if kind not in _OPERATORS:
        raise CannotTurn(f"a rule of kind {kind!r}")
    made: dict[str, Any] = {"op": _OPERATORS[kind]}
    if kind in _NO_VALUE:
        return made
    if kind == "istype":
        return {**made, "value": _TYPES.get(str(rule.get("v")), str(rule.get("v")))}
    made["value"] = typed.value(rule.get("v"), str(rule.get("vt") or "str"))
    if kind in ("btwn", "index"):
        made["value2"] = typed.value(rule.get("v2"), str(rule.get("v2t") or "str"))
    if kind == "regex" and rule.get("case"):
        made["ignore_case"] = True
    return made


_RANGE = {"scale": "scale", "clamp": "clamp", "roll": "wrap", "drop": "drop"}


def range_(given: Given) -> Turned:
    """`range`."""
    config: dict[str, Any] = {"action": _RANGE[given.text("action", "scale")]}
    for theirs, ours in (("minin", "from_low"), ("maxin", "from_high"), ("minout", "to_low"), ("maxout", "to_high")):
        config[ours] = typed.value(given.get(theirs, 0), "num")
    if typed.truth(given["round"]):
        config["round"] = True
    path = typed.path(given.text("property", "payload"))
    return Turned("core/range", config if path == "payload" else {**config, "path": path})


_FILTER = {"rbe": "change", "rbei": "change", "deadband": "deadband", "deadbandEq": "deadband",
           "narrowband": "narrowband", "narrowbandEq": "narrowband"}  # fmt: skip


def filter_(given: Given) -> Turned:
    """`rbe`, which the palette calls filter."""
    func = given.text("func", "rbe")
    if func not in _FILTER:
        raise CannotTurn(f"a filter of kind {func!r}")
    config: dict[str, Any] = {"mode": _FILTER[func], "path": typed.path(given.text("property", "payload"))}
    separate = typed.truth(given.get("septopics", True))
    config["key"] = typed.path(given.text("topi", "topic")) if separate else ""
    if func == "rbei":
        config["skip_first"] = True
    if _FILTER[func] == "change":
        given.skip("gap", "start", "inout")
        return Turned("core/filter", config)
    gap = given.text("gap", "0").strip()
    config["band"] = typed.number(gap.removesuffix("%") or 0, "the gap")
    if gap.endswith("%"):
        config["percent"] = True
    # Theirs are named by what a change of exactly the band does: deadbandEq passes it, narrowbandEq holds it back.
    config["pass_at_band"] = func in ("deadbandEq", "narrowband")
    if given.text("inout", "out") == "in":
        config["compare_with"] = "last_input"
    start = given.text("start").strip()
    if start and _FILTER[func] == "narrowband":
        config["start"] = typed.number(start, "the start value")
    return Turned("core/filter", config)
