"""What this machine offers for shared memory, tried and not guessed; the host looks once, `flowcore doctor` shows it.

Pools are memfds where another process can open them through `/proc/<pid>/fd`; named files in /dev/shm where not
(a /proc that hides processes, a security module). There the size of /dev/shm is a limit, 64 MB in Docker.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from flowcore.buffers import files
from flowcore.buffers.ledger import Ledger
from flowcore.buffers.sweep import sweep

MB = 1 << 20
_WANTED = 256 * MB  # what one node may share
_CHILD = """
import fcntl, mmap, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
if mmap.mmap(fd, 4096, prot=mmap.PROT_READ)[:8] != b"FLOWPOOL": sys.exit("it reads as something else")
fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 1, 0))
"""


@dataclass(frozen=True, slots=True)
class Found:
    """How processes share memory here.

    Attributes:
        kind: "memfd", "named", or "none".
        why: what is in the way of the better kind; empty for "memfd".
        do: what to change, empty when nothing has to be.
        shm_bytes: size of /dev/shm; 0 where there is none.
    """

    kind: str
    why: str
    do: str
    shm_bytes: int


def probe() -> Found:
    """Try it between two processes; takes some 20 ms."""
    why = "FLOWCORE_SHM=named" if files.are_named() else _trouble_with_memfd()
    try:
        size = shutil.disk_usage(files.SHM).total
    except OSError:
        size = 0
    if not why:
        return Found("memfd", "", "", size)
    if not size or not os.access(files.SHM, os.W_OK):
        return Found("none", f"{why}; {files.SHM} cannot be written either", "mount -t tmpfs tmpfs /dev/shm", size)
    return Found("named", why, _more_shm() if size < _WANTED else "", size)


def prepare() -> Found:
    """For the start of a host: look, have the processes it starts use named files where they must, sweep old ones."""
    found = probe()
    if found.kind == "named":
        os.environ["FLOWCORE_SHM"] = "named"
        sweep()
    return found


def _trouble_with_memfd() -> str:
    """Why another process of this user cannot use a memfd of ours; empty when it can."""
    try:
        ledger = Ledger.create(1, 1, 4096)
    except OSError as e:
        return f"memfd_create: {e.strerror}"
    try:
        command = [sys.executable, "-I", "-S", "-c", _CHILD, ledger.place.path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as e:
        return f"another process could not be started: {e}"
    finally:
        ledger.close()
    if done.returncode == 0:
        return ""
    return f"/proc/<pid>/fd of another process: {done.stderr.strip().rpartition(chr(10))[2]}"


def _more_shm() -> str:
    """The exact line that gives /dev/shm a gigabyte, for where we run."""
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return "docker run --shm-size=1g, or in the compose file of the service: shm_size: 1gb"
    if "INVOCATION_ID" in os.environ:  # started by systemd
        return "In the unit file: TemporaryFileSystem=/dev/shm:size=1g, or for all: mount -o remount,size=1g /dev/shm"
    return "mount -o remount,size=1g /dev/shm"
