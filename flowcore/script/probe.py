"""A few attacks on our own sandbox at start: is every layer there, and does it hold?

    {"missing": [layer: why, ...], "leaks": [what got through, ...]}

Runs in a forked child of the zygote that locks itself in exactly as a worker does. A kernel without Landlock, or a
container that forbids seccomp, shows here, before any script has run.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
from collections.abc import Callable

from flowcore.script import lockdown

_PROBE_MEMORY = 64 << 20
_IO_URING_SETUP, _PTRACE_ATTACH = 425, 16


def probe(zygote: int) -> dict[str, list[str]]:
    """Fork, lock, attack; `zygote` is the process id of the caller.

    Returns:
        {"missing": layers that could not be put on, "leaks": attacks that got through}; both empty when all is well.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        report = {"missing": [], "leaks": ["the probe itself failed"]}
        try:
            os.close(reader)
            os.dup2(writer, 3)
            os.closerange(4, 1 << 16)
            missing = lockdown.lock(_PROBE_MEMORY, zygote, "weak")
            report = {"missing": missing, "leaks": [name for name, attack in _attacks(zygote) if _got_through(attack)]}
        finally:
            os.write(3, json.dumps(report).encode())
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:  # noqa: PTH123  a descriptor, not a path
        text = answer.read()
    _, status = os.waitpid(child, 0)
    try:
        return json.loads(text)
    except ValueError:
        return {"missing": [], "leaks": [f"the probe ended with status {status}"]}


def missing_layers(report: dict[str, list[str]]) -> list[str]:
    """What a script must not run without, one text each."""
    return [*report["missing"], *(f"got through: {leak}" for leak in report["leaks"])]


def _got_through(attack: Callable[[], object]) -> bool:
    try:
        return attack() is not False
    except (OSError, MemoryError):
        return False


def _attacks(zygote: int) -> list[tuple[str, Callable[[], object]]]:
    libc = ctypes.CDLL(None, use_errno=True)

    def raw(*arguments: int) -> Callable[[], object]:
        def attack() -> bool:
            return libc.syscall(*arguments) >= 0

        return attack

    def fork() -> bool:
        child = os.fork()
        if child == 0:
            os._exit(0)
        with contextlib.suppress(OSError):
            os.waitpid(child, 0)
        return True

    return [
        ("reading a file", lambda: os.open("/etc/passwd", os.O_RDONLY)),
        ("writing a file", lambda: os.open("/tmp/flowcore-probe", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)),
        ("listing a folder", lambda: os.listdir("/")),  # noqa: PTH208  the plain calls are the point
        ("looking whether a file is there", lambda: os.stat("/etc/passwd")),  # noqa: PTH116
        ("a TCP socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)),
        ("a Unix socket", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)),
        ("a process", fork),
        ("another program", lambda: os.execv("/bin/true", ["true"])),
        ("a signal to the zygote", lambda: os.kill(zygote, signal.SIG_DFL)),
        ("ptrace", lambda: libc.ptrace(_PTRACE_ATTACH, zygote, 0, 0) >= 0),
        ("io_uring", raw(_IO_URING_SETUP, 1, 0)),
        ("executable memory", lambda: libc.syscall(*_map_executable()) >= 0),
        ("512 MB of memory", lambda: bytearray(512 << 20)),
    ]


def _map_executable() -> tuple:
    number = 9 if os.uname().machine == "x86_64" else 222
    null = ctypes.c_void_p(None)
    return number, null, ctypes.c_size_t(4096), 7, 0x22, -1, ctypes.c_long(0)
