"""change: rules that set, change, delete and move parts of a message."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.findings import CannotTurn
from flowcore.convert.nodered.node import Given, Turned
from flowcore.convert.nodered.nodes.by_script import SCRIPTED, Script, script_of, set_by_script


def change(given: Given) -> Turned:
    """`change`, also in the old form with one rule that stands in the node itself."""
    rules = given["rules"]
    given.skip("action", "property", "from", "to", "reg")
    if not rules:
        rules = [_old(given)] if given["action"] else []
    steps = [_step(given, rule) for rule in rules]
    runs: list[tuple[str, dict[str, Any]]] = []
    for is_script, run in groupby(steps, key=lambda step: isinstance(step, Script)):
        if is_script:
            runs.append(("core/javascript", {"script": script_of([step for step in run if isinstance(step, Script)])}))
        else:
            runs.append(("core/change", {"rules": list(run)}))
    (type, config), *more = runs or [("core/change", {"rules": []})]
    return Turned(type, config, then=[("then", *one) for one in more])


def _step(given: Given, rule: dict[str, Any]) -> dict[str, Any] | Script:
    """A rule of ours, or a line of JavaScript that does what our rules have no value for."""
    kind = str(rule.get("tot"))
    if rule.get("t") != "set" or kind not in SCRIPTED:
        return _rule(given, rule)
    return set_by_script(given, str(rule.get("p") or "payload"), str(rule.get("pt") or "msg"), kind, rule.get("to"))


def _old(given: Given) -> dict[str, Any]:
    kind = "set" if given["action"] == "replace" else str(given["action"])
    rule = {"t": kind, "p": given.text("property", "payload"), "pt": "msg", "to": given.text("to"), "tot": "str"}
    return {**rule, "from": given.text("from"), "fromt": "re" if typed.truth(given["reg"]) else "str"}


def _rule(given: Given, rule: dict[str, Any]) -> dict[str, Any]:
    kind = str(rule.get("t"))
    path = typed.place(str(rule.get("p") or "payload"), str(rule.get("pt") or "msg"))
    to, to_kind = rule.get("to"), str(rule.get("tot") or "str")
    made: dict[str, Any] = {"action": kind, "path": path}
    if kind == "delete":
        return made
    if kind == "move":
        return {**made, "to": typed.place(str(to), to_kind if to_kind != "str" else "msg")}
    if kind == "set":
        return {**made, "value": typed.value(to, to_kind)}
    if kind != "change":
        raise CannotTurn(f"a rule of kind {kind!r}")
    find_kind = str(rule.get("fromt") or "str")
    made["search"] = typed.value(rule.get("from"), find_kind)
    if find_kind == "re":
        made["regex"] = True
        if to_kind == "str":
            return {**made, "value": typed.text(_replacement(str(to or "")))}
        if to_kind in ("msg", "flow", "global", "env"):
            given.differs("groups of the pattern ($1) in a value that comes with the message are written \\1 here")
    return {**made, "value": typed.value(to, to_kind)}


def _replacement(text: str) -> str:
    r"""JavaScript's `$1`, `$&`, `$<name>` and `$$` as ours: `\1`, `\g<0>`, `\g<name>` and `$`."""

    def one(match: re.Match[str]) -> str:
        what = match[1]
        if what == "$":
            return "$"
        if what == "&":
            return r"\g<0>"
        return rf"\g{what}" if what.startswith("<") else rf"\g<{int(what)}>"

    return re.sub(r"\$(\$|&|\d{1,2}|<\w+>)", one, text.replace("\\", "\\\\"))
