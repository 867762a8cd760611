"""The host's log: JSON lines in a rotated file, and the same as plain text on a terminal.

Everything goes through the logger `flowcore`: an event as the message, its fields in `extra={"fields": {...}}`. What
nodes print and log comes with the fields flow, node, process and stream.
"""

import json
import logging
import logging.handlers
import sys
import time
from pathlib import Path
from typing import Any

MAX_BYTES = 10 * 1024 * 1024
KEPT_FILES = 5

logger = logging.getLogger("flowcore")


class JsonLines(logging.Formatter):
    """One JSON object a line: ts, level, event, and the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "ts": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if record.name != "flowcore":
            entry["logger"] = record.name
        entry |= getattr(record, "fields", {})
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


class PlainText(logging.Formatter):
    """`12:30:01 warning factory.clean: crashed: the process was killed by SIGSEGV`, a traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, "fields", {}))
        flow, process = fields.pop("flow", ""), fields.pop("process", "") or fields.pop("node", "")
        where = f"{flow}.{process}: " if flow and process else f"{flow}: " if flow else ""
        detail = fields.pop("detail", "")
        traceback = fields.pop("traceback", "") or (self.formatException(record.exc_info) if record.exc_info else "")
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()} "
        text = f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {level}{where}{record.getMessage()}"
        if detail:
            text += f": {detail}"
        return f"{text}\n{traceback.rstrip()}" if traceback else text


class HostLog:
    """The handlers of one host, taken away again by `close`."""

    def __init__(self, folder: Path, terminal: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "flowcore.jsonl"
        to_file = logging.handlers.RotatingFileHandler(
            self.file, maxBytes=MAX_BYTES, backupCount=KEPT_FILES, encoding="utf-8", delay=True
        )
        to_file.setFormatter(JsonLines())
        self._handlers: list[logging.Handler] = [to_file]
        if terminal:
            to_terminal = logging.StreamHandler(sys.stderr)
            to_terminal.setFormatter(PlainText())
            self._handlers.append(to_terminal)
        for handler in self._handlers:
            logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        self._propagated, logger.propagate = logger.propagate, False

    def close(self) -> None:
        """Write nothing more."""
        for handler in self._handlers:
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = self._propagated


def event(name: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event with its fields; empty ones are left out."""
    if logger.isEnabledFor(level):
        logger.log(
            level, name, extra={"fields": {key: value for key, value in fields.items() if value not in ("", None)}}
        )
