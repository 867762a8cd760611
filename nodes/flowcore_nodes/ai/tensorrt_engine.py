"""TensorRT: an engine is built from ONNX at the first start, and kept for this model, GPU and version."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cupy
import numpy as np
import tensorrt

from flowcore_nodes.ai.engines import Array, ModelError, Options, TensorSpec

_WORKSPACE = 2 << 30
_FREE_LENGTHS = (1, 1, 1)  # smallest, usual and largest of a free length that is no batch


class TensorrtEngine:
    """A built engine with one execution context; runs take turns."""

    takes_device = True

    def __init__(self, file: Path, version: str, options: Options) -> None:
        if options.device == "cpu":
            raise ModelError("TensorRT runs on NVIDIA GPUs: set device to cuda")
        if file.suffix.lower() != ".onnx":  # a plan is code
            raise ModelError(f"{file}: TensorRT's engine is built here, from an .onnx file")
        self.device = options.device
        self._device = cupy.cuda.Device(int(options.device.partition(":")[2] or 0))
        self._log = tensorrt.Logger(tensorrt.Logger.ERROR)
        self._lock = threading.Lock()
        with self._device:
            plan = _plan(file, version, options, self._device, self._log)
            self._engine = tensorrt.Runtime(self._log).deserialize_cuda_engine(plan)
            if self._engine is None:
                raise ModelError(f"{file}: TensorRT cannot load the engine that it built")
            self._context = self._engine.create_execution_context()
            self._stream = cupy.cuda.Stream(non_blocking=True)
        names = [self._engine.get_tensor_name(k) for k in range(self._engine.num_io_tensors)]
        inputs = [name for name in names if self._engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT]
        self.inputs = tuple(map(self._spec, inputs))
        self.outputs = tuple(self._spec(name) for name in names if name not in inputs)

    def _spec(self, name: str) -> TensorSpec:
        kind = np.dtype(tensorrt.nptype(self._engine.get_tensor_dtype(name))).name
        shape = tuple(one if one >= 0 else "batch" if k == 0 else "?" for k, one in enumerate(self._shape(name)))
        return TensorSpec(name, kind, shape)

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._engine.get_tensor_shape(name))

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """See `Engine`."""
        with self._lock, self._device, self._stream:
            given = {}
            for spec in self.inputs:
                array = self._there(feeds[spec.name], spec)
                given[spec.name] = array  # held until the end of the run
                if not self._context.set_input_shape(spec.name, array.shape):
                    raise ValueError(f"'{spec.name}' {array.shape} is outside of what the engine was built for")
                self._context.set_tensor_address(spec.name, array.data.ptr)
            made = {}
            for spec in self.outputs:
                array = cupy.empty(tuple(self._context.get_tensor_shape(spec.name)), spec.kind)
                self._context.set_tensor_address(spec.name, array.data.ptr)
                made[spec.name] = array
            if not self._context.execute_async_v3(self._stream.ptr):
                raise RuntimeError("TensorRT could not run the engine")
            return {name: array.get(stream=self._stream) for name, array in made.items()}

    def _there(self, value: Array, spec: TensorSpec) -> Any:
        if not hasattr(value, "lease"):
            return cupy.asarray(np.ascontiguousarray(value))
        array = cupy.ascontiguousarray(value.cupy())
        return array[None] if array.ndim < len(spec.shape or ()) else array

    def close(self) -> None:
        """See `Engine`."""
        del self._context, self._engine


def _plan(file: Path, version: str, options: Options, device: Any, log: Any) -> bytes:
    """The engine as bytes: from the cache, or built and put there."""
    properties = cupy.cuda.runtime.getDeviceProperties(device.id)
    gpu = properties["name"].decode().replace(" ", "-").replace("/", "-")
    precision = "fp16" if options.half else "fp32"
    name = f"{version}-{gpu}-sm{device.compute_capability}-trt{tensorrt.__version__}-{precision}-{options.largest}.plan"
    kept = options.cache / name
    if kept.is_file():
        return kept.read_bytes()
    builder = tensorrt.Builder(log)
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    parser = tensorrt.OnnxParser(network, log)
    if not parser.parse_from_file(str(file)):
        why = "; ".join(str(parser.get_error(k).desc()) for k in range(min(3, parser.num_errors)))
        raise ModelError(f"{file}: TensorRT cannot read it: {why}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, _WORKSPACE)
    if options.half:
        config.set_flag(tensorrt.BuilderFlag.FP16)
    profile = builder.create_optimization_profile()
    for k in range(network.num_inputs):
        given = network.get_input(k)
        batches = (1, options.largest, options.largest)
        shapes = [
            [one if one >= 0 else (batches if at == 0 else _FREE_LENGTHS)[size] for at, one in enumerate(given.shape)]
            for size in range(3)
        ]
        profile.set_shape(given.name, *shapes)
    config.add_optimization_profile(profile)
    built = builder.build_serialized_network(network, config)
    if built is None:
        raise ModelError(f"{file}: TensorRT cannot build an engine of it for {gpu}")
    options.cache.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(bytes(built))
    part.replace(kept)
    return bytes(built)
