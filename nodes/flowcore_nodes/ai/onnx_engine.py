"""ONNX Runtime: on the processor, and by its CUDA and TensorRT providers on a GPU."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime

from flowcore_nodes.ai.engines import Array, ModelError, Options, TensorSpec

_KINDS = {
    "float": "float32",
    "double": "float64",
    "string": "text",
    **{name: name for name in ("float16", "bool", "int8", "int16", "int32", "int64")},
    **{name: name for name in ("uint8", "uint16", "uint32", "uint64", "bfloat16")},
}


class OnnxEngine:
    """A session of ONNX Runtime."""

    def __init__(self, file: Path, version: str, options: Options) -> None:
        self.device = options.device
        self.takes_device = options.device != "cpu"
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.log_severity_level = 4  # what is wrong comes as an exception
        settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spin else "0")
        providers = _providers(options, version)
        missing = [name for name, _ in providers if name not in onnxruntime.get_available_providers()]
        if missing:
            raise ModelError(
                f"this onnxruntime has no {missing[0]}; pip install onnxruntime-gpu in place of onnxruntime, or set "
                "device to cpu"
            )
        self._session = onnxruntime.InferenceSession(str(file), settings, providers=providers)
        used = self._session.get_providers()
        if used[0] != providers[0][0]:  # it goes on with the processor and says so on stderr alone
            raise ModelError(
                f"ONNX Runtime could not use its {providers[0][0]} on {self.device}; it would use {used[0]}"
            )
        self.inputs = tuple(map(_spec, self._session.get_inputs()))
        self.outputs = tuple(map(_spec, self._session.get_outputs()))
        self._names = [one.name for one in self.outputs]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """See `Engine`."""
        if self.takes_device and any(hasattr(value, "lease") for value in feeds.values()):
            return self._run_bound(feeds)
        return dict(zip(self._names, self._session.run(self._names, dict(feeds)), strict=True))

    def _run_bound(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """With inputs where they lie on the device."""
        binding = self._session.io_binding()
        for spec in self.inputs:
            value = feeds[spec.name]
            if not hasattr(value, "lease"):
                binding.bind_cpu_input(spec.name, value)
                continue
            array = value.cupy()
            shape = tuple(array.shape)
            if spec.shape is not None and len(shape) < len(spec.shape):
                shape = (1, *shape)
            array.device.synchronize()  # the session has streams of its own
            binding.bind_input(spec.name, "cuda", array.device.id, array.dtype, shape, array.data.ptr)
        for name in self._names:
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding)
        return dict(zip(self._names, binding.copy_outputs_to_cpu(), strict=True))

    def close(self) -> None:
        """See `Engine`."""
        del self._session


def _providers(options: Options, version: str) -> list[tuple[str, dict[str, Any]]]:
    if options.device == "cpu":
        return [("CPUExecutionProvider", {})]
    number = options.device.partition(":")[2] or "0"
    cuda = ("CUDAExecutionProvider", {"device_id": number})
    if not options.tensorrt:
        return [cuda, ("CPUExecutionProvider", {})]
    folder = options.cache / f"onnxruntime-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    built = {
        "device_id": number,
        "trt_fp16_enable": options.half,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(folder),
    }
    return [("TensorrtExecutionProvider", built), cuda, ("CPUExecutionProvider", {})]


def _spec(declared: Any) -> TensorSpec:
    found = re.fullmatch(r"tensor\((\w+)\)", declared.type)
    kind = _KINDS.get(found[1], declared.type) if found else declared.type
    shape = declared.shape
    if not isinstance(shape, list):
        return TensorSpec(declared.name, kind, None)
    return TensorSpec(declared.name, kind, tuple(one if isinstance(one, int) else one or "?" for one in shape))
