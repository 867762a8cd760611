"""Incarnations: one rising number for every node process this host ever starts.

They order the epochs of the wires, so one must never be given twice: blocks of a thousand are reserved in the data
folder, and fsynced, before the first of them is used. After a crash the rest of a block is skipped.
"""

import os
from pathlib import Path

BLOCK = 1000


class Incarnations:
    """The counter in `folder`/incarnation."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "incarnation"
        self._next = self._reserved = int(self._file.read_text()) if self._file.exists() else 1

    def next(self) -> int:
        """A number above all that were given before, by this host process or an earlier one."""
        if self._next >= self._reserved:
            self._reserve(self._next + BLOCK)
        self._next += 1
        return self._next - 1

    def _reserve(self, end: int) -> None:
        new = self._file.with_suffix(".new")
        with new.open("w") as file:
            file.write(str(end))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._reserved = end
