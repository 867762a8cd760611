"""Named files that processes left behind when they ended: where pools are memfds there is nothing to sweep."""

import fcntl
import os

from flowcore.buffers.files import SHM
from flowcore.buffers.ledger import MAX_SLOTS, lock
from flowcore.buffers.place import namespace, start_of


def sweep() -> int:
    """Remove the named files of processes that have ended, but those that a reader has a slot of; how many.

    Until the last reader has let go, who passes on a slot of a dead process needs the name for the next one to open.
    """
    removed = 0
    for path in SHM.glob(f"flowcore-{namespace()}-*-*-*"):
        try:
            _, _, pid, start, _ = path.name.split("-")
            if start_of(int(pid)) == int(start):
                continue
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (ValueError, OSError):
            continue
        try:
            if lock(fd, fcntl.F_WRLCK, 0, MAX_SLOTS):
                path.unlink(missing_ok=True)
                removed += 1
        finally:
            os.close(fd)
    return removed
