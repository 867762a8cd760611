"""Locking a process in, for good: rlimits, another user, no_new_privs, Landlock without a rule, a seccomp allow-list.

Owns the order of the layers and the tables of system calls; starts nothing. `lock` runs in a freshly forked worker,
before any of the user's code. Everything is done with ctypes, since the standard library has none of it.

The order matters: limits while they may still be set; the user before the parent-death signal (a change of user clears
it); no_new_privs before Landlock and seccomp (an unprivileged process needs it for both); seccomp last (it forbids
the rest).
"""

import ctypes
import os
import platform
import resource
import signal
import struct
from contextlib import suppress

LAYERS = ("rlimits", "user", "pdeathsig", "no_new_privs", "landlock", "seccomp")
_OWN_UID = 0x70000000  # plus the process id: a user that owns nothing and is shared by nobody
_NOBODY = 65534  # where a user namespace maps no such large ids

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 4, 38, 47
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446  # the same numbers on every architecture

# System calls that compute, allocate, sleep and exit. `read` and `write` only on descriptors 0 to 3, `mmap` and
# `mprotect` only without PROT_EXEC: these four are handled apart.
_SYSCALLS = {
    "x86_64": {
        "arch": 0xC000003E, "seccomp": 317, "capset": 126, "read": 0, "write": 1, "mmap": 9, "mprotect": 10,
        "plain": {
            "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_yield": 24,
            "mremap": 25, "madvise": 28, "nanosleep": 35, "getpid": 39, "exit": 60, "gettimeofday": 96,
            "sigaltstack": 131, "gettid": 186, "time": 201, "futex": 202, "restart_syscall": 219, "clock_gettime": 228,
            "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231, "getrandom": 318,
        },
    },
    "aarch64": {
        "arch": 0xC00000B7, "seccomp": 277, "capset": 91, "read": 63, "write": 64, "mmap": 222, "mprotect": 226,
        "plain": {
            "munmap": 215, "brk": 214, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139,
            "sched_yield": 124, "mremap": 216, "madvise": 233, "nanosleep": 101, "getpid": 172, "exit": 93,
            "gettimeofday": 169, "sigaltstack": 132, "gettid": 178, "futex": 98, "restart_syscall": 128,
            "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "exit_group": 94, "getrandom": 278,
        },
    },
}  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)


class LockFailed(OSError):
    """A layer could not be put on; `layer` names it."""

    def __init__(self, layer: str, why: str) -> None:
        super().__init__(f"{layer}: {why}")
        self.layer = layer


