"""The host's log files read back: newest entries, by time, flow, node and level, and what is added from now on.

Needs no running host: after a crash the log is still there. `flowcore.runtime.logs` writes what is read here.
"""

import json
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

NAME = "flowcore.jsonl"
LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True)
class LogFilter:
    """What is wanted. `since_s`: seconds since 1970; `level`: this or worse."""

    flow: str | None = None
    node: str | None = None
    level: str = "info"
    since_s: float = 0.0

    def takes(self, entry: dict[str, Any]) -> bool:
        """True when the entry is wanted."""
        if self.flow is not None and entry.get("flow") != self.flow:
            return False
        if self.node is not None and self.node not in (entry.get("node"), entry.get("process")):
            return False
        level = entry.get("level", "info")
        if level in LEVELS and LEVELS.index(level) < LEVELS.index(self.level):
            return False
        return not self.since_s or written_s(entry) >= self.since_s


def written_s(entry: dict[str, Any]) -> float:
    """When an entry was written, seconds since 1970; 0 when it does not say."""
    try:
        return datetime.fromisoformat(str(entry.get("ts", ""))).timestamp()
    except ValueError:
        return 0.0


def newest(folder: Path, wanted: LogFilter, limit: int) -> list[dict[str, Any]]:
    """The newest `limit` entries that are wanted, oldest first."""
    found: deque[dict[str, Any]] = deque(maxlen=limit)
    for file in _files(folder):
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            continue  # rotated away while we looked
        found.extend(entry for entry in map(_entry, lines) if entry is not None and wanted.takes(entry))
    return list(found)


def follow(folder: Path, wanted: LogFilter, every_s: float = 0.2) -> Iterator[dict[str, Any]]:
    """Entries written from now on, for ever; goes on in the next file when the log is rotated."""
    path = folder / NAME
    file, rest = None, b""
    if path.exists():
        file = path.open("rb")
        file.seek(0, 2)
    while True:
        data = file.read() if file is not None else b""
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            entry = _entry(line.decode(errors="replace"))
            if entry is not None and wanted.takes(entry):
                yield entry
        if data:
            continue
        time.sleep(every_s)
        if file is None or not path.exists() or path.stat().st_ino != _inode(file):
            if file is not None and (data := file.read()):  # written between our last read and the rotation
                rest += data
                continue
            if path.exists():
                if file is not None:
                    file.close()
                file, rest = path.open("rb"), b""


def _inode(file: Any) -> int:
    import os

    return os.fstat(file.fileno()).st_ino


def _files(folder: Path) -> list[Path]:
    """The log and its older parts, oldest first."""
    older = sorted(folder.glob(f"{NAME}.*"), key=lambda path: int(path.suffix[1:]) if path.suffix[1:].isdigit() else 0)
    return [*reversed(older), folder / NAME]


def _entry(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None  # a line that a crash cut short
    return value if isinstance(value, dict) else None


def text(entry: dict[str, Any]) -> str:
    """An entry for people, on one line; a traceback below it."""
    fields = dict(entry)
    at = datetime.fromtimestamp(written_s(fields)).strftime("%H:%M:%S") if written_s(fields) else "--:--:--"
    level, event = fields.pop("level", "info"), fields.pop("event", "")
    flow, node = fields.pop("flow", ""), fields.pop("process", "") or fields.pop("node", "")
    where = f"{flow}.{node}: " if flow and node else f"{flow}: " if flow else ""
    detail, trace = fields.pop("detail", ""), fields.pop("traceback", "")
    line = f"{at} {'' if level == 'info' else level + ' '}{where}{event}{': ' + str(detail) if detail else ''}"
    return f"{line}\n{str(trace).rstrip()}" if trace else line
