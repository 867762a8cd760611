"""split, join, batch, sort: sequences of messages."""

from __future__ import annotations

import json
import re
from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.findings import CannotTurn
from flowcore.convert.nodered.node import Given, Turned

_REDUCED = re.compile(
    r"^\$A\s*(?P<sign>[+*])\s*(?P<path>payload[\w.]*)$|^(?P<first>payload[\w.]*)\s*(?P<sign2>[+*])\s*\$A$"
)


def _unescaped(text: str) -> str:
    r"""`\n`, `\t`, `\r` and so on, which the form keeps as two characters."""
    known = {"n": "\n", "r": "\r", "t": "\t", "e": "\x1b", "f": "\f", "0": "\0"}
    return re.sub(r"\\([nrtef0])", lambda match: known[match[1]], text)


def split(given: Given) -> Turned:
    """`split`."""
    config: dict[str, Any] = {}
    kind, cut = given.text("spltType", "str"), given.get("splt", "\\n")
    if kind == "len":
        config["length"] = int(typed.number(cut, "the length"))
    elif kind == "bin":
        config["separator"] = _bytes(cut)
    elif (separator := _unescaped(str(cut))) != "\n":
        config["separator"] = typed.text(separator)
    items = int(typed.number(given.get("arraySplt", 1) or 1, "the number of items"))
    if items != 1:
        config["items"] = items
    given.skip("arraySpltType")
    if key := given.text("addname"):
        config["key_to"] = typed.path(key)
    if typed.truth(given["stream"]):
        config["stream"] = True
    path = typed.path(given.text("property", "payload") or "payload")
    return Turned("core/split", config if path == "payload" else {**config, "path": path})


def _bytes(value: Any) -> list[int]:
    try:
        return [int(one) for one in (json.loads(value) if isinstance(value, str) else value)]
    except (TypeError, ValueError):
        raise CannotTurn(f"{value!r} are no bytes") from None


_BUILD = {"string": "text", "buffer": "bytes", "array": "list", "object": "map", "merged": "merged"}


def join(given: Given) -> Turned:
    """`join`."""
    mode = given.text("mode", "auto")
    if mode == "auto":
        given.skip("build", "property", "propertyType", "key", "joiner", "joinerType", "useparts", "accumulate",
                   "count", "reduceRight", "reduceExp", "reduceInit", "reduceInitType", "reduceFixup")  # fmt: skip
        return Turned("core/join", _timeout(given))
    if mode == "reduce":
        return _reduce(given)
    given.skip("reduceRight", "reduceExp", "reduceInit", "reduceInitType", "reduceFixup", "useparts")
    build = given.text("build", "array")
    if build not in _BUILD:
        raise CannotTurn(f"it makes {build!r}")
    config: dict[str, Any] = {"mode": "manual", "result": _BUILD[build]}
    if given.text("propertyType", "msg") == "full":
        given.skip("property")
        config["whole"] = True
        given.differs("whole messages are joined as maps of payload, topic and meta")
    elif (path := typed.path(given.text("property", "payload") or "payload")) != "payload":
        config["value"] = path
        given.differs(f"the result is the payload; there it is put into msg.{path} of the last message")
    if build == "object":
        config["key"] = typed.path(given.text("key", "topic") or "topic")
    elif build in ("string", "buffer"):
        config["joiner"] = _joiner(given)
    given.skip("key", "joiner", "joinerType")
    if count := given.text("count"):
        config["count"] = int(typed.number(count, "the count"))
    if typed.truth(given["accumulate"]):
        if build in ("object", "merged"):
            config["each"] = True
        else:
            given.lacks("accumulate", "only maps are sent again with each further message")
    return Turned("core/join", {**config, **_timeout(given)})


def _timeout(given: Given) -> dict[str, Any]:
    timeout = given.text("timeout")
    seconds = typed.number(timeout, "the time-out") if timeout else 0
    return {"timeout_s": seconds} if seconds else {}


