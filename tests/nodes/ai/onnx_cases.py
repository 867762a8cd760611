"""The models and operator cases of the `onnx` wheel, as far as ONNX Runtime itself gives what they expect."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


@dataclass
class Case:
    """A model, what is put in by name, and what ONNX Runtime made of that."""

    name: str
    file: Path
    feeds: dict[str, Any]
    made: list[Any]


def cases(folder: Path) -> Iterator[Case]:
    """One after the other; the file of a case is written over by the next."""
    file = folder / "case.onnx"
    for name, model, data_sets, tolerance in _all():
        file.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        try:
            session = _session(file)
        except Exception:  # an operator or a version that it has not
            continue
        names = [one.name for one in session.get_inputs()]
        for given, expected in data_sets:
            feeds = dict(zip(names, map(_plain, given), strict=False))
            try:
                made = session.run(None, feeds)
            except Exception:
                continue
            if _agree(made, list(map(_plain, expected)), tolerance):
                yield Case(name, file, feeds, made)


def _all() -> Iterator[tuple[str, Any, list, tuple[float, float]]]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():  # of the arithmetic in the cases
        warnings.simplefilter("ignore")
        for case in collect_testcases(None):
            yield case.name, case.model, case.data_sets, (case.rtol, case.atol)
    for kind in ("simple", "pytorch-converted", "pytorch-operator"):
        for case in load_model_tests(kind=kind):
            folder = Path(case.model_dir)
            sets = [
                tuple(_stored(one, f"{what}_") for what in ("input", "output"))
                for one in sorted(folder.glob("test_data_set_*"))
            ]
            yield case.name, (folder / "model.onnx").read_bytes(), sets, (case.rtol, case.atol)
    for model in sorted(LIGHT.glob("*.onnx")):
        expected = numpy_helper.to_array(onnx.load_tensor(model.with_name(f"{model.stem}_output_0.pb")))
        yield model.stem, model.read_bytes(), [([_ramp(model)], [expected])], (1e-3, 1e-6)


def _stored(folder: Path, prefix: str) -> list:
    found = []
    for k in range(len(list(folder.glob(f"{prefix}*.pb")))):
        data = (folder / f"{prefix}{k}.pb").read_bytes()
        try:
            found.append(numpy_helper.to_array(onnx.TensorProto.FromString(data)))
        except Exception:
            found.append(numpy_helper.to_list(onnx.SequenceProto.FromString(data)))
    return found


def _ramp(model: Path) -> np.ndarray:
    """What the wheel's own runner puts into these."""
    graph = onnx.load(model).graph
    weights = {one.name for one in graph.initializer}
    (given,) = [one for one in graph.input if one.name not in weights]
    shape = [one.dim_value for one in given.type.tensor_type.shape.dim]
    size = int(np.prod(shape))
    return (np.arange(size).reshape(shape) / size).astype(np.float32)


def _session(file: Path) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])


def _plain(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def _agree(made: Any, expected: Any, tolerance: tuple[float, float]) -> bool:
    if isinstance(expected, (list, tuple)):
        return len(made) == len(expected) and all(
            _agree(one, other, tolerance) for one, other in zip(made, expected, strict=True)
        )
    if expected is None or made is None:
        return made is expected
    one, other = np.asarray(made), np.asarray(expected)
    if one.shape != other.shape:
        return False
    if one.dtype.kind not in "fiub":
        return one.tolist() == other.tolist()
    return np.allclose(one, other, *tolerance, equal_nan=True)


def same(one: Any, other: Any) -> bool:
    """Bit for bit, NaN for NaN."""
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if one is None or isinstance(one, dict):
        return one == other
    one, other = np.asarray(one), np.asarray(other)
    if one.dtype == object or other.dtype == object:
        return one.tolist() == other.tolist()
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
