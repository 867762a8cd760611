"""The data folder: locked by the one host that uses it, with a file that says how to reach that host.

`folder.json` says which format it has: one that a newer flowcore has written is refused.
`stopped.json` says how the last host ended in order: whoever asked it to stop cannot be told over a bus that ends too.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flowcore import __version__
from flowcore.runtime.results import HostError, HostLocked, NewerFolder, Undrained

FOLDER_FORMAT = 1
"""The version of what is in a data folder: another one only when an older flowcore would read it wrongly."""
_FORMAT_FILE = "folder.json"


class DataFolder:
    """The lock and `run.json` of a data folder. The lock ends with the process, however that ends."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._fd = folder, -1

    def lock(self) -> None:
        """Take the folder.

        Raises:
            HostLocked: another process has it.
            NewerFolder: a newer flowcore has written it; nothing in it was changed.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):  # not ours: whoever made it answers for it
            self._folder.chmod(0o700)  # it holds secrets, and the socket that gives out workers for scripts
        fd = os.open(self._folder / "host.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            said = os.read(fd, 32).decode(errors="replace").strip()
            os.close(fd)
            raise HostLocked(str(self._folder), int(said) if said.isdigit() else None) from None
        try:
            check_format(self._folder)
        except HostError:
            os.close(fd)
            raise
        (self._folder / "stopped.json").unlink(missing_ok=True)  # of an earlier process, which may have had our number
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._fd = fd
        self._write_format()

    def _write_format(self) -> None:
        said = {"format": FOLDER_FORMAT, "flowcore": __version__}
        file = self._folder / _FORMAT_FILE
        if not file.exists() or json.loads(file.read_text()) != said:
            new = file.with_name(f"{_FORMAT_FILE}.new")
            new.write_text(json.dumps(said) + "\n")
            new.replace(file)

    def unlock(self) -> None:
        """Let another host have it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def write_run_file(self, **values: Any) -> None:
        """Write `run.json`, which holds a password: only its owner may read it, from its first byte on."""
        new = self._folder / "run.json.new"
        new.unlink(missing_ok=True)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            json.dump({"pid": os.getpid(), "started_ns": time.time_ns(), **values}, file)
        new.replace(self._folder / "run.json")

    def write_stopped(self, undrained: Sequence[Undrained]) -> None:
        """Say that this process ended in order, and what was not drained."""
        left = [asdict(wire) for wire in undrained]
        new = self._folder / "stopped.json.new"
        new.write_text(json.dumps({"pid": os.getpid(), "undrained": left}))
        new.replace(self._folder / "stopped.json")

    def remove_run_file(self) -> None:
        """The host is not to be reached any more."""
        (self._folder / "run.json").unlink(missing_ok=True)


def check_format(folder: Path) -> None:
    """Refuse a data folder that a newer flowcore has written: what is in it may not mean what it seems to.

    Raises:
        NewerFolder: it is of a format that is not known here.
        HostError: what it says of its format cannot be read.
    """
    file = folder / _FORMAT_FILE
    try:
        said = json.loads(file.read_text())
        format_, writer = said["format"], str(said.get("flowcore", ""))
        if not isinstance(format_, int):
            raise TypeError(f"format is {format_!r}")
    except FileNotFoundError:
        return  # new, or from before folders said it
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise HostError(
            f"{file} does not say which format the folder has ({e}); choose another --data folder"
        ) from None
    if format_ > FOLDER_FORMAT:
        raise NewerFolder(str(folder), format_, FOLDER_FORMAT, writer)


def read_stopped(folder: Path, pid: int) -> list[Undrained] | None:
    """What the host with this process id had not drained when it ended; None when it did not end in order."""
    try:
        said = json.loads((folder / "stopped.json").read_text())
        return [Undrained(**wire) for wire in said["undrained"]] if said["pid"] == pid else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
