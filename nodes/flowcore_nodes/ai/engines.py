"""What runs a model: one small interface, an adapter a library behind it.

An `Engine` takes arrays by input name and returns arrays by output name, in the thread that calls it; several threads
may call at once. What goes in and comes out is read from the model. Which one opens a file is decided here:

    .onnx, .ort    onnx_engine.py, ONNX Runtime; with engine = tensorrt tensorrt_engine.py
    .pt2           export_engine.py, a program that `torch.export.save` wrote

    ModelError       a file that cannot be opened, an engine or a device that is not there
    TensorMismatch   tensors that do not fit the model
"""

import hashlib
import importlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Array = (
    Any  # numpy.ndarray; a Tensor on a CUDA device where the engine `takes_device`; a list where the model wants one
)

_ADAPTERS = {
    "onnxruntime": ("flowcore_nodes.ai.onnx_engine", "OnnxEngine"),
    "torch-export": ("flowcore_nodes.ai.export_engine", "ExportEngine"),
    "tensorrt": ("flowcore_nodes.ai.tensorrt_engine", "TensorrtEngine"),
}
_BY_SUFFIX = {".onnx": "onnxruntime", ".ort": "onnxruntime", ".pt2": "torch-export"}
_PICKLES = frozenset((".pt", ".pth", ".pkl", ".pickle", ".joblib", ".ckpt", ".skops", ".npy"))
_BUILT_IN = "builtin:"


class ModelError(Exception):
    """A model cannot be used: says which, why, and what to do."""


class TensorMismatch(ModelError):
    """Tensors do not fit the inputs of a model."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output, as the model declares it.

    Attributes:
        kind: "float32", "uint8" .. of a tensor; "text" of texts; anything else, such as "seq(tensor(float))", as the
            engine says it: what is no tensor is passed on unchecked.
        shape: a number, or the name of a length that may differ ("batch", "?"); None: not known at all.
    """

    name: str
    kind: str
    shape: tuple[int | str, ...] | None

    @property
    def is_tensor(self) -> bool:
        """True when it has a dtype that numpy knows, or holds texts."""
        return "(" not in self.kind

    @property
    def is_batched(self) -> bool:
        """True when its first length is free, so that several messages can be put one behind the other."""
        return self.is_tensor and bool(self.shape) and isinstance(self.shape[0], str)  # type: ignore[index]

    def __str__(self) -> str:
        dims = "any shape" if self.shape is None else "(" + ", ".join(map(str, self.shape)) + ")"
        return f"'{self.name}': {self.kind} {dims}"


@dataclass(frozen=True)
class Options:
    """How a model is run.

    Attributes:
        device: "cpu", "cuda:0" ..
        threads: processor threads that one run uses; 0: as the library likes.
        spin: threads wait for work busily: quicker by some microseconds, at the price of a processor.
        half: run in FP16 where the engine can.
        largest: rows of a batch, at most.
        cache: folder for engines that were built here.
        tensorrt: the TensorRT provider of ONNX Runtime before its CUDA provider.
    """

    device: str = "cpu"
    threads: int = 0
    spin: bool = False
    half: bool = False
    largest: int = 1
    cache: Path = Path(".flowcore/engines")
    tensorrt: bool = False


class Engine(Protocol):
    """A model that is loaded.

    Attributes:
        device: where it runs.
        takes_device: it reads tensors that lie on its CUDA device without a copy through the host.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    device: str
    takes_device: bool

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, in the model's order.

        Raises:
            Exception: the library's own, of what it could not do.
        """

    def close(self) -> None:
        """Let go of the model; no run is under way."""


