"""Which port types fit, and the ports that a config adds."""

import itertools
import json
from pathlib import Path

import pytest

from flowcore.flow.types import PORT_TYPES, NodeTypeInfo, PortInfo, fits, is_port_type


@pytest.mark.parametrize("name", [*PORT_TYPES, "model:Detections"])
def test_a_type_fits_itself_and_any(name):
    """Any takes everything and goes everywhere."""
    assert fits(name, name) and fits(name, "any") and fits("any", name)


@pytest.mark.parametrize(
    ("out_type", "in_type", "fit"),
    [
        ("model:Detections", "map", True),
        ("map", "model:Detections", False),
        ("model:Detections", "model:Tracks", False),
        ("number", "text", False),
        ("text", "number", False),
        ("bool", "number", False),
        ("list", "map", False),
        ("frame", "tensor", True),
        ("frame", "tensor[uint8, ?, ?, 3]", True),
        ("frame", "tensor[float32, ?, ?, 3]", False),
        ("tensor[uint8, 480, 640, 3]", "frame", True),
        ("tensor[float32, 1, 3, 640, 640]", "tensor[float32, ?, 3, 640, 640]", True),
        ("tensor[float32, 1, 3, 640, 640]", "tensor[float32, 1, 3, 320, 320]", False),
        ("tensor[float32, 3]", "tensor[float32, 3, 3]", False),
        ("tensor[float32]", "tensor", True),
        ("tensor", "map", False),
    ],
)
def test_what_fits(out_type, in_type, fit):
    """A model fits map, frames are tensors, text and number do not mix."""
    assert fits(out_type, in_type) is fit


def test_port_types_are_known_by_name():
    """A misspelt type is no type."""
    assert is_port_type("tensor[uint8, ?]") and is_port_type("model:X")
    assert not is_port_type("numbr") and not is_port_type("model:")


def test_ports_from_a_config():
    """A number gives numbered ports, texts give their names, other lists count; fixed ports come first."""
    info = NodeTypeInfo("x/y", outputs=(PortInfo("else"),), outputs_from="rules")
    assert [port.name for port in info.output_ports({"rules": 2})] == ["else", "out1", "out2"]
    assert [port.name for port in info.output_ports({"rules": [{"op": "a"}, {"op": "b"}]})] == ["else", "out1", "out2"]
    assert [port.name for port in info.output_ports({"rules": ["low", "high"]})] == ["else", "low", "high"]
    assert [port.name for port in info.output_ports({})] == ["else"]
    assert info.input_ports({"rules": 2}) == ()


def test_ports_from_a_default():
    """A field that is not given counts with its default."""
    info = NodeTypeInfo("x/y", inputs_from="n", config_schema={"properties": {"n": {"default": 2}}})
    assert [port.name for port in info.input_ports({})] == ["in1", "in2"]


def test_the_editor_has_the_same_table():
    """What the editor's tests compare its own function with is what this one says."""
    file = Path(__file__).parents[2] / "web-editor" / "src" / "model" / "fits.cases.json"
    cases = json.loads(file.read_text())
    pairs = itertools.product(cases["names"], cases["names"])
    assert cases["fit"] == [f"{out} > {into}" for out, into in pairs if fits(out, into)]
