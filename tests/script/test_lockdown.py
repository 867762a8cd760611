"""The seccomp programs of both architectures, run by a small interpreter (`test_attacks` has the kernel run one)."""

import struct

import pytest

from flowcore.script import lockdown

ALLOW, EPERM, KILL = 0x7FFF0000, 0x00050001, 0x80000000


def verdict(program: bytes, number: int, arch: int, *arguments: int) -> int:
    """What the kernel would do with a system call."""
    data = struct.pack("<iIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    at, value = 0, 0
    while True:
        code, yes, no, k = struct.unpack_from("=HBBI", program, at * 8)
        at += 1
        if code == 0x20:
            value = struct.unpack_from("<I", data, k)[0]
        elif code == 0x06:
            return k
        else:
            holds = {0x15: value == k, 0x35: value >= k, 0x25: value > k, 0x45: bool(value & k)}[code]
            at += yes if holds else no


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_allow_list(machine):
    """What is in the table passes, all else is refused, another ABI ends the process."""
    table = lockdown._SYSCALLS[machine]
    program = lockdown.build_filter(table)
    arch = table["arch"]
    allowed = {*table["plain"].values(), table["read"], table["write"], table["mmap"], table["mprotect"]}
    for number in range(600):
        assert verdict(program, number, arch) == (ALLOW if number in allowed else EPERM)
    assert len(allowed) < 36
    for name in ("read", "write"):
        assert verdict(program, table[name], arch, 3) == ALLOW
        assert verdict(program, table[name], arch, 4) == EPERM
        assert verdict(program, table[name], arch, 0xFFFFFFFF) == EPERM
    for name in ("mmap", "mprotect"):
        assert verdict(program, table[name], arch, 0, 4096, 3) == ALLOW
        assert verdict(program, table[name], arch, 0, 4096, 7) == EPERM
        assert verdict(program, table[name], arch, 0, 4096, 4) == EPERM
    assert verdict(program, table["read"], arch ^ 1, 3) == KILL
    assert verdict(program, 0x40000000 + 1, arch) == KILL
    assert verdict(program, 0x7FFFFFFF, arch) == KILL


def test_the_tables_have_the_same_calls():
    """What one architecture allows the other does; `time` is x86-64's alone."""
    x86, arm = (set(lockdown._SYSCALLS[machine]["plain"]) for machine in ("x86_64", "aarch64"))
    assert x86 - arm == {"time"}
    assert arm <= x86
