"""Who is let in: start tokens, sessions in a cookie, and the password for other machines.

Everything is derived from one random key in the data folder (`gateway.json`, mode 0600): a token says what it is for
and until when, and is signed with HMAC-SHA256. So `flowcore url` makes a fresh start URL without asking the gateway,
sessions survive its restart, and a new key ends them all.

    BadPassword   too short to be one

The password is kept as a scrypt hash with N=2^15, r=8, p=1 (RFC 7914), 32 MB a try. Tries are limited for each address
and in all, because the hash alone would let a fast line guess ten times a second.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from flowcore.bus.config import write_private

START_S = 900  # how long a start URL can be used
SESSION_S = 30 * 86_400
_SCRYPT = {"n": 1 << 15, "r": 8, "p": 1, "maxmem": 1 << 26}
_SHORTEST = 8
_TRIES, _TRIES_S = 5, 60.0  # wrong passwords of one address in a minute
_ALL_TRIES = 50  # and of all addresses
_MOST_ADDRESSES = 10_000


class BadPassword(ValueError):
    """It cannot be the password."""


class Sessions:
    """The key and the password of one data folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "gateway.json"
        self._stamp: tuple[int, ...] = ()
        self._kept: dict[str, Any] = {}

    def token(self, scope: str, lasts_s: float) -> str:
        """A signed token: `start` opens the editor, `session` is in the cookie, `metrics` is for a scraper."""
        body = f"{scope}.{int(time.time() + lasts_s)}.{secrets.token_urlsafe(12)}"
        return f"{body}.{self._sign(body)}"

    def scope(self, token: str) -> str:
        """What a token is good for now; "" when it is none of ours or has expired."""
        body, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(body).encode()):
            return ""
        scope, until, _ = body.split(".")
        return scope if time.time() < int(until) else ""

    @property
    def has_password(self) -> bool:
        """Whether somebody on another machine can come in."""
        return "password" in self._read()

    def set_password(self, password: str) -> None:
        """Set the password, and end every session that there is.

        Raises:
            BadPassword: it is shorter than 8 characters.
        """
        if len(password) < _SHORTEST:
            raise BadPassword(f"the password has {len(password)} characters; {_SHORTEST} are the least")
        salt = secrets.token_bytes(16)
        hashed = hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT)
        kept = {"key": _text(secrets.token_bytes(32)), "password": {"salt": _text(salt), "hash": _text(hashed)}}
        self._write(kept)

    def is_password(self, password: str) -> bool:
        """Whether this is the password; takes some 80 ms, so call it in a thread."""
        kept = self._read().get("password")
        if kept is None:
            return False
        hashed = hashlib.scrypt(password.encode(), salt=_bytes(kept["salt"]), **_SCRYPT)
        return hmac.compare_digest(hashed, _bytes(kept["hash"]))

    def _sign(self, body: str) -> str:
        kept = self._read()
        if "key" not in kept:
            kept = {**kept, "key": _text(secrets.token_bytes(32))}
            self._write(kept)
        return _text(hmac.digest(_bytes(kept["key"]), body.encode(), "sha256"))

    def _read(self) -> dict[str, Any]:
        """What is in the file now: `flowcore password` may have written it."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return {}
        stamp = (stat.st_ino, stat.st_mtime_ns)
        if stamp != self._stamp:
            self._kept, self._stamp = json.loads(self._path.read_text()), stamp
        return self._kept

    def _write(self, kept: dict[str, Any]) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._path, json.dumps({"version": 1, **kept}, indent=2) + "\n", durable=True)


class Tries:
    """Counts wrong passwords, so that nobody guesses for long."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()
        self._all: list[float] = []

    def wait_s(self, address: str) -> float:
        """How long this address has to wait before its next try; 0: it may try."""
        now_s = time.monotonic()
        mine = [at_s for at_s in self._wrong.get(address, ()) if now_s - at_s < _TRIES_S]
        self._all = [at_s for at_s in self._all if now_s - at_s < _TRIES_S]
        if len(mine) >= _TRIES:
            return _TRIES_S - (now_s - mine[-_TRIES])
        if len(self._all) >= _ALL_TRIES:
            return _TRIES_S - (now_s - self._all[-_ALL_TRIES])
        return 0.0

    def wrong(self, address: str) -> None:
        """This address gave a wrong password."""
        now_s = time.monotonic()
        self._wrong[address] = [*self._wrong.pop(address, ()), now_s][-_TRIES:]
        self._all.append(now_s)
        while len(self._wrong) > _MOST_ADDRESSES:
            self._wrong.popitem(last=False)

    def right(self, address: str) -> None:
        """This address is in."""
        self._wrong.pop(address, None)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
