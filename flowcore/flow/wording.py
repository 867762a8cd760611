"""What `jsonschema` and pydantic found wrong, in the words of a flow file.

One error of theirs may become several here: a map with two unknown fields gives two, each at its own line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from jsonschema import ValidationError

from flowcore.flow.problems import Report, pointer, shown

_KINDS = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a map",
    "null": "null",
}
_LIMITS: dict[str, str] = {
    "minimum": "must be at least {limit}, is {value}",
    "maximum": "must be at most {limit}, is {value}",
    "exclusiveMinimum": "must be greater than {limit}, is {value}",
    "exclusiveMaximum": "must be less than {limit}, is {value}",
    "multipleOf": "must be a multiple of {limit}, is {value}",
    "minLength": "must have at least {limit} characters, is {value}",
    "maxLength": "must have at most {limit} characters, has {size}",
    "minItems": "must have at least {limit} entries, has {size}",
    "maxItems": "must have at most {limit} entries, has {size}",
    "minProperties": "must have at least {limit} fields, has {size}",
    "maxProperties": "must have at most {limit} fields, has {size}",
    "pattern": "must match {limit}, is {value}",
    "format": "must be a {limit}, is {value}",
    "const": "must be {limit}, is {value}",
}


@dataclass(frozen=True)
class Fault:
    """A schema error in our words: `path` leads to the value, or to the key when `at_key`."""

    path: tuple[Any, ...]
    message: str
    at_key: bool = False


def faults(error: ValidationError, report: Report) -> Iterator[Fault]:
    """What one error says, as one or more faults. `report` looks up near names."""
    path = tuple(error.absolute_path)
    kind, limit, value = error.validator, error.validator_value, error.instance
    says = error.schema.get("says") if isinstance(error.schema, dict) else None
    if kind == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        patterns = error.schema.get("patternProperties", {})
        for name in value if not patterns else ():
            if name not in known:
                yield Fault((*path, name), f"no field '{name}' is known here{report.near(name, known)}", True)
    elif kind == "required":
        for name in limit:
            if name not in value:
                yield Fault(path, f"the field '{name}' is missing{_purpose(error.schema, name)}")
    elif kind in ("anyOf", "oneOf"):
        yield from _of_the_nearest(error, report)
    elif kind == "enum":
        choices = [str(choice) for choice in limit if choice is not None]
        yield Fault(path, f"{shown(value)} is no choice here{report.near(str(value), choices)}")
    elif kind == "type":
        yield Fault(path, f"must be {kinds(limit)}, is {_told(value)}")
    elif "propertyNames" in error.absolute_schema_path:
        yield Fault((*path, value), f"the name {shown(value)} {says or 'does not fit'}", True)
    elif kind == "pattern" and says:
        yield Fault(path, f"{says}, is {shown(value)}")
    elif kind == "uniqueItems":
        yield Fault(path, "has the same entry twice")
    elif kind in _LIMITS:
        size = len(value) if isinstance(value, str | list | dict) else 0
        yield Fault(path, _LIMITS[kind].format(limit=limit, value=shown(value), size=size))
    else:
        yield Fault(path, error.message)


def tell(errors: Iterable[ValidationError], report: Report) -> Iterator[Fault]:
    """Put all that a validator found in a document into the report, and give it back."""
    for error in errors:
        for fault in faults(error, report):
            report.error(pointer(*fault.path), fault.message, at_key=fault.at_key)
            yield fault


def kinds(types: str | Iterable[str]) -> str:
    """JSON types in words: `a number or text`."""
    names = [types] if isinstance(types, str) else list(types)
    return " or ".join(_KINDS.get(name, name) for name in names)


def _told(value: Any) -> str:
    """A value with its kind where quotes alone don't show it."""
    return f"the text {shown(value)}" if isinstance(value, str) else shown(value)


def _purpose(schema: Any, name: str) -> str:
    described = schema.get("properties", {}).get(name, {}) if isinstance(schema, dict) else {}
    text = described.get("description", "") if isinstance(described, dict) else ""
    begins = text[:1].lower() if text[1:2].islower() else text[:1]
    return f" ({begins}{text[1:].rstrip('.')})" if text else ""


def _of_the_nearest(error: ValidationError, report: Report) -> Iterator[Fault]:
    """The errors of the choice that the value comes nearest to.

    Choices of another JSON type are out. When all are, it is the type that is wrong. Among the others the one whose
    errors lie deepest was meant, then the one with the fewest.
    """
    choices: dict[int, list[ValidationError]] = {}
    for inner in error.context or ():
        choices.setdefault(int(inner.relative_schema_path[0]), []).append(inner)
    of_type = [found for found in choices.values() if not any(_wrong_kind(one, error) for one in found)]
    if not of_type:
        wanted = dict.fromkeys(name for found in choices.values() for one in found for name in _types(one))
        yield Fault(tuple(error.absolute_path), f"must be {kinds(wanted)}, is {_told(error.instance)}")
        return
    # A wrong `const` or `enum` (the tag of a union) means another choice was meant.
    tagged = [found for found in of_type if not any(one.validator == "const" for one in found)] or of_type
    nearest = min(tagged, key=lambda found: (-max(len(one.path) for one in found), len(found)))
    for one in nearest:
        yield from faults(one, report)


def _wrong_kind(inner: ValidationError, outer: ValidationError) -> bool:
    return inner.validator == "type" and len(inner.absolute_path) == len(outer.absolute_path)


def _types(error: ValidationError) -> list[str]:
    if error.validator != "type":
        return []
    return [error.validator_value] if isinstance(error.validator_value, str) else list(error.validator_value)
