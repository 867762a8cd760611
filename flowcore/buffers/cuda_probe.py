"""Whether processes of this machine can share memory on a CUDA device: found out by doing it, at the first need.

Two short-lived processes do it (`python -m flowcore.buffers.cuda_probe`), so that whoever asks gets no context on the
device by asking: a process that has one cannot fork children that use CUDA. Where it works, a file in the user's cache
says so until the machine, the driver or cupy changes; where it does not, `device="cuda"` means host memory.
"""

import ctypes
import functools
import hashlib
import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from flowcore.buffers import cuda_driver
from flowcore.buffers.cuda_driver import CudaError, Driver, Stream
from flowcore.buffers.memory import NoDevice
from flowcore.buffers.place import namespace

INSTALL = "pip install 'flowcore[gpu]' (CUDA 12; for CUDA 13: pip install cupy-cuda13x)"
_LIMIT_S = 60.0
_SIZE = 2 << 20
_DRIVER_VERSION = Path("/proc/driver/nvidia/version")

_log = logging.getLogger("flowcore.buffers")


class Probe(NamedTuple):
    """What was found.

    Attributes:
        why: what does not work; empty when all does.
        fix: what to do about it.
        devices: names of the devices.
    """

    why: str
    fix: str = ""
    devices: tuple[str, ...] = ()


_NO_CUPY = Probe("cupy is not installed", INSTALL)
_NO_DRIVER = Probe(
    "there is no NVIDIA driver here", "install it; in a container start it with the GPU: docker run --gpus all"
)
_assumed: list[Probe] = []


def assume(probe: Probe) -> None:
    """Take this as found, in this process."""
    _assumed[:] = [probe]


def missing() -> str:
    """What is missing for any use of CUDA, as far as can be seen without touching it; mostly empty."""
    return "" if _assumed else _at_a_glance().why


@functools.cache
def _at_a_glance() -> Probe:
    if importlib.util.find_spec("cupy") is None:
        return _NO_CUPY
    return Probe("") if has_driver() else _NO_DRIVER


