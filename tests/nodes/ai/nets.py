"""Small models for the tests, made here: nothing is downloaded, and what comes out can be worked out by hand."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


def write(path: Path, nodes: Sequence[Any], inputs: dict, outputs: dict, weights: dict | None = None) -> Path:
    """An ONNX file. Inputs and outputs are shapes by name, of float32, or (ONNX type, shape)."""

    def declared(ports: dict) -> list:
        typed = {name: one if isinstance(one, tuple) else (TensorProto.FLOAT, one) for name, one in ports.items()}
        return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in typed.items()]

    constants = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "net", declared(inputs), declared(outputs), constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(made)
    onnx.save(made, path)
    return path


def doubler(path: Path, first: int | str = "batch") -> Path:
    """y = 2 x, of three values a row."""
    two = {"two": np.array(2, np.float32)}
    return write(path, [helper.make_node("Mul", ["x", "two"], ["y"])], {"x": [first, 3]}, {"y": [first, 3]}, two)


def adder(path: Path) -> Path:
    """sum = left + right, and the same as int64."""
    nodes = [
        helper.make_node("Add", ["left", "right"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["whole"], to=TensorProto.INT64),
    ]
    outputs = {"sum": ["n", 2], "whole": (TensorProto.INT64, ["n", 2])}
    return write(path, nodes, {"left": ["n", 2], "right": ["n", 2]}, outputs)


def picky(path: Path, rows: int = 4) -> Path:
    """Looks up rows of a table: another number is an error of the engine, not of the shape."""
    nodes = [helper.make_node("Gather", ["table", "index"], ["row"])]
    table = {"table": np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)}
    return write(path, nodes, {"index": (TensorProto.INT64, ["batch"])}, {"row": ["batch", 2]}, table)


def heavy(path: Path, turns: int, size: int = 256) -> Path:
    """Multiplies a matrix `turns` times, so that one run takes some time; y has the shape of x."""
    rng = np.random.default_rng(1)
    weights = {"w": (rng.standard_normal((size, size)) / size**0.5).astype(np.float32)}
    names = ["x", *(f"h{k}" for k in range(1, turns)), "y"]
    nodes = [helper.make_node("MatMul", [a, "w"], [b]) for a, b in pairwise(names)]
    return write(path, nodes, {"x": ["batch", size, size]}, {"y": ["batch", size, size]}, weights)
