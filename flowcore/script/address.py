"""The path of a Unix socket, made short enough: the kernel takes 107 bytes, a data folder may be deeper."""

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def short_path(path: str) -> Iterator[str]:
    """`path`, or the same by way of an open descriptor of its folder; good inside the `with`."""
    if len(os.fsencode(path)) <= 100:
        yield path
        return
    folder, name = os.path.split(path)
    descriptor = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