@functools.cache
def has_driver() -> bool:
    """Whether the driver's library is there. Loads it, as cupy will, and begins nothing."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@functools.lru_cache(maxsize=1)
def _probe(pid: int) -> Probe:
    found = _at_a_glance()
    return found if found.why else _cached() or probe_now()


def probe() -> Probe:
    """What is known, or found out now: that takes seconds, once on a machine."""
    return _assumed[0] if _assumed else _probe(os.getpid())


def probe_now() -> Probe:
    """Find out in processes of their own, whatever is known."""
    found = _at_a_glance()
    if found.why:
        return found
    done, out = _run_self("write", "", _LIMIT_S)
    try:
        found = Probe(*json.loads(out.splitlines()[-1]))
    except (ValueError, TypeError, IndexError):
        found = Probe(f"the probe ended with {done}: {out.strip()[-300:] or 'no word'}", "look into the driver's log")
    if not found.why:
        _remember(found)
    return Probe(found.why, found.fix, tuple(found.devices))


def resolve(device: str) -> str:
    """Where memory that is asked for on "cuda" or "cuda:1" will be: "cuda:0" .., or "cpu" where it can't be shared.

    Raises:
        NoDevice: there is none of this name.
    """
    if re.fullmatch(r"cuda(:\d{1,2})?", device) is None:
        raise NoDevice(f"no device {device!r}; there are: cpu, cuda, cuda:0 ..")
    found = probe()
    if found.why:
        _tell(found)
        return "cpu"
    driver = cuda_driver.driver()
    if device == "cuda":
        return f"cuda:{driver.current_device()}"
    if int(device[5:]) >= driver.device_count():
        raise NoDevice(f"no device {device!r}; CUDA has {driver.device_count()} here")
    return device


@functools.lru_cache(maxsize=1)
def _tell(found: Probe) -> None:
    _log.warning("tensors for a CUDA device are in host memory: %s. To change that: %s", found.why, found.fix)


# What was found before


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "flowcore" / "cuda.json"


def _key() -> str:
    spec = importlib.util.find_spec("cupy")
    cupy = spec.origin if spec is not None and spec.origin else ""
    parts = [namespace(), cupy, os.environ.get("CUDA_VISIBLE_DEVICES", "")]
    parts.append(str(Path(cupy).stat().st_mtime_ns) if cupy else "")
    parts.append(_DRIVER_VERSION.read_text(encoding="utf-8") if _DRIVER_VERSION.exists() else "")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _cached() -> Probe | None:
    try:
        known = json.loads(_cache().read_text(encoding="utf-8"))
        return Probe("", "", tuple(known["devices"])) if known["key"] == _key() else None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):  # RuntimeError: a user without a home
        return None


def _remember(found: Probe) -> None:
    try:
        path = _cache()
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps({"key": _key(), "devices": found.devices}), encoding="utf-8")
        new.replace(path)
    except (OSError, RuntimeError):
        pass  # it is found out again


# The two processes


def _run_self(role: str, given: str, limit_s: float) -> tuple[str, str]:
    """How the process ended, and what it said."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "flowcore.buffers.cuda_probe", role]
    try:
        done = subprocess.run(
            command, input=given, env=environ, timeout=limit_s, text=True, capture_output=True, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {limit_s:.0f} s", ""
    except OSError as e:
        return str(e), ""
    return f"status {done.returncode}", done.stdout or done.stderr


def _write() -> Probe:
    """Make memory and an event, and have another process read it."""
    try:
        driver = Driver()
        count = driver.device_count()
        devices = tuple(f"cuda:{i} {driver.name(i)}" for i in range(count))
    except CudaError as e:
        return Probe(str(e), "bring driver, CUDA and cupy together: cupy-cuda12x needs driver 525 or later, "
                     "cupy-cuda13x 580 or later")  # fmt: skip
    if not count:
        return Probe("CUDA has no device here", "look at CUDA_VISIBLE_DEVICES")
    pattern = os.urandom(4096)
    stream = Stream(0, cuda_driver.LEGACY)
    try:
        ptr = driver.malloc(0, _SIZE)
        driver.copy_from_host(ptr, _address(data := bytearray(pattern)), len(data), stream)
        event = driver.new_event(0, is_shared=True)
        driver.record(event, stream)
        handles = [driver.export_memory(0, ptr).hex(), driver.export_event(event).hex(), pattern.hex()]
    except CudaError as e:
        return Probe(f"CUDA cannot share memory between processes: {e}", _fix_of_ipc())
    done, out = _run_self("read", json.dumps(handles), _LIMIT_S / 2)
    if out.strip() == "same":
        return Probe("", "", devices)
    return Probe(f"one process cannot read another's CUDA memory: {out.strip()[-200:] or done}", _fix_of_ipc(), devices)


def _fix_of_ipc() -> str:
    if not _DRIVER_VERSION.exists() and Path("/dev/nvhost-gpu").exists():
        return "nothing: Jetson's driver has no CUDA IPC"
    return (
        "in a container: docker run --ipc=host --cap-add=SYS_PTRACE, and not one process in a container and one "
        "outside; under MPS every process must use the same server"
    )


def _read(handles: list[str]) -> str:
    memory, event_handle, pattern = map(bytes.fromhex, handles)
    driver = Driver()
    ptr, event = driver.import_memory(0, memory), driver.import_event(0, event_handle)
    until_s = time.monotonic() + 10
    while not driver.is_done(event):
        if time.monotonic() > until_s:
            return "its event is never done"
        time.sleep(0.001)
    stream = driver.new_stream(0)
    data = bytearray(len(pattern))
    driver.copy_to_host(_address(data), ptr, len(data), stream)
    driver.synchronize_stream(stream)
    driver.destroy_event(event)
    driver.release_memory(0, ptr)
    return "same" if bytes(data) == pattern else "other bytes than were written"


def _address(data: bytearray) -> int:
    return ctypes.addressof((ctypes.c_char * len(data)).from_buffer(data))


if __name__ == "__main__":
    if sys.argv[1:] == ["read"]:
        try:
            print(_read(json.load(sys.stdin)))
        except CudaError as e:
            print(e)
    else:
        print(json.dumps(_write()))
