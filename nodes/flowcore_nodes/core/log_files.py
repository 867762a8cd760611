"""Files that are written at their end, and renamed, compressed or cut meanwhile: which is which.

A file is known by its inode and by how it begins, since inodes are used again and a copy has another.
"""

import gzip
import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Literal

_HEAD = 1024  # bytes at the beginning that a file is known by
_PACKED = ".gz"


class LogFile:
    """An open file.

    Attributes:
        path: where it was opened.
        offset: of the next byte that is read.
        is_finished: nobody writes to it any more.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        """Raises OSError."""
        self.path, self.offset = path, offset
        self.is_finished = path.suffix == _PACKED
        if path.exists() and not path.is_file():  # a pipe would block
            raise OSError(21, "not a file")
        opens = gzip.open if self.is_finished else open
        self._opened: BinaryIO = opens(path, "rb")  # type: ignore[assignment]
        about = os.fstat(self._opened.fileno())
        self.device, self.inode, self.changed_ns = about.st_dev, about.st_ino, about.st_mtime_ns
        self._head = self._opened.read(_HEAD)
        self._opened.seek(offset)

    def read(self, size: int) -> bytes | None:
        """Up to `size` bytes, none at its end for now; None when it was written anew, and is another file by now."""
        block = self._opened.read(size)
        if block:
            head = self._read_head()
            if head[: len(self._head)] != self._head:
                return None
            self._head = head
        self.offset += len(block)
        return block

    def look(self, path: Path) -> Literal["same", "cut", "rotated"]:
        """What has become of it: still at `path`; cut short or written anew there; or no longer there."""
        if self.is_finished:
            return "rotated"
        here = os.fstat(self._opened.fileno())
        self.changed_ns = here.st_mtime_ns
        if here.st_size < self.offset or self._read_head()[: len(self._head)] != self._head:
            return "cut"
        try:
            there = os.stat(path)  # noqa: PTH116
        except OSError:
            return "same"  # not there yet: read on, whoever has it open may still write
        return "same" if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino) else "rotated"

    def restart(self) -> None:
        """Read it from its beginning."""
        self._opened.seek(0)
        self.offset, self._head = 0, self._read_head()

    def seek_end(self) -> None:
        """Go to behind its last whole line."""
        self.offset = self._opened.seek(0, os.SEEK_END)
        while self.offset:
            step = min(self.offset, _HEAD)
            self._opened.seek(self.offset - step)
            found = self._opened.read(step).rfind(b"\n")
            self.offset -= step - found - 1 if found >= 0 else step
            if found >= 0:
                break
        self._opened.seek(self.offset)

    def position(self, offset: int) -> list:
        """What finds this place again: device, inode, offset, length and hash of the beginning."""
        head = self._head[:offset]
        return [self.device, self.inode, offset, len(head), hashlib.sha256(head).hexdigest()[:32]]

    def begins_like(self, position: list) -> bool:
        """True when the beginning is the one that a position tells of."""
        head = self._head[: position[3]]
        return len(head) == position[3] and hashlib.sha256(head).hexdigest()[:32] == position[4]

    def reaches(self, offset: int) -> bool:
        """True when it has so many bytes; or one less, where the last line has no end."""
        if self.is_finished:
            return self._opened.seek(offset - 1) == offset - 1
        return os.fstat(self._opened.fileno()).st_size >= offset - 1

    def is_packed_copy_of(self, other: "LogFile") -> bool:
        """True when it is the other, compressed."""
        return self.is_finished and self._head == other._head

    def close(self) -> None:
        """Let go of it."""
        self._opened.close()

    def _read_head(self) -> bytes:
        if self.is_finished:
            return self._head
        return os.pread(self._opened.fileno(), _HEAD, 0)


def find_rest(path: Path, position: list) -> LogFile | None:
    """The file that a position is in, open there: at `path` or beside it under a longer name. None: it is gone."""
    device, inode, offset, *_ = position
    found = []
    for file in _opened([path, *_rotated(path)]):
        is_same = (file.device, file.inode) == (device, inode)
        if file.begins_like(position) and (is_same or position[3]) and file.reaches(offset):
            found.append((is_same, file.changed_ns, file))
        else:
            file.close()
    if not found:
        return None
    found.sort(key=lambda one: one[:2])
    *others, (_, _, best) = found
    for _, _, other in others:
        other.close()
    best.close()
    return LogFile(best.path, offset)


def newer_than(file: LogFile, path: Path) -> list[LogFile]:
    """What was written after a file that was rotated away: rotated files, oldest first, then the one at `path`."""
    after = []
    for other in _opened(_rotated(path)):
        is_same = (other.device, other.inode) == (file.device, file.inode)
        if is_same or other.is_packed_copy_of(file) or other.changed_ns <= file.changed_ns:
            other.close()
        else:
            after.append(other)
    after.sort(key=lambda one: one.changed_ns)
    return after + list(_opened([path]))


def _rotated(path: Path) -> list[Path]:
    """`app.log.1`, `app.log.2.gz`, `app.log-20260101` beside `app.log`."""
    try:
        return [one for one in path.parent.iterdir() if one.name.startswith(path.name) and one.name != path.name]
    except OSError:
        return []


def _opened(paths: list[Path]) -> list[LogFile]:
    files = []
    for one in paths:
        try:
            files.append(LogFile(one))
        except (OSError, EOFError):
            continue
    return files
