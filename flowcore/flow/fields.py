"""What a node type's config schema says of the field at a path: its kinds, whether it is dynamic, secret or code.

The schema is the one that pydantic makes of a `Node.Config`; its properties carry three words of ours: `"dynamic":
true` (a reference may stand there, looked up for each message), `"secret": true` (no literal may), `"widget": "code"`
(the text is a program, and a `${..}` in it is the program's own).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators

REFERENCES = ("$message", "$flow", "$global", "$env", "$secret")

Path = tuple[Any, ...]
_EVERY_KIND = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})


@dataclass(frozen=True)
class Field:
    """What is known of a config field; `kinds` are JSON type names."""

    known: bool = False
    dynamic: bool = False
    secret: bool = False
    code: bool = False
    kinds: frozenset[str] = _EVERY_KIND

    @property
    def takes_text(self) -> bool:
        """Whether a string may stand here."""
        return "string" in self.kinds


def is_reference(value: Any) -> bool:
    """True for `{"$secret": "name"}` and its kin."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in REFERENCES


class ConfigFields:
    """The fields of one config schema, looked up by path and remembered."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema
        self._validator = _Lenient(schema)
        self._found: dict[Path, tuple[Field, list[dict[str, Any]]]] = {}
        self.has_secrets = _mentions_secret(schema)

    def errors(self, config: Any) -> Iterator[ValidationError]:
        """What the schema refuses in this config; a reference fits everywhere."""
        return self._validator.iter_errors(config)

    def at(self, path: Path) -> Field:
        """The field at this path; list positions don't matter."""
        return self._look(tuple(0 if isinstance(step, int) else step for step in path))[0]

    def dynamic_names(self) -> list[str]:
        """Names of the top fields that are dynamic."""
        return [name for name in self.schema.get("properties", {}) if self.at((name,)).dynamic]

    def _look(self, path: Path) -> tuple[Field, list[dict[str, Any]]]:
        if path not in self._found:
            parts = self._expand(self.schema) if not path else list(self._inner(self._look(path[:-1])[1], path[-1]))
            self._found[path] = (_field(parts), parts)
        return self._found[path]

    def _inner(self, parts: list[dict[str, Any]], step: Any) -> Iterator[dict[str, Any]]:
        for part in parts:
            if isinstance(step, int):
                inner = [part.get("items"), *part.get("prefixItems", ())]
            else:
                inner = [part.get("properties", {}).get(step, part.get("additionalProperties"))]
            for one in inner:
                if isinstance(one, dict):
                    yield from self._expand(one)

    def _expand(self, part: dict[str, Any], depth: int = 0) -> list[dict[str, Any]]:
        """This part of the schema and all it refers to or chooses from."""
        found = [part]
        choices = [choice for key in ("anyOf", "oneOf", "allOf") for choice in part.get(key, ())]
        if isinstance(part.get("$ref"), str):
            choices.append(self.schema.get("$defs", {}).get(part["$ref"].rpartition("/")[2], {}))
        for choice in choices:
            if isinstance(choice, dict) and depth < 20:
                found += self._expand(choice, depth + 1)
        return found


def _field(parts: list[dict[str, Any]]) -> Field:
    kinds: set[str] = set()
    for part in parts:
        if "type" in part:
            kinds.update([part["type"]] if isinstance(part["type"], str) else part["type"])
        elif values := part.get("enum", [part["const"]] if "const" in part else []):
            kinds.update(_kind(value) for value in values)
        elif not {"$ref", "anyOf", "oneOf", "allOf"} & part.keys():
            kinds |= _EVERY_KIND
    return Field(
        known=bool(parts),
        dynamic=any(part.get("dynamic") is True for part in parts),
        secret=any(part.get("secret") is True for part in parts),
        code=any(part.get("widget") == "code" for part in parts),
        kinds=frozenset(kinds) if parts else _EVERY_KIND,
    )


def _kind(value: Any) -> str:
    for kind, types in (("boolean", bool), ("string", str), ("integer", int), ("number", float), ("array", list)):
        if isinstance(value, types):
            return kind
    return "null" if value is None else "object"


def _mentions_secret(part: Any) -> bool:
    if isinstance(part, list):
        return any(map(_mentions_secret, part))
    return isinstance(part, dict) and (part.get("secret") is True or any(map(_mentions_secret, part.values())))


def _unless_reference(check: Any) -> Any:
    """A schema keyword's check that takes any reference: what it will hold is not known yet."""

    def lenient(validator: Any, limit: Any, instance: Any, schema: Any) -> Any:
        return () if type(instance) is dict and is_reference(instance) else check(validator, limit, instance, schema)

    return lenient


_Lenient = validators.extend(
    Draft202012Validator,
    {keyword: _unless_reference(check) for keyword, check in Draft202012Validator.VALIDATORS.items()},
)
