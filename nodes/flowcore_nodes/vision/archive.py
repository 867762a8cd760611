"""A folder of pictures and clips that keeps itself within bounds: by age, and by size.

    FOLDER/CAMERA/2026-11-28/214503.120-enter.jpg, and .json beside it

Files appear whole (written under another name, then renamed). Only what has such a name is ever deleted.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

_NAME = re.compile(r"\d{6}\.\d{3}-[\w.-]*\.(jpg|png|webp|mp4|avi|webm|json)")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
PART = ".part"


def plain_name(text: str) -> str:
    """A text as a part of a file's name: letters, digits, `-`, `_` and `.`, and no hidden one."""
    return re.sub(r"[^\w.-]+", "-", text, flags=re.ASCII).strip(".-")[:80] or "camera"


class Archive:
    """The folder.

    Args:
        max_age_s: older files are deleted; None: none.
        max_bytes: of all together; the oldest are deleted; None: no limit.
    """

    def __init__(self, folder: Path, max_age_s: float | None, max_bytes: int | None) -> None:
        self.folder, self._max_age_s, self._max_bytes = folder, max_age_s, max_bytes

    def new(self, source: str, time_ns: int, what: str, ending: str) -> Path:
        """A path that is free, its folders made."""
        at = datetime.fromtimestamp(time_ns / 1e9, UTC)
        folder = self.folder / plain_name(source) / f"{at:%Y-%m-%d}"
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{at:%H%M%S}.{at.microsecond // 1000:03}-{plain_name(what)}"
        path, count = folder / f"{stem}.{ending}", 1
        while path.exists() or part_of(path).exists():
            count += 1
            path = folder / f"{stem}-{count}.{ending}"
        return path

    def write(self, path: Path, content: bytes) -> None:
        """Write a file whole, or not at all.

        Raises:
            OSError: the disk is full, for one; nothing is left behind then.
        """
        part = part_of(path)
        try:
            part.write_bytes(content)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def prune(self, now_s: float) -> int:
        """Delete what is too old or too much; returns how many files were."""
        files = sorted(self._files(), key=lambda one: (one[0], str(one[2])))
        total, deleted = sum(size for _, size, _ in files), 0
        for time_s, size, path in files:
            is_old = self._max_age_s is not None and now_s - time_s > self._max_age_s
            if not is_old and (self._max_bytes is None or total <= self._max_bytes):
                break
            path.unlink(missing_ok=True)
            total, deleted = total - size, deleted + 1
        for day in self.folder.glob("*/*"):
            if day.is_dir() and _DAY.fullmatch(day.name) and not any(day.iterdir()):
                day.rmdir()
        return deleted

    def forget_parts(self) -> None:
        """Delete what a process that was killed left unfinished."""
        for part in self.folder.glob(f"*/*/*{PART}.*"):
            part.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        for path in self.folder.glob("*/*/*"):
            if _NAME.fullmatch(path.name) and _DAY.fullmatch(path.parent.name):
                try:
                    found = path.stat()
                except FileNotFoundError:
                    continue
                yield found.st_mtime, found.st_size, path


def part_of(path: Path) -> Path:
    """The name of a file while it is written: it keeps its ending, by which OpenCV knows the format."""
    return path.with_name(f"{path.stem}{PART}{path.suffix}")