def set_death_signal(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends, and end at once when it has already."""
    _call("pdeathsig", _libc.prctl, _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def lock(memory_bytes: int, parent: int, sandbox: str) -> list[str]:
    """Put on every layer, in order, for good.

    Args:
        memory_bytes: address space the script may use beyond what the process has now.
        parent: process id of the zygote; this process dies with it.
        sandbox: "strict" raises when a layer fails, "weak" goes on without it, "off" sets only the memory limit.
    Returns:
        The layers that are missing ("weak"), each with its reason.
    Raises:
        LockFailed: a layer failed and sandbox is "strict".
    """
    if sandbox == "off":
        _limit_memory(memory_bytes)
        set_death_signal(parent)
        return []
    missing = []
    steps = (
        lambda: limit_resources(memory_bytes),
        change_user,
        lambda: set_death_signal(parent),
        forbid_new_privileges,
        restrict_landlock,
        restrict_syscalls,
    )
    for name, step in zip(LAYERS, steps, strict=True):
        try:
            step()
        except OSError as e:
            failed = e if isinstance(e, LockFailed) else LockFailed(name, str(e))
            if sandbox == "strict":
                raise failed from None
            missing.append(str(failed))
    return missing


def limit_resources(memory_bytes: int) -> None:
    """No files, no processes, no dumps, and `memory_bytes` beyond what is mapped already."""
    for kind, limit in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 8),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    _limit_memory(memory_bytes)


def _limit_memory(memory_bytes: int) -> None:
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123  pathlib is one more import in every worker
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + memory_bytes, mapped + memory_bytes))


def change_user() -> None:
    """As root: become a user of one's own, without groups. Always: without capabilities, closed to debuggers."""
    _call("user", _libc.prctl, _PR_SET_DUMPABLE, 0, 0, 0, 0)
    if os.geteuid() == 0:
        os.setgroups([])
        own = _OWN_UID + os.getpid()
        try:
            os.setresgid(own, own, own)
        except OSError:  # EINVAL: not mapped in this user namespace
            own = _NOBODY
            os.setresgid(own, own, own)
        os.setresuid(own, own, own)
        _call("user", _libc.prctl, _PR_SET_DUMPABLE, 0, 0, 0, 0)
    _libc.prctl(_PR_CAP_AMBIENT, 4, 0, 0, 0)  # clear all; EINVAL on a kernel without
    header = struct.pack("=Ii", 0x20080522, 0)
    _call("user", _libc.syscall, _table()["capset"], header, bytes(24))
    if 0 in (os.getuid(), os.geteuid(), os.getgid(), os.getegid()):
        raise LockFailed("user", "still root")


def forbid_new_privileges() -> None:
    """No exec gives more rights than there are now."""
    _call("no_new_privs", _libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def landlock_abi() -> int:
    """The version of Landlock this kernel has; 0: none."""
    return max(0, _libc.syscall(_LANDLOCK_CREATE, None, 0, 1))


def restrict_landlock() -> None:
    """Landlock with no rule at all: no files, no TCP, no abstract sockets, no signals to others."""
    abi = landlock_abi()
    if abi < 1:
        raise LockFailed("landlock", "this kernel has none (5.13 or later has, when it is among its security modules)")
    files = (1 << (13 if abi < 2 else 14 if abi < 3 else 15 if abi < 5 else 16)) - 1
    attributes = struct.pack("=QQQ", files, 0b11, 0b11)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = _call("landlock", _libc.syscall, _LANDLOCK_CREATE, attributes, len(attributes), 0)
    try:
        _call("landlock", _libc.syscall, _LANDLOCK_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def restrict_syscalls() -> None:
    """Seccomp: the allow-list above; all else fails with EPERM, another ABI's calls kill the process."""
    program = build_filter(_table())
    instructions = ctypes.create_string_buffer(program, len(program))
    prog = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    _call("seccomp", _libc.syscall, _table()["seccomp"], 1, 1, prog)  # SET_MODE_FILTER, TSYNC


def build_filter(table: dict) -> bytes:
    """The allow-list of `table` as a BPF program: `struct sock_filter` instructions of 8 bytes, in order."""
    load, equal, at_least, any_bit, above, give = 0x20, 0x15, 0x35, 0x45, 0x25, 0x06
    allow, refuse, kill = 0x7FFF0000, 0x00050000 | 1, 0x80000000
    code: list[tuple[int, int, int, int]] = [
        (load, 0, 0, 4),  # seccomp_data.arch
        (equal, 1, 0, table["arch"]),
        (give, 0, 0, kill),
        (load, 0, 0, 0),  # seccomp_data.nr
        (at_least, 0, 1, 0x40000000),  # the x32 ABI shares the architecture and has numbers of its own
        (give, 0, 0, kill),
    ]
    for number in (table["read"], table["write"]):  # descriptor: low word of the first argument, at 16
        code += [(equal, 0, 4, number), (load, 0, 0, 16), (above, 1, 0, 3), (give, 0, 0, allow), (give, 0, 0, refuse)]
    for number in (table["mmap"], table["mprotect"]):  # protection: low word of the third argument, at 32
        code += [(equal, 0, 4, number), (load, 0, 0, 32), (any_bit, 1, 0, 4), (give, 0, 0, allow), (give, 0, 0, refuse)]
    for number in table["plain"].values():
        code += [(equal, 0, 1, number), (give, 0, 0, allow)]
    code.append((give, 0, 0, refuse))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _table() -> dict:
    machine = platform.machine()
    if machine not in _SYSCALLS or struct.calcsize("P") != 8:
        raise LockFailed("seccomp", f"no table of system calls for {machine}")
    return _SYSCALLS[machine]


def _call(layer: str, function, *arguments) -> int:
    result = function(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise LockFailed(layer, os.strerror(number))
    return result


with suppress(OSError):
    platform.machine()  # cached: it asks the kernel, which a locked process may not