def _joiner(given: Given) -> Any:
    if given.text("joinerType", "str") == "bin":
        try:
            return bytes(_bytes(given.get("joiner", "[]"))).decode()
        except ValueError:
            raise CannotTurn("the bytes between are no UTF-8", "use a core/javascript node") from None
    return typed.text(_unescaped(given.text("joiner", "\\n")))


def _reduce(given: Given) -> Turned:
    """The few expressions that are a sum, a product or a mean; we have no JSONata for the others."""
    expression, fixup = given.text("reduceExp").strip(), given.text("reduceFixup").strip()
    initial = given.text("reduceInit", "0") or "0"
    found = _REDUCED.match(expression)
    sign = (found["sign"] or found["sign2"]) if found else ""
    kind = {"+": "sum", "*": "product"}.get(sign, "")
    if not found or initial != ("1" if sign == "*" else "0") or fixup.replace(" ", "") not in ("", "$A/$N"):
        raise CannotTurn(
            f"it reduces by the JSONata expression {expression!r}" + (f" and then {fixup!r}" if fixup else ""),
            "core/join and a core/javascript node behind it",
        )
    given.skip("build", "property", "propertyType", "key", "joiner", "joinerType", "useparts", "accumulate", "count",
               "reduceRight", "reduceInitType", "timeout")  # fmt: skip
    if fixup:
        if kind != "sum":
            raise CannotTurn(f"it reduces by {expression!r} and then {fixup!r}", "core/join and a core/javascript node")
        kind = "avg"
    config: dict[str, Any] = {"result": "reduced", "reduce": kind}
    path = typed.path(found["path"] or found["first"])
    return Turned("core/join", config if path == "payload" else {**config, "value": path})


def batch(given: Given) -> Turned:
    """`batch`."""
    mode = given.text("mode", "count")
    if mode == "count":
        given.skip("interval", "allowEmptySequence", "topics")
        config: dict[str, Any] = {"count": int(typed.number(given.get("count", 10), "the count"))}
        if overlap := int(typed.number(given.get("overlap", 0) or 0, "the overlap")):
            config["overlap"] = overlap
        if typed.truth(given["honourParts"]):
            config["honour_parts"] = True
        return Turned("core/batch", config)
    given.skip("count", "overlap")
    given.lacks("honourParts", "a sequence that ends does not end an interval")
    if mode == "interval":
        given.skip("topics")
        config = {"mode": "interval", "seconds": typed.number(given.get("interval", 10), "the interval")}
        if typed.truth(given["allowEmptySequence"]):
            config["empty"] = True
        return Turned("core/batch", config)
    given.skip("interval", "allowEmptySequence")
    return Turned(
        "core/batch", {"mode": "concatenate", "topics": [one.get("topic") for one in given.get("topics", [])]}
    )


def sort(given: Given) -> Turned:
    """`sort`."""
    config: dict[str, Any] = {}
    if given.text("targetType", "msg") == "seq":
        given.skip("target", "msgKey", "msgKeyType")
        key, kind = given.text("seqKey", "payload"), given.text("seqKeyType", "msg")
        config["by"] = "sequence"
        if kind == "msg" and (path := typed.path(key or "payload")) != "payload":
            config["key"] = path
    else:
        given.skip("seqKey", "seqKeyType")
        key, kind = given.text("msgKey"), given.text("msgKeyType", "elem")
        if (path := typed.path(given.text("target", "payload") or "payload")) != "payload":
            config["path"] = path
        if kind == "jsonata" and re.fullmatch(r"\w+(\.\w+)*", key):  # the path of a part, which needs no JSONata
            config["key"], kind = key, "elem"
    if kind == "jsonata":
        raise CannotTurn(f"it sorts by the JSONata expression {key!r}", "put the key into a part of its own before")
    if given.text("order", "ascending") == "descending":
        config["order"] = "descending"
    if typed.truth(given["as_num"]):
        config["as_number"] = True
    return Turned("core/sort", config)
