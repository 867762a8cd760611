"""What this Python has of what the checks want, and how to get the rest. Imports nothing of all that."""

import importlib.metadata
import importlib.util
import platform
import sys
from pathlib import Path

_WANTED = {
    "cupy": ("pip install cupy-cuda12x (driver 525 or later) or cupy-cuda13x (driver 580 or later)", True),
    "numpy": ("pip install numpy", True),
    "msgpack": ("pip install msgpack", True),
    "torch": ("pip install torch", False),
    "tensorrt": ("pip install tensorrt", False),
    "pytest": ("pip install pytest; only for `pytest tests/gpu`, the checks run without", False),
    "nats": ("pip install nats-py; only for flows, the checks run without", False),
    "pydantic": ("pip install pydantic; only for flows, the checks run without", False),
}


def missing() -> list[str]:
    """Why no check can be made; empty when they can."""
    reasons = [
        f"{name} is not installed: {how}"
        for name, (how, is_needed) in _WANTED.items()
        if is_needed and not _is_here(name)
    ]
    if reasons:
        return reasons
    from flowcore.buffers import cuda_probe

    why = cuda_probe.missing()
    if why:
        return [why]
    from flowcore.buffers.cuda_driver import CudaError, driver

    try:
        if not driver().device_count():
            return ["CUDA has no device here: look at CUDA_VISIBLE_DEVICES"]
    except CudaError as e:
        return [str(e)]
    return []


def described() -> list[str]:
    """Lines about Python, driver and libraries, and what is missing of those that are not needed."""
    said = [f"Python {platform.python_version()} ({sys.executable}), Linux {platform.release()} {platform.machine()}"]
    driver = Path("/proc/driver/nvidia/version")
    said.append(driver.read_text(encoding="utf-8").splitlines()[0] if driver.exists() else "no NVIDIA driver in /proc")
    names = importlib.metadata.packages_distributions()
    for name, (how, _) in _WANTED.items():
        if _is_here(name):
            packages = [f"{each} {importlib.metadata.version(each)}" for each in sorted(set(names.get(name, ())))]
            said.append(", ".join(packages) or f"{name} (no package)")
        else:
            said.append(f"missing: {name} ({how})")
    return said


def _is_here(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None  # a mere folder of that name is no package
