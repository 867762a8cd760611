"""json, yaml, xml, csv: texts that become values, and values that become texts."""

from __future__ import annotations

from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.node import Given, Turned

_JSON = {"": "auto", "obj": "parse", "str": "stringify"}


def json(given: Given) -> Turned:
    """`json`."""
    config: dict[str, Any] = {"action": _JSON.get(given.text("action"), "auto"), **_path(given)}
    if typed.truth(given["pretty"]):
        config["indent"] = 4
    return Turned("core/json", config)


def yaml(given: Given) -> Turned:
    """`yaml`."""
    return Turned("core/yaml", _path(given))


def xml(given: Given) -> Turned:
    """`xml`."""
    config = _path(given)
    for theirs, ours in (("attr", "attribute_key"), ("chr", "text_key")):
        if (key := given.text(theirs)) and key != {"attr": "$", "chr": "_"}[theirs]:
            config[ours] = key
    return Turned("core/xml", config)


_ESCAPES = {r"\t": "\t", r"\n": "\n", r"\r": "\r", r"\r\n": "\r\n"}


def csv(given: Given) -> Turned:
    """`csv`."""
    config: dict[str, Any] = {}
    separator = given.text("sep", ",")
    separator = _ESCAPES.get(separator, separator)
    if separator != ",":
        config["separator"] = separator
    if columns := given.text("temp"):
        config["columns"] = typed.text(columns)
    if typed.truth(given["hdrin"]):
        config["header"] = True
    if skip := int(typed.number(given.get("skip", 0) or 0, "the lines to skip")):
        config["skip_lines"] = skip
    if not typed.truth(given.get("strings", True)):
        config["numbers"] = False
    if typed.truth(given["include_empty_strings"]):
        config["empty_texts"] = True
    if typed.truth(given["include_null_values"]):
        config["nulls"] = True
    if given.text("multi", "one") == "mult":
        config["output"] = "table"
    header = str(given.get("hdrout", "none")).lower()
    config["header_out"] = {"true": "all", "false": "none", "": "none"}.get(header, header)
    newline = given.text("ret", r"\n")
    config["newline"] = _ESCAPES.get(newline, newline)
    if given.text("spec") in ("", "legacy"):
        given.differs("CSV is read as RFC 4180 says, not in Node-RED's old way")
    quote = given.text("quo", '"')
    if quote and quote != '"':
        config["quote"] = quote
    return Turned("core/csv", config)


def _path(given: Given) -> dict[str, Any]:
    path = typed.path(given.text("property", "payload") or "payload")
    return {} if path == "payload" else {"path": path}
