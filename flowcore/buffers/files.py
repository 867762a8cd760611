"""The file behind a pool: a memfd, or a named file in /dev/shm where others cannot open a memfd of ours.

A memfd is freed by the kernel with its last descriptor and mapping: nothing is left behind by a crash. Named files
(`FLOWCORE_SHM=named`, see `probe.py`) are: `sweep.py` takes away those of processes that are gone.
"""

import errno
import fcntl
import os
import stat
from pathlib import Path

from flowcore.buffers.place import Place, namespace, own, start_of

SHM = Path("/dev/shm")
MEMFD = "flowcore-pool"
_MFD_NOEXEC_SEAL = 0x8  # implies ALLOW_SEALING; Linux 6.3
_F_SEAL_FUTURE_WRITE = 0x10
_SEALS = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | _F_SEAL_FUTURE_WRITE | fcntl.F_SEAL_SEAL
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a forged handle may name a FIFO


def are_named() -> bool:
    """Whether pools are named files here."""
    return os.environ.get("FLOWCORE_SHM") == "named"


def create(pool: int, size: int) -> int:
    """A descriptor of a new file of `size` bytes."""
    fd = _named(pool) if are_named() else _memfd()
    try:
        if are_named():
            _reserve(fd, size)
        else:
            os.ftruncate(fd, size)
    except BaseException:
        os.close(fd)
        remove(pool)
        raise
    return fd


def _named(pool: int) -> int:
    return os.open(_path(pool), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _reserve(fd: int, size: int) -> None:
    """Take the memory now: where /dev/shm is full that is an error, and not a SIGBUS at the first write."""
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as e:
        if e.errno != errno.ENOSPC:
            raise
        text = f"{SHM} has no room for {size:,} bytes more; make it larger (flowcore doctor says how)"
        raise OSError(errno.ENOSPC, text) from None


def _memfd() -> int:
    try:
        return os.memfd_create(MEMFD, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | _MFD_NOEXEC_SEAL)
    except OSError:  # older than Linux 6.3
        return os.memfd_create(MEMFD, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def seal(fd: int) -> None:
    """Nobody may change its size, or write to it but through mappings made before."""
    if not are_named():
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)


def open_foreign(pool: int, place: Place) -> int:
    """A descriptor of our own for another process's pool.

    Raises:
        FileNotFoundError, ProcessLookupError: it is gone, or the descriptor is something else by now.
        OSError: it cannot be opened.
    """
    if start_of(place.pid) != place.start:
        raise ProcessLookupError(f"process {place.pid} has ended")
    if are_named():
        path = str(_foreign_path(pool))
    else:
        path = place.path
        if not str(Path(path).readlink()).startswith(f"/memfd:{MEMFD}"):
            raise FileNotFoundError("a descriptor that is no pool")
    fd = os.open(path, _OPEN)
    try:
        # Between the look and the opening the number may have become another file.
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise FileNotFoundError("a descriptor that is no pool")
        if not are_named() and fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK == 0:
            raise FileNotFoundError("a pool that could be cut short under its readers")
    except BaseException:
        os.close(fd)
        raise
    return fd


def remove(pool: int) -> None:
    """Take the name of an own pool away; who has it open keeps it."""
    if are_named():
        _path(pool).unlink(missing_ok=True)


def _path(pool: int) -> Path:
    pid, start = own()
    return SHM / f"flowcore-{namespace()}-{pid}-{start}-{pool:016x}"


def _foreign_path(pool: int) -> Path:
    # Who passed a handle on need not be the owner whose name the file bears.
    found = next(SHM.glob(f"flowcore-{namespace()}-*-*-{pool:016x}"), None)
    if found is None:
        raise FileNotFoundError(f"no pool {pool:016x} in {SHM}")
    return found