class LoadedModel:
    """An engine with the name and version of what it runs, and the checks of what is put into it."""

    def __init__(self, engine: Engine, name: str, version: str) -> None:
        self.engine, self.name, self.version = engine, name, version
        self.inputs, self.outputs = engine.inputs, engine.outputs
        self.is_batched = (
            bool(self.inputs) and all(one.is_batched for one in self.inputs) and all(o.is_tensor for o in self.outputs)
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.version}) on {self.engine.device}"

    def fitted(self, value: Any) -> tuple[dict[str, Array], bool]:
        """What the engine is fed with.

        Args:
            value: a tensor, for a model with one input; else a map by input name. A first length of 1 may be left out.
        Returns:
            Arrays by input name, and whether the first length was added here.
        Raises:
            TensorMismatch: names the input, what it wants and what came.
        """
        given = value if isinstance(value, Mapping) else {self.inputs[0].name: value} if len(self.inputs) == 1 else None
        if given is None:
            raise TensorMismatch(f"{self.name} has {len(self.inputs)} inputs: send a map with {self._wanted()}")
        if unknown := [name for name in given if name not in {one.name for one in self.inputs}]:
            raise TensorMismatch(f"{self.name} has no input {', '.join(map(repr, unknown))}; it has {self._wanted()}")
        feeds: dict[str, Array] = {}
        lengths: dict[str, tuple[int, str]] = {}
        added = set()
        for spec in self.inputs:
            if spec.name not in given:
                if spec.kind.startswith("optional"):
                    feeds[spec.name] = None
                    continue
                raise TensorMismatch(f"{self.name} needs {spec}, and it is missing")
            array, was_added = self._array(spec, given[spec.name])
            feeds[spec.name] = array
            if spec.is_tensor and spec.shape:
                added.add(was_added)
                self._same_lengths(spec, array.shape, lengths)
        if len(added) > 1:
            raise TensorMismatch(
                f"{self.name}: some inputs have the first length, others lack it; it wants {self._wanted()}"
            )
        return feeds, True in added

    def _wanted(self) -> str:
        return ", ".join(map(str, self.inputs)) or "no inputs"

    def _array(self, spec: TensorSpec, value: Any) -> tuple[Array, bool]:
        if not spec.is_tensor:
            return value, False
        if spec.kind == "text":
            import numpy as np

            array: Any = np.array(value, dtype=object)
        elif getattr(value, "device", "cpu") != "cpu" and self.engine.takes_device:
            array = value
        elif hasattr(value, "numpy"):
            array = value.numpy()
        elif hasattr(value, "shape") and hasattr(value, "dtype"):
            array = value
        else:
            array = self._of_numbers(spec, value)
        if spec.kind != "text" and str(array.dtype) != spec.kind:
            raise TensorMismatch(f"{self.name} takes {spec}, got {_described(array)}")
        if spec.shape is None or _fits(array.shape, spec.shape):
            return array, False
        if _fits((1, *array.shape), spec.shape):
            return (array[None] if not hasattr(array, "lease") else array), True
        raise TensorMismatch(f"{self.name} takes {spec}, got {_described(array)}")

    def _of_numbers(self, spec: TensorSpec, value: Any) -> Array:
        import numpy as np

        try:
            if isinstance(value, (list, tuple, int, float, bool)):
                return np.array(value, dtype=spec.kind)
        except (ValueError, TypeError, OverflowError) as e:
            raise TensorMismatch(f"{self.name} takes {spec}, got a list that is no such tensor: {e}") from None
        raise TensorMismatch(f"{self.name} takes {spec}, got {type(value).__name__}")

    def _same_lengths(self, spec: TensorSpec, shape: tuple[int, ...], lengths: dict[str, tuple[int, str]]) -> None:
        """A name that stands for a length has one value in all inputs."""
        for length, name in zip(shape, spec.shape or (), strict=False):
            if isinstance(name, str) and name != "?":
                first, where = lengths.setdefault(name, (length, spec.name))
                if first != length:
                    raise TensorMismatch(
                        f"{self.name}: '{name}' is {first} in input '{where}' and {length} in input '{spec.name}'"
                    )


def _fits(shape: tuple[int, ...], wanted: tuple[int | str, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        isinstance(want, str) or want == have for have, want in zip(shape, wanted, strict=True)
    )


def _described(array: Any) -> str:
    return f"{array.dtype} {tuple(array.shape)}"


def open_model(path: str, engine: str, options: Options) -> LoadedModel:
    """Open a model file.

    Args:
        path: a file, or "builtin:<name>" for a model that comes with flowcore.
        engine: "auto" (by the file's name), or a key of the table above.
    Raises:
        ModelError: says what is wrong with it.
    """
    file = path_of(path)
    kind = _BY_SUFFIX.get(file.suffix.lower(), "") if engine == "auto" else engine
    if file.suffix.lower() in _PICKLES or not kind:
        why = "may run code when it is loaded, and is not loaded" if file.suffix.lower() in _PICKLES else "is not known"
        raise ModelError(
            f"{file}: a '{file.suffix}' file {why}; export the model as .onnx, or with torch.export as .pt2"
        )
    try:
        if not (size := file.stat().st_size):
            raise ModelError(f"{file}: the file is empty")
        with file.open("rb") as opened:
            version = hashlib.file_digest(opened, "sha256").hexdigest()[:12]
    except OSError as e:
        raise ModelError(f"{file}: {e.strerror or e}") from None
    module, name = _ADAPTERS[kind]
    try:
        adapter: Callable[[Path, str, Options], Engine] = getattr(importlib.import_module(module), name)
        return LoadedModel(adapter(file, version, options), file.stem, version)
    except ModelError:
        raise
    except ImportError as e:
        raise ModelError(f"{file}: the engine {kind} is not installed: {e}") from e
    except Exception as e:  # of the library: each has its own
        said = str(e).strip().splitlines()
        raise ModelError(
            f"{file} ({size} bytes): {kind} cannot open it: {said[0] if said else type(e).__name__}"
        ) from e


def path_of(path: str) -> Path:
    """Where a model is.

    Raises:
        ModelError: no model of that name comes with flowcore.
    """
    if not path.startswith(_BUILT_IN):
        return Path(path)
    folder = Path(__file__).with_name("models")
    file = folder / f"{path.removeprefix(_BUILT_IN)}.onnx"
    if file.parent != folder or not file.is_file():
        there = ", ".join(sorted(_BUILT_IN + one.stem for one in folder.glob("*.onnx"))) or "none"
        raise ModelError(f"no model {path!r} comes with flowcore; there are: {there}")
    return file


def device_of(device: str, affinity: str, count: int) -> str:
    """The device that a node uses.

    Args:
        device: "cpu", "cuda", "cuda:1" ..
        affinity: nodes with the same word share a GPU, other words are spread over all; empty: the first GPU.
        count: how many GPUs there are.
    Raises:
        ModelError: it is not there.
    """
    if device == "cpu":
        return device
    if not count:
        raise ModelError(
            f"device {device}: this machine shows no CUDA device; set device to cpu, or see flowcore doctor"
        )
    if device == "cuda":
        return f"cuda:{zlib.crc32(affinity.encode()) % count if affinity else 0}"
    number = int(device.removeprefix("cuda:"))
    if number >= count:
        raise ModelError(f"device {device}: there are {count} CUDA devices, cuda:0 to cuda:{count - 1}")
    return f"cuda:{number}"
