"""A file that is written at its end, set aside at a size or a time: what it is called then, and how long it is kept.

`app.log` becomes `app.log-20260131-235959`, by when it was last written to; a `core/tail` follows it. Only files with
such a name are ever deleted.
"""

import re
import time
from pathlib import Path
from typing import Literal

from flowcore.node import NodeConfig, field

_PERIODS = {"hour": "%Y%m%d%H", "day": "%Y%m%d", "week": "%G%V", "month": "%Y%m"}


class Rotate(NodeConfig):
    """When a file is set aside and a new one begun, and how long the old ones are kept."""

    max_bytes: int = field(0, ge=0, description="Before it would be larger than this, in bytes; 0: at any size")
    every: Literal["never", "hour", "day", "week", "month"] = field(
        "never", description="With the first message of a new hour, day, week (from Monday) or month, local time"
    )
    keep: int = field(0, ge=0, le=100_000, description="So many old files are kept, the oldest go; 0: all")
    keep_days: float = field(0.0, ge=0, description="Old files are kept for so many days; 0: for ever")

    @property
    def is_wanted(self) -> bool:
        """False: nothing is ever set aside."""
        return self.max_bytes > 0 or self.every != "never"

    def is_due(self, path: Path, more_bytes: int, now_s: float) -> bool:
        """Whether a file is to be set aside before so much is added. Raises OSError."""
        try:
            about = path.stat()
        except FileNotFoundError:
            return False
        if about.st_size == 0:
            return False
        if self.max_bytes and about.st_size + more_bytes > self.max_bytes:
            return True
        form = _PERIODS.get(self.every)
        return form is not None and _at(about.st_mtime, form) != _at(now_s, form)

    def fits(self, path: Path, contents: list[bytes]) -> int:
        """How many of them go into the file as it is, in one go; at least one."""
        if not self.max_bytes:
            return len(contents)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            size = 0
        for k, content in enumerate(contents):
            size += len(content)
            if size > self.max_bytes:
                return max(1, k)
        return len(contents)

    def set_aside(self, path: Path, now_s: float) -> None:
        """Give the file its other name, and delete those that are too many or too old. Raises OSError."""
        stem = f"{path.name}-{_at(path.stat().st_mtime, '%Y%m%d-%H%M%S')}"
        taken = [_number(other, stem) for other in path.parent.iterdir()]
        number = max((one for one in taken if one is not None), default=-1) + 1
        path.rename(path.with_name(f"{stem}.{number}" if number else stem))
        old = re.compile(re.escape(path.name) + r"-(\d{8}-\d{6})(?:\.(\d+))?")
        found = [
            (named[1], int(named[2] or 0), other)
            for other in path.parent.iterdir()
            if (named := old.fullmatch(other.name)) and other.is_file()
        ]
        found.sort(reverse=True)
        for place, (_, _, other) in enumerate(found):
            is_old = self.keep_days and now_s - other.stat().st_mtime > self.keep_days * 86400
            if (self.keep and place >= self.keep) or is_old:
                other.unlink(missing_ok=True)


def _at(seconds: float, form: str) -> str:
    return time.strftime(form, time.localtime(seconds))


def _number(path: Path, stem: str) -> int | None:
    """Of `stem`: 0; of `stem.3`: 3; of any other: none."""
    if path.name == stem:
        return 0
    begin, _, end = path.name.rpartition(".")
    return int(end) if begin == stem and end.isdigit() else None
