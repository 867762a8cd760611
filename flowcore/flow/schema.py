"""The JSON schema of a flow file: generated from the models, published as `flow.schema.json` beside this module.

`python -m flowcore.flow` writes it anew; a test fails while it is stale. Editors find it in the package, or by
the `"$schema"` of a flow file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from pydantic import BaseModel

from flowcore.flow.model import FORMAT, FlowDocument

FILE_NAME = "flow.schema.json"


def generate() -> dict[str, Any]:
    """The schema that the models give."""
    return of_model(FlowDocument, f"{FORMAT}/{FILE_NAME}", "A flowcore flow")


def of_model(model: type[BaseModel], identity: str, title: str) -> dict[str, Any]:
    """The schema that a model gives, under a name of its own."""
    schema = _tidy(model.model_json_schema(by_alias=True))
    schema["title"] = title
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://flowcore.dev/schema/{identity}",
        **schema,
    }


def text() -> str:
    """The schema as its file has it."""
    return as_text(generate())


def as_text(schema: dict[str, Any]) -> str:
    """A schema as files have it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


@cache
def published() -> dict[str, Any]:
    """The schema that is in the package."""
    return json.loads(files("flowcore.flow").joinpath(FILE_NAME).read_text(encoding="utf-8"))


@cache
def validator() -> Draft202012Validator:
    """A validator of the published schema, its references written out: following one costs more than its check."""
    return validator_of(published())


def validator_of(schema: Mapping[str, Any], part: str = "") -> Draft202012Validator:
    """A validator of a schema, or of one of its definitions."""
    whole = {key: value for key, value in schema.items() if key not in ("$schema", "$id", "$defs")}
    definitions = schema.get("$defs", {})
    return Draft202012Validator(_written_out(definitions[part] if part else whole, definitions))


def write() -> Path:
    """Write the schema's file anew."""
    path = Path(__file__).with_name(FILE_NAME)
    path.write_text(text(), encoding="utf-8")
    return path


def _tidy(part: Any) -> Any:
    """Without the titles that repeat a field's name, and with maps that refuse a key of the wrong form."""
    if isinstance(part, list):
        return [_tidy(one) for one in part]
    if not isinstance(part, dict):
        return part
    tidied: dict[str, Any] = {}
    for key, value in part.items():
        if key in ("properties", "$defs"):
            tidied[key] = {name: _tidy(one) for name, one in value.items()}
        elif key == "patternProperties":
            ((pattern, values),) = value.items()
            tidied["propertyNames"] = {**part.get("propertyNames", {}), "pattern": pattern}
            tidied["additionalProperties"] = _tidy(values) or True
        elif key not in ("title", "propertyNames"):
            tidied[key] = _tidy(value)
    return tidied


def _written_out(part: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(part, list):
        return [_written_out(one, definitions) for one in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        part = {**definitions[part["$ref"].rpartition("/")[2]], **{k: v for k, v in part.items() if k != "$ref"}}
    return {key: _written_out(value, definitions) for key, value in part.items()}
