"""Node-RED's typed values and property names as ours.

| theirs | ours |
|---|---|
| `msg.payload.a`, `msg.topic` | `payload.a`, `topic` |
| `msg.limit` | `meta.limit`: all other properties of a message lie in its meta |
| `flow.key`, `global.key` | `{"$flow": "key"}`, `{"$global": "key"}`; as a place to write: `flow.key` |
| `env NAME`, `${NAME}` | `"${NAME}"` |
"""

from __future__ import annotations

import json
import re
from typing import Any

from flowcore.convert.nodered.findings import CannotTurn

ENV = re.compile(r"\$\{([^}]+)\}")
_PART = re.compile(
    r"""\.?([^.\[\]]+) | \[(\d+)\] | \[\s*"((?:[^"\\]|\\.)*)"\s*\] | \[\s*'((?:[^'\\]|\\.)*)'\s*\]""", re.X
)
_PLAIN = re.compile(r"[^.\[\]\"' ]+")
_STORE = re.compile(r"^#:\(([^)]*)\)::")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def number(value: Any, what: str = "a number") -> int | float:
    """A number as Node-RED's form keeps it: often as text.

    Raises:
        CannotTurn: it is none.
    """
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise CannotTurn(f"{what} should be a number and is {value!r}", "set it in the new node") from None
    return int(found) if found.is_integer() and abs(found) < 2**53 else found


def truth(value: Any) -> bool:
    """A checkbox, which older exports have as text."""
    return value is True or str(value).lower() == "true"


def parts(path: str) -> list[str | int]:
    """The parts of a property expression: `a.b[0]["c d"]`.

    Raises:
        CannotTurn: it has a part that is looked up in the message (`payload[msg.index]`), or is no expression.
    """
    found: list[str | int] = []
    at = 0
    while at < len(path):
        match = _PART.match(path, at)
        if match is None:
            if re.match(r"\[\s*(msg|flow|global)\b", path[at:]):
                raise CannotTurn(f"{path!r} looks up a part of its name in the message", "use a core/javascript node")
            raise CannotTurn(f"{path!r} is no property of a message")
        name, index, double, single = match.groups()
        quoted = double if double is not None else single
        found.append(int(index) if index is not None else name if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        at = match.end()
    if not found:
        raise CannotTurn("a property without a name")
    return found


def written(names: list[str | int]) -> str:
    """Parts as one of our paths."""
    text = ""
    for name in names:
        if isinstance(name, int):
            text += f"[{name}]"
        elif _PLAIN.fullmatch(name):
            text += f".{name}" if text else name
        else:
            quoted = name.replace("\\", "\\\\").replace('"', '\\"')
            text += f'["{quoted}"]'
    return text


def path(property: str) -> str:
    """A property of `msg` as a path in our message."""
    names = parts(property.removeprefix("msg."))
    if names[0] == "_msgid":
        return "id"
    return written(names if names[0] in ("payload", "topic") else ["meta", *names])


def context_key(key: str) -> str:
    """A key of a context, without the store it was in: we have one, which is kept over restarts."""
    return written(parts(_STORE.sub("", key)))


def place(property: str, kind: str) -> str:
    """Where something is written or read, as a path: of the message or of a context."""
    if kind in ("flow", "global"):
        return f"{kind}.{context_key(property)}"
    if kind in ("msg", "", "undefined"):
        return path(property)
    raise CannotTurn(f"a property of kind {kind!r}", "use a core/javascript node")


def text(value: Any) -> Any:
    """A setting's text, so that `${NAME}` alone is filled in and anywhere else it stays what it is."""
    if isinstance(value, str) and "${" in value:
        whole = ENV.fullmatch(value)
        return env(whole[1]) if whole else value.replace("${", "$${")
    return value


def literal(value: Any) -> Any:
    """A value of JSON, its texts as `text`."""
    if isinstance(value, list):
        return [literal(one) for one in value]
    if isinstance(value, dict):
        return {key: literal(one) for key, one in value.items()}
    return text(value)


def env(name: str) -> str:
    """An environment variable.

    Raises:
        CannotTurn: its name is none that ours may have.
    """
    names = ENV.findall(name) or [name]
    for one in names:
        if not _ENV_NAME.fullmatch(one):
            raise CannotTurn(f"the name of the environment variable {one!r}", "letters, digits and '_' go")
    return name if "${" in name else f"${{{name}}}"


def value(given: Any, kind: str) -> Any:
    """A typed value: a literal, or one of our references.

    Raises:
        CannotTurn: JSONata, bytes, the time now, and what else we have no word for.
    """
    match kind:
        case "str" | "" | "re" | "undefined":
            return text("" if given is None else str(given))
        case "num":
            return given if isinstance(given, str) and ENV.fullmatch(given) else number(given)
        case "bool":
            return truth(given)
        case "json":
            try:
                return literal(json.loads(given) if isinstance(given, str) else given)
            except ValueError:
                raise CannotTurn(f"JSON that is none: {given!r}") from None
        case "msg":
            return {"$message": path(str(given))}
        case "flow" | "global":
            return {f"${kind}": context_key(str(given))}
        case "env":
            return env(str(given))
        case "prev":
            return {"$previous": True}
        case "jsonata":
            raise CannotTurn(f"the JSONata expression {str(given)!r}", "we have no JSONata: use a core/javascript node")
        case "date":
            raise CannotTurn("the time now as a value", "use a core/javascript node: Date.now()")
        case "bin":
            raise CannotTurn("bytes as a value", "use a core/javascript node: Buffer.from([...])")
    raise CannotTurn(f"a value of kind {kind!r}", "use a core/javascript node")
