"""What a run was measured on: the machine, the versions, and which other programs were busy."""

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from flowcore import __version__
from flowcore.bus.config import nats_server_program

LIBRARIES = ("nats-py", "msgpack", "uvloop", "numpy", "pydantic")
_BUSY_SHARE = 0.05  # of a core


def machine() -> dict[str, Any]:
    """Processor, memory and system of this machine; `cores` are those this process may use."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "kernel": platform.release(),
        "system": _system(),
        "architecture": platform.machine(),
    }


def versions() -> dict[str, str]:
    """Versions of what is measured; "-" for what is not installed."""
    found = {"python": platform.python_version(), "flowcore": __version__, "nats-server": _nats_server()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "-"
    return found


def surroundings(look_s: float = 0.5) -> dict[str, Any]:
    """The load of this machine, and the programs that were busy in `look_s`: figures of a busy machine are worth less.

    Blocks for `look_s`.
    """
    watched = []
    for process in psutil.process_iter(["name"]):
        if process.pid != os.getpid():
            try:
                watched.append((process, _cpu_s(process)))
            except psutil.Error:
                continue
    time.sleep(look_s)
    busy = []
    for process, before_s in watched:
        try:
            share = (_cpu_s(process) - before_s) / look_s
        except psutil.Error:
            continue
        if share >= _BUSY_SHARE:
            busy.append({"name": process.info["name"], "pid": process.pid, "cpu": round(share, 2)})
    return {"load_1_min": os.getloadavg()[0], "busy": busy}


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware"):
            return value.strip()
    return platform.processor() or "unknown"


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _nats_server() -> str:
    said = subprocess.run([nats_server_program(), "--version"], capture_output=True, text=True, timeout=10)
    return said.stdout.strip().rpartition("v")[2]
