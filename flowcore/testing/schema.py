"""The JSON schema of a test file, published as `test.schema.json` beside this module.

`python -m flowcore.testing.schema` writes it anew; a test fails while it is stale.
"""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from flowcore.flow.schema import as_text, of_model, validator_of
from flowcore.testing.model import FORMAT, STEPS, TestFile

FILE_NAME = "test.schema.json"


def generate() -> dict[str, Any]:
    """The schema that the models give."""
    return of_model(TestFile, f"{FORMAT}/{FILE_NAME}", "Cases of a flowcore flow")


def text() -> str:
    """The schema as its file has it."""
    return as_text(generate())


@cache
def published() -> dict[str, Any]:
    """The schema that is in the package."""
    return json.loads(files("flowcore.testing").joinpath(FILE_NAME).read_text(encoding="utf-8"))


@cache
def validators() -> tuple[Draft202012Validator, dict[str, Draft202012Validator]]:
    """Of a whole file, whose steps may be any maps, and of each kind of step by its verb.

    Apart, because a step is known by its verb: what is wrong with one is told against its own kind and no other.
    """
    schema = json.loads(json.dumps(published()))
    schema["$defs"]["Case"]["properties"]["steps"]["items"] = {"type": "object"}
    return validator_of(schema), {verb: validator_of(schema, step.__name__) for verb, step in STEPS.items()}


if __name__ == "__main__":
    Path(__file__).with_name(FILE_NAME).write_text(text(), encoding="utf-8")
    print(Path(__file__).with_name(FILE_NAME))
