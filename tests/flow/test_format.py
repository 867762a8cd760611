"""A flow written back to its file."""

import json

from hypothesis import given
from hypothesis import strategies as st

from flowcore.flow.format import format_flow
from flowcore.flow.model import FlowDocument

TEXT = """{
  "flowcore": 1,
  "id": "factory",
  "env": {"LIMIT": 80},
  "nodes": [
    {"id": "in", "type": "core/inject", "config": {"payload": "Größe"}, "ui": {"x": 80, "y": 120}},
    {
      "id": "f",
      "type": "core/function",
      "config": {
        "script": "a long line of a program that does not fit beside the other fields of its node on one line\\n"
      },
      "settings": {"ack": "sent", "retry": {"times": 3}}
    }
  ],
  "wires": [
    {"from": "in.out", "to": "f.in"}
  ],
  "subflows": {
    "s": {
      "params": {"P": {"type": "number", "default": 1}},
      "nodes": [
        {"id": "d", "type": "core/debug"}
      ]
    }
  }
}
"""


def test_a_formatted_flow_stays_as_it_is():
    """What fits on a line is on one, and a node or wire more is one line more."""
    assert format_flow(json.loads(TEXT)) == TEXT


def test_fields_stand_in_the_models_order():
    """However they came, from an editor or by hand; a config's own stay as they were."""
    value = {
        "wires": [{"to": "b.in", "from": "a.out"}],
        "nodes": [{"config": {"z": 1, "a": 2}, "type": "core/debug", "id": "b"}],
        "id": "x",
        "flowcore": 1,
    }
    assert json.dumps(json.loads(format_flow(value))) == json.dumps(
        {
            "flowcore": 1,
            "id": "x",
            "nodes": [{"id": "b", "type": "core/debug", "config": {"z": 1, "a": 2}}],
            "wires": [{"from": "a.out", "to": "b.in"}],
        }
    )


def test_a_document_is_written_without_what_its_author_left_out():
    """Defaults stay unsaid."""
    document = FlowDocument.model_validate(json.loads(TEXT))
    assert format_flow(document) == TEXT


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(config=st.dictionaries(st.text(), json_values, max_size=5))
def test_formatting_loses_nothing_and_settles(config):
    """Whatever a config holds, it reads back equal, and formatting again changes nothing."""
    flow = {"flowcore": 1, "id": "x", "nodes": [{"id": "n", "type": "core/debug", "config": config}]}
    text = format_flow(flow)
    assert json.loads(text) == flow
    assert format_flow(json.loads(text)) == text
