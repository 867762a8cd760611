"""The published JSON schema."""

import json
from importlib.resources import files

from jsonschema import Draft202012Validator

from flowcore.flow.model import FlowDocument
from flowcore.flow.schema import FILE_NAME, published, text


def test_the_published_schema_is_fresh():
    """The file in the package is what the models give; `python -m flowcore.flow` writes it anew."""
    assert files("flowcore.flow").joinpath(FILE_NAME).read_text(encoding="utf-8") == text()


def test_the_published_schema_is_one():
    """Any JSON schema tool can use it."""
    Draft202012Validator.check_schema(published())


def test_schema_and_models_agree(flow):
    """A document with every part in it passes both, and comes back from the model as it was."""
    document = flow(
        {"one": {"type": "subflow:s", "config": {"P": 1}}, "c": "core/debug"},
        [{"from": "one.out", "to": "c.in", "delivery": "durable", "durable": {"max_age_s": 3600}}],
        env={"LIMIT": 80, "LIST": [1, {"a": None}]},
        groups=[{"id": "g", "name": "Group"}],
        resources={"plant": {"type": "iot/mqtt-broker", "config": {"host": "localhost"}}},
        subflows={
            "s": {
                "params": {"P": {"type": "number", "default": 1}},
                "inputs": {"in": []},
                "outputs": {"out": ["i.out"]},
                "nodes": [{"id": "i", "type": "core/inject", "settings": {"full": "throttle", "throttle_hz": 2}}],
            }
        },
        **{"$schema": "./flow.schema.json"},
    )
    assert list(Draft202012Validator(published()).iter_errors(document)) == []
    again = FlowDocument.model_validate(document).model_dump(by_alias=True, exclude_unset=True)
    assert json.loads(json.dumps(again)) == document


def test_an_id_with_a_line_break_is_refused(look, flow):
    """What a pattern of JSON schema lets through, the model still stops."""
    checked = look(flow({"a\n": "core/debug"}))
    assert [problem.pointer for problem in checked.problems] == ["/nodes/0/id"]
