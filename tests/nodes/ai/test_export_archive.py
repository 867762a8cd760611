"""A .pt2 file is read before PyTorch loads it: what would run code is left out or refused. Needs no PyTorch."""

import json
import zipfile

import pytest
from flowcore_nodes.ai.engines import ModelError
from flowcore_nodes.ai.export_archive import safe

PICKLE = b"cos\nsystem\n(S'true'\ntR."


def archive(path, more=None, **program):
    """A file as torch.export.save lays it out."""
    said = {"graph_module": {"graph": {"nodes": [{"target": "torch.ops.aten.mul.Tensor"}]}}, "guards_code": ["evil()"]}
    entries = {"models/model.json": json.dumps(said | program), "data/sample_inputs/model.pt": PICKLE, **(more or {})}
    with zipfile.ZipFile(path, "w") as made:
        for name, data in entries.items():
            made.writestr(f"net/{name}", data)
    return path


def test_what_is_not_needed_is_left_out(tmp_path):
    """Sample inputs are a pickle, guards are Python; the rest stays."""
    with zipfile.ZipFile(safe(archive(tmp_path / "net.pt2", {"data/weights/weight_0": b"\0" * 8}))) as kept:
        assert kept.read("net/data/sample_inputs/model.pt") == b""
        assert json.loads(kept.read("net/models/model.json"))["guards_code"] == []
        assert kept.read("net/data/weights/weight_0") == b"\0" * 8


@pytest.mark.parametrize(
    ("more", "program", "says"),
    [
        (
            {"data/weights/model_weights_config.json": '{"config": {"w": {"use_pickle": true}}}'},
            {},
            "weights are pickled",
        ),
        ({"data/constants/custom_obj_0": PICKLE}, {}, "holds a pickled object"),
        ({"data/aotinductor/model/a.so": b"\x7fELF"}, {}, "holds compiled code"),
        ({}, {"x": [{"target": "torch.hub.load"}]}, "uses 'torch.hub.load'"),
        ({}, {"x": [{"target": "torch.ops.load_library"}]}, "uses 'torch.ops.load_library'"),
        ({}, {"x": {"as_expr": {"expr_str": "exec(chr(49))"}}}, "a shape is 'exec"),
        ({}, {"x": {"expr_str": "().__class__"}}, "no arithmetic of lengths"),
        ({}, {"x": {"expr_str": "Symbol('s0', positive=True) + open('/etc/passwd')"}}, "no arithmetic of lengths"),
        ({"models/other.json": "{}"}, {}, "it has 2 programs"),
        ({"data/constants/model_constants_config.json": "{"}, {}, "is no JSON"),
    ],
)
def test_what_would_run_code_is_refused(tmp_path, more, program, says):
    """With the name of the file and what is wrong in it."""
    with pytest.raises(ModelError, match=r"net\.pt2: ") as raised:
        safe(archive(tmp_path / "net.pt2", more, **program))
    assert says in str(raised.value)


def test_lengths_may_be_reckoned_with(tmp_path):
    """As sympy writes them."""
    sums = ["2*Symbol('s77', positive=True, integer=True)", "Max(1, s0 // 2)", "s3 + 1", "Integer(64)"]
    safe(archive(tmp_path / "net.pt2", x=[{"expr_str": one} for one in sums]))
