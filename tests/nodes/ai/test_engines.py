"""What every engine promises, whichever library is behind it: the same tests for all, on every device that is here."""

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest
from flowcore_nodes.ai.cuda_devices import device_count
from flowcore_nodes.ai.engines import ModelError, Options, TensorMismatch, open_model

from tests.nodes.ai import nets, programs

ENGINES = [
    ("onnxruntime", "cpu", {}),
    ("onnxruntime", "cuda", {}),
    ("onnxruntime", "cuda", {"tensorrt": True}),
    ("torch-export", "cpu", {}),
    ("torch-export", "cuda", {}),
    ("tensorrt", "cuda", {}),
]
LIBRARY = {"onnxruntime": "onnxruntime", "torch-export": "torch", "tensorrt": "tensorrt"}


@pytest.fixture(params=ENGINES, ids=lambda one: f"{one[0]} {one[1]} {' '.join(one[2])}".strip())
def opened(request, tmp_path):
    """Opens the test model `name` with an engine; skipped where library or device are missing."""
    engine, device, more = request.param
    if device == "cuda" and not device_count():
        pytest.skip("this machine shows no CUDA device")
    if find_spec(LIBRARY[engine]) is None:
        pytest.skip(f"{LIBRARY[engine]} is not installed")

    def open_(name, **options):
        maker = programs if engine == "torch-export" else nets
        file = getattr(maker, name)(tmp_path / f"{name}{'.pt2' if maker is programs else '.onnx'}")
        given = Options(
            device="cpu" if device == "cpu" else "cuda:0", cache=tmp_path / "cache", largest=8, **more, **options
        )
        return open_model(str(file), engine, given)

    return open_


def test_inputs_and_outputs_are_read_from_the_model(opened):
    """Names, dtypes, and which lengths are free."""
    model = opened("doubler")
    (given,), (made,) = model.inputs, model.outputs
    assert (given.name, given.kind) == ("x", "float32")
    assert given.shape[1] == 3 and given.is_batched
    assert (made.name, made.kind, made.shape[1]) == ("y", "float32", 3)
    assert model.is_batched


def test_a_run_gives_every_output_by_name(opened):
    """As arrays of the host, for any number of rows."""
    model = opened("doubler")
    for rows in (1, 2, 8):
        x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
        made = model.engine.run(model.fitted(x)[0])
        assert list(made) == ["y"]
        np.testing.assert_array_equal(made["y"], 2 * x)
    adder = opened("adder")
    ones = np.ones((2, 2), np.float32)
    made = adder.engine.run(adder.fitted({"right": 2 * ones, "left": ones})[0])
    assert made["sum"].tolist() == [[3, 3]] * 2 and made["whole"].dtype == np.int64


def test_what_is_put_in_is_left_as_it_was(opened):
    """Read-only memory, as other nodes send it, is enough; a view with strides too."""
    model = opened("doubler")
    x = np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2]
    x.flags.writeable = False
    before = x.copy()
    np.testing.assert_array_equal(model.engine.run(model.fitted(x)[0])["y"], 2 * before)
    np.testing.assert_array_equal(x, before)


def test_several_threads_may_run_it_at_once(opened):
    """Each gets its own answer."""
    model = opened("doubler")

    def run(k):
        return model.engine.run({"x": np.full((2, 3), k, np.float32)})["y"][0, 0]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(200))) == [2 * k for k in range(200)]


def test_what_does_not_fit_is_refused_before_it_runs(opened):
    """By dtype and shape, naming the input."""
    model = opened("doubler")
    for wrong in (np.zeros((1, 4), np.float32), np.zeros((1, 3), np.float64), np.zeros((1, 1, 1, 3), np.float32)):
        with pytest.raises(TensorMismatch, match="doubler takes 'x': float32"):
            model.fitted(wrong)


def test_a_file_that_was_cut_short_is_no_model(opened, tmp_path):
    """Whatever library reads it, the error is ours and names the file."""
    opened("doubler")
    (file,) = tmp_path.glob("doubler.*")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ModelError, match="doubler"):
        open_model(str(file), "auto", Options())
