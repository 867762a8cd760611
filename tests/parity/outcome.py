"""What came out of a case, in a form in which two runtimes can be compared.

An outcome is a list: `{"port": 2, "msg": {...}}` for each message, output by output in the order in which they were
sent from it (wires don't wait for each other, so between outputs there is none), then `{"error": true}` for each
message that failed. `msg` is Node-RED's: `payload`, `topic`, and beside them what is in our `meta`. What is the same in
other words is put into ours:

- no payload and an empty one (null), no topic and an empty one: our messages don't tell them apart;
- what begins with `_` (`_msgid`, `_event`) belongs to the runtime;
- ids that a runtime makes up for a sequence (`parts.id`) become #1, #2 in the order they appear;
- `parts.type` is list, text, map or bytes, where Node-RED says array, string, object, buffer; what was between the
  parts is its `joiner` (theirs: `ch`); `len` and `property` are Node-RED's own.
"""

import math
from typing import Any

Outcome = list[dict[str, Any]]
_KINDS = {"array": "list", "string": "text", "object": "map", "buffer": "bytes"}
_THEIRS_ALONE = ("len", "property")


def normal(outcome: Outcome) -> Outcome:
    """The outcome without what may differ from run to run."""
    ids: dict[str, str] = {}
    messages = [one for one in outcome if "error" not in one]
    messages = [
        {"port": one["port"], "msg": _message(one["msg"], ids)} for one in sorted(messages, key=lambda one: one["port"])
    ]
    return [*messages, *({"error": True} for one in outcome if "error" in one)]


def _message(msg: dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    kept = marked(msg)
    if kept.get("payload") is None:
        kept.pop("payload", None)
    if kept.get("topic") in ("", None):
        kept.pop("topic", None)
    if isinstance(kept.get("parts"), dict):
        kept["parts"] = _parts(kept["parts"], ids)
    return kept


def _parts(parts: dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    named = our_parts(parts)
    if "id" in named:
        named["id"] = ids.setdefault(str(named["id"]), f"#{len(ids) + 1}")
    joiner = named.get("joiner")
    if named.get("type") == "bytes" and joiner is not None:  # theirs is a text, or a list of numbers
        if not isinstance(joiner, dict):
            joiner = {"$bytes": (joiner.encode() if isinstance(joiner, str) else bytes(joiner)).hex()}
        named["joiner"] = joiner
        if joiner == {"$bytes": ""}:
            del named["joiner"]
    if isinstance(named.get("parts"), dict):
        named["parts"] = _parts(named["parts"], ids)
    return named


def our_parts(parts: dict[str, Any]) -> dict[str, Any]:
    """`msg.parts` in our words."""
    named = {"joiner" if key == "ch" else key: value for key, value in parts.items() if key not in _THEIRS_ALONE}
    if "type" in named:
        named["type"] = _KINDS.get(named["type"], named["type"])
    if isinstance(named.get("parts"), dict):
        named["parts"] = our_parts(named["parts"])
    return named


def marked(value: Any) -> Any:
    """A value as a recording has it: bytes and NaN as maps that say so, nothing that begins with `_`."""
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": bytes(value).hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$number": {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")}
    if isinstance(value, dict):
        return {str(key): marked(one) for key, one in value.items() if not str(key).startswith("_")}
    if isinstance(value, (list, tuple)):
        return [marked(one) for one in value]
    return value


def live(value: Any) -> Any:
    """A value of a case as a message has it: the other way round."""
    if isinstance(value, list):
        return [live(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "$bytes" in value:
        return bytes.fromhex(value["$bytes"])
    if "$number" in value:
        return float(value["$number"].replace("Infinity", "inf"))
    return {key: live(one) for key, one in value.items()}
