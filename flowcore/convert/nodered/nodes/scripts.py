"""function and template: what people wrote themselves."""

from __future__ import annotations

import re
from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.findings import CannotTurn
from flowcore.convert.nodered.node import Given, Turned

_ASKED_FOR = re.compile(r"""\benv\.get\(\s*(["'`])([A-Za-z_]\w*)\1\s*\)""")
_FILLED_IN = re.compile(r"\{\{[{&#^]?\s*env\.([A-Za-z_]\w*)")
_STORE = re.compile(r"""\b(?:context|flow|global)\.(?:get|set)\([^)]*,\s*["']\w+["']\s*\)""")
_OF_NODE_RED = ("NR_NODE_ID", "NR_NODE_NAME", "NR_NODE_PATH", "NR_GROUP_ID", "NR_GROUP_NAME", "NR_FLOW_ID",
                "NR_FLOW_NAME", "NR_SUBFLOW_ID", "NR_SUBFLOW_NAME", "NR_SUBFLOW_PATH")  # fmt: skip


def function(given: Given) -> Turned:
    """`function`."""
    script = given.text("func", "return msg;")
    config: dict[str, Any] = {"script": script}
    start, stop = given.text("initialize"), given.text("finalize")
    if _says_something(start):
        config["on_start"] = start
    if _says_something(stop):
        config["on_stop"] = stop
    count = int(typed.number(given.raw.get("outputs", 1), "the number of outputs"))
    if count != 1:
        config["outputs"] = count
    if env := _env(given, (name for _, name in _ASKED_FOR.findall("\n".join((script, start, stop))))):
        config["env"] = env
    timeout = typed.number(given.get("timeout", 0) or 0, "the time-out")
    if timeout:
        config["timeout_s"] = timeout
    for lib in given.get("libs", []):
        given.around.tell(
            "setting", given, f"it uses the npm package {lib.get('module')!r} as {lib.get('var')}",
            "scripts load no packages: a node of your own in Python (`flowcore new-node`)",
        )  # fmt: skip
    if re.search(r"\b(?:require|fs|process)\b\s*[.(]", script):
        given.differs("scripts have no require, fs and process", "file nodes, or a node of your own in Python")
    if _STORE.search(script):
        given.differs("contexts have one store, which is kept over restarts: its name in get and set is not needed")
    given.skip("noerr")
    outputs = ["out"] if count == 1 else [f"out{k}" for k in range(1, count + 1)]
    return Turned("core/javascript", config, outputs)


def _says_something(code: str) -> bool:
    """Whether there is more than the comments that the editor begins with."""
    return any(line.strip() and not line.strip().startswith("//") for line in code.splitlines())


def template(given: Given) -> Turned:
    """`template`."""
    text, syntax = given.text("template"), given.text("syntax", "mustache")
    if syntax not in ("mustache", "plain"):
        raise CannotTurn(f"a template of syntax {syntax!r}")
    given.skip("format")  # how the editor colours it
    kind = given.text("fieldType", "msg")
    path = typed.place(given.text("field", "payload"), kind)
    config: dict[str, Any] = {"template": text, "syntax": syntax}
    output = given.text("output", "str")
    if output in ("json", "yaml"):
        config["output"] = output
    if env := _env(given, _FILLED_IN.findall(text)):
        config["env"] = env
    if kind == "msg":
        if path != "payload":
            config["path"] = path
        return Turned("core/template", config)
    # Into a context: by way of a property that the message has for a moment.
    held = "meta.filled"
    rules = [
        {"action": "set", "path": path, "value": {"$message": held}},
        {"action": "delete", "path": held},
    ]
    return Turned("core/template", {**config, "path": held}, then=[("keep", "core/change", {"rules": rules})])


def _env(given: Given, names: Any) -> dict[str, Any]:
    """The environment variables that a script names, which it gets from its own settings here."""
    env: dict[str, Any] = {}
    for name in dict.fromkeys(names):
        if name == "NR_NODE_NAME":
            env[name] = given.name
        elif name in ("NR_FLOW_NAME", "NR_FLOW_ID", "NR_SUBFLOW_NAME"):
            definition = given.around.placed.scope.definition
            env[name] = str(definition.get("label") or definition.get("name") or "")
        elif name not in _OF_NODE_RED:
            env[name] = typed.env(name)
    return env
