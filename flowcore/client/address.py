"""Where a runtime is reached: its data folder's `run.json`, or a URL with a user and a password.

    NotRunning   the data folder has no runtime, or one that has died

Reads `run.json`; the host writes it (mode 0600) when its bus is ready and takes it away when it ends.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from flowcore.bus import tls

DEFAULT_FOLDER = ".flowcore"


class NotRunning(ConnectionError):
    """No runtime to talk to, and why."""


@dataclass(frozen=True)
class Target:
    """A bus and who we are on it."""

    url: str  # without user and password
    user: str | None
    password: str | None
    folder: Path | None = None
    trust: str = tls.SYSTEM  # whose certificate: `flowcore.bus.tls`


def read_run_file(folder: Path) -> dict[str, Any]:
    """What the runtime on `folder` says of itself: pid, url, ports, the user for commands.

    Raises:
        NotRunning: there is none, or its process has gone.
        PermissionError: another user of this machine started it.
    """
    path = folder / "run.json"
    try:
        run = json.loads(path.read_text())
    except FileNotFoundError:
        raise NotRunning(f"no runtime runs on {folder.resolve()}") from None
    except ValueError:
        raise NotRunning(f"{path} is damaged: no runtime can be found by it") from None
    pid = run.get("pid")
    if isinstance(pid, int) and not _lives(pid):
        raise NotRunning(f"the runtime on {folder.resolve()} has died (process {pid})")
    return run


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def find(
    target: str | os.PathLike[str] | None,
    user: str | None = None,
    password: str | None = None,
    ca: str | os.PathLike[str] | None = None,
) -> Target:
    """The bus that `target` names: a URL, a data folder, or None for `.flowcore` here.

    Raises:
        NotRunning: a folder on which nothing runs.
    """
    text = os.fspath(target) if target is not None else DEFAULT_FOLDER
    if "://" not in text:
        run = read_run_file(Path(text))
        trust = run.get("trust", tls.SYSTEM) if ca is None else os.fspath(ca)
        return Target(run["url"], user or run.get("user"), password or run.get("password"), Path(text), trust)
    parts = urlsplit(text)
    host = parts.netloc.rpartition("@")[2]
    return Target(
        f"{parts.scheme}://{host}",
        user or (unquote(parts.username) if parts.username else None),
        password or (unquote(parts.password) if parts.password else None),
        trust=tls.SYSTEM if ca is None else os.fspath(ca),
    )
