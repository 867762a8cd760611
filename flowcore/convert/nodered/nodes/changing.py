"""change: rules that set, change, delete and move parts of a message."""

from __future__ import annotations

import re
from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.findings import CannotTurn
from flowcore.convert.nodered.node import Given, Turned


def change(given: Given) -> Turned:
    """`change`, also in the old form with one rule that stands in the node itself."""
    rules = given["rules"]
    given.skip("action", "property", "from", "to", "reg")
    if not rules:
        rules = [_old(given)] if given["action"] else []
    return Turned("core/change", {"rules": [_rule(given, rule) for rule in rules]})


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
