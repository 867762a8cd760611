"""Programs of `torch.export.save`, run by PyTorch on the processor or a CUDA device."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flowcore_nodes.ai.engines import Array, ModelError, Options, TensorSpec
from flowcore_nodes.ai.export_archive import safe


class ExportEngine:
    """A program, moved to its device. Inputs have the names of `forward`'s arguments."""

    def __init__(self, file: Path, version: str, options: Options) -> None:
        self.device = options.device
        self.takes_device = options.device != "cpu"
        if self.takes_device and not torch.cuda.is_available():
            raise ModelError(f"device {options.device}: PyTorch {torch.__version__} sees no CUDA device")
        if options.threads:
            torch.set_num_threads(options.threads)
        program = torch.export.load(safe(file))
        self.inputs, self.outputs = _specs(program)
        module = program.module(check_guards=False)
        self._module = module.to(options.device)
        self._device = torch.device(options.device)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """See `Engine`."""
        with torch.inference_mode():
            given = [self._there(feeds[spec.name], spec) for spec in self.inputs]
            made = self._module(*given)
            values = list(made.values()) if isinstance(made, dict) else made
            if isinstance(values, torch.Tensor):
                values = [values]
            return {
                spec.name: one.cpu().numpy() if isinstance(one, torch.Tensor) else np.asarray(one)
                for spec, one in zip(self.outputs, values, strict=True)
            }

    def _there(self, value: Array, spec: TensorSpec) -> torch.Tensor:
        if hasattr(value, "lease"):  # on a device already: PyTorch reads it where it lies, and the streams are ordered
            tensor = torch.from_dlpack(value).to(self._device)
            return tensor[None] if tensor.ndim < len(spec.shape or ()) else tensor
        with warnings.catch_warnings():  # it is read-only, and PyTorch only reads it
            warnings.simplefilter("ignore", UserWarning)
            return torch.from_numpy(np.ascontiguousarray(value)).to(self._device)

    def close(self) -> None:
        """See `Engine`."""
        del self._module


def _specs(program: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs: names, dtypes and shapes as they were exported."""
    signature, values = program.graph_signature, {}
    for node in program.graph.nodes:
        values[node.name] = node.meta.get("val")
    outputs = list(signature.user_outputs)
    names = [f"output{k}" for k in range(len(outputs))]
    spec = program.call_spec.out_spec
    if spec is not None and spec.type is dict and len(spec.context) == len(outputs):
        names = [str(one) for one in spec.context]
    described = [_spec(name, values[name]) for name in signature.user_inputs]
    return tuple(described), tuple(_spec(name, values.get(one)) for name, one in zip(names, outputs, strict=True))


def _spec(name: str, value: Any) -> TensorSpec:
    if not isinstance(value, torch.Tensor):
        raise ModelError(f"'{name}' is {type(value).__name__}: a program takes and gives tensors only")
    shape = tuple(one if isinstance(one, int) else str(one) for one in value.shape)
    return TensorSpec(name, str(value.dtype).removeprefix("torch."), shape)
