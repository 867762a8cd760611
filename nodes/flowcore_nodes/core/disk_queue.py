"""A queue on the disk, in lanes: what `core/buffer` keeps. An SQLite file, so that a kill or a power cut tears nothing.

A row is a *bundle*: messages of one lane that came together, packed, compressed where that makes them smaller, under a
CRC-32. `put` returns when they are fsynced.

    Damaged      bytes that are not what was written
    Unreadable   they are well, and need a library that is not there

Not for an event loop: every call may wait for the disk. One process has the file at a time; calls come from any thread.
"""

import contextlib
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

RAW, ZSTD = 0, 1
_LEAST_BYTES = 128  # less than that zstd makes no smaller
_SCHEMA = """
CREATE TABLE IF NOT EXISTS bundle (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  lane INTEGER NOT NULL, at_s REAL NOT NULL, messages INTEGER NOT NULL, crc INTEGER NOT NULL, form INTEGER NOT NULL,
  body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS bundle_by_lane ON bundle (lane, id);
"""


class Damaged(ValueError):
    """A bundle, or the whole file, is not what was written."""


class Unreadable(Exception):
    """Bundles are compressed, and what undoes that is not installed. Nothing was changed."""


class Bundle(NamedTuple):
    """A row without its bytes."""

    id: int
    lane: int
    messages: int
    size_bytes: int


class DiskQueue:
    """See the module.

    Args:
        path: of the file, made when it is not there.
        zstd: the module that compresses and undoes it; None: it is not installed.
        shrinks: new bundles are compressed, where there is `zstd`.
    Attributes:
        set_aside: where a file went that was no queue any more; None: it was one.
    Raises:
        sqlite3.Error, OSError: the file cannot be had.
        Unreadable
    """

    def __init__(self, path: Path, zstd: Any = None, *, shrinks: bool = True) -> None:
        self.path, self.set_aside = path, None
        self._zstd, self._shrinks = zstd, shrinks and zstd is not None
        self._lock = threading.Lock()
        try:
            self._file = self._open()
        except sqlite3.OperationalError:  # locked, no right, no room: it may be well
            raise
        except sqlite3.DatabaseError:
            self.set_aside = path.with_name(f"{path.name}.broken-{time.time_ns()}")
            path.rename(self.set_aside)
            for beside in ("-wal", "-shm"):
                path.with_name(path.name + beside).unlink(missing_ok=True)
            self._file = self._open()
        if zstd is None and self._file.execute("SELECT 1 FROM bundle WHERE form = ? LIMIT 1", (ZSTD,)).fetchone():
            self._file.close()
            raise Unreadable("it holds messages that zstd has compressed: pip install 'flowcore[zstd]'")

    def _open(self) -> sqlite3.Connection:
        file = sqlite3.connect(self.path, timeout=5.0, isolation_level=None, check_same_thread=False)
        try:
            file.execute("PRAGMA auto_vacuum = INCREMENTAL")
            file.execute("PRAGMA locking_mode = EXCLUSIVE")
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = FULL")
            (verdict,) = file.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            file.executescript(_SCHEMA)
        except BaseException:
            file.close()
            raise
        return file

    def put(self, bundles: Iterable[tuple[int, float, int, bytes]]) -> list[Bundle]:
        """Store bundles (lane, seconds since 1970, messages, packed), all or none; returns them when they are fsynced.

        Raises:
            sqlite3.OperationalError: the disk is full, or the file cannot be written.
        """
        rows = [(lane, at_s, messages, *self._shrunk(packed)) for lane, at_s, messages, packed in bundles]
        stored = []
        with self._transaction():
            for lane, at_s, messages, form, body in rows:
                done = self._file.execute(
                    "INSERT INTO bundle (lane, at_s, messages, crc, form, body) VALUES (?, ?, ?, ?, ?, ?)",
                    (lane, at_s, messages, zlib.crc32(body), form, body),
                )
                stored.append(Bundle(done.lastrowid or 0, lane, messages, len(body)))
        return stored

    def _shrunk(self, packed: bytes) -> tuple[int, bytes]:
        if self._shrinks and len(packed) >= _LEAST_BYTES:
            small = self._zstd.compress(packed, 3)
            if len(small) < len(packed):
                return ZSTD, small
        return RAW, packed

    def bundles(self) -> list[Bundle]:
        """All of them, oldest first."""
        with self._lock:
            rows = self._file.execute("SELECT id, lane, messages, length(body) FROM bundle ORDER BY id")
            return [Bundle(*row) for row in rows]

    def read(self, id_: int) -> bytes:
        """What was packed.

        Raises:
            Damaged: its bytes have changed.
        """
        with self._lock:
            try:
                row = self._file.execute("SELECT crc, form, body FROM bundle WHERE id = ?", (id_,)).fetchone()
            except sqlite3.DatabaseError as e:
                raise Damaged(f"{self.path}: bundle {id_} can't be read: {e}") from None
        if row is None:
            raise Damaged(f"{self.path}: bundle {id_} is not there any more")
        crc, form, body = row
        if zlib.crc32(body) != crc:
            raise Damaged(f"{self.path}: bundle {id_} is damaged (its CRC-32 is wrong)")
        return body if form == RAW else self._zstd.decompress(body)

    def older_than(self, at_s: float) -> set[int]:
        """Ids of bundles that were stored before."""
        with self._lock:
            return {id_ for (id_,) in self._file.execute("SELECT id FROM bundle WHERE at_s < ?", (at_s,))}

    def oldest_s(self) -> float | None:
        """When the oldest was stored."""
        with self._lock:
            return self._file.execute("SELECT min(at_s) FROM bundle").fetchone()[0]

    def remove(self, ids: Sequence[int]) -> None:
        """Forget bundles; the file gives their room back."""
        with self._transaction():
            self._file.executemany("DELETE FROM bundle WHERE id = ?", [(id_,) for id_ in ids])
        with self._lock:
            self._file.execute("PRAGMA incremental_vacuum(256)").fetchall()

    @contextlib.contextmanager
    def _transaction(self):
        with self._lock:
            self._file.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._file.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # a full disk has rolled back by itself
                    self._file.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._file.close()
