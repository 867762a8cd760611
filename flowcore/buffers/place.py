"""Who and where a process is: pid, start time, host; and a descriptor of one as others can name it.

A pid alone is not enough, it is given again; with the start time of the process it is one process for ever.
"""

import functools
import hashlib
import os
from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """A descriptor of a process, as it stands in a handle: others open it through `/proc/<pid>/fd/<fd>`."""

    pid: int
    start: int
    fd: int

    @property
    def path(self) -> str:
        """Where another process of this host finds the descriptor."""
        return f"/proc/{self.pid}/fd/{self.fd}"


def start_of(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when there is none with this pid."""
    try:
        with Path(f"/proc/{pid}/stat").open("rb", buffering=0) as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    # Field 22 of the line; the rest begins with field 3. A zombie holds no memory any more.
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


@functools.lru_cache(maxsize=1)
def _start_of_own(pid: int) -> int:
    return start_of(pid) or 0


def own() -> tuple[int, int]:
    """Pid and start of this process, also after a fork."""
    pid = os.getpid()
    return pid, _start_of_own(pid)


@functools.cache
def namespace() -> str:
    """What processes that can open each other's descriptors have in common: boot, pid namespace, user."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()  # "ascii" is one import more
    pids = Path("/proc/self/ns/pid").readlink()
    # None of OpenSSL's: its first use costs a process that was forked a megabyte of its own.
    return hashlib.blake2b(f"{boot} {pids} {os.getuid()}".encode(), digest_size=8).hexdigest()


def host_id() -> str:
    """The host as it stands in handles.

    `FLOWCORE_HOST_ID` overrides it: two runtimes on one machine with different ones treat each other as strangers.
    """
    return os.environ.get("FLOWCORE_HOST_ID") or namespace()
