"""Secrets by name, encrypted at rest.

`secrets.json` holds each value sealed with AES-256-GCM, the name bound into the seal, so that values cannot be swapped;
`secrets.key` holds the key. Both have mode 0600 and are replaced in one step. Whoever has both files has the secrets:
the encryption is for backups, screenshots and repositories that catch one of them.

    SecretError
    ├── UnknownSecret   no secret of that name
    ├── KeyLost         there are secrets, and no key that opens them
    └── Tampered        a value or the file was changed by somebody else
"""

import base64
import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from flowcore.bus.config import write_private

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,127}")
_NONCE_BYTES = 12
_KEY_BYTES = 32


class SecretError(Exception):
    """Something about secrets that the user has to know."""


class UnknownSecret(SecretError, LookupError):
    """There is no secret of that name."""


class KeyLost(SecretError):
    """The key file is missing, damaged, or another's."""


class Tampered(SecretError):
    """What is stored is not what was written."""


class SecretStore:
    """The secrets of one data folder. Several processes may use it: each change holds a lock on the folder's file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "secrets.json"
        self._key_path = folder / "secrets.key"
        self._lock_path = folder / "secrets.lock"

    def names(self) -> list[str]:
        """The names of all secrets; needs no key."""
        return sorted(self._read())

    def set(self, name: str, value: str) -> None:
        """Store a secret, or change it.

        Raises:
            ValueError: the name cannot be used.
            KeyLost: there are secrets whose key is gone; a new key would hide that they are lost.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"secret name {name!r}: begin with a letter, then letters, digits and _ . -")
        with self._changing():
            sealed = self._read()
            key = self._key(make=not sealed)
            self._open_any(key, sealed)
            nonce = os.urandom(_NONCE_BYTES)
            box = nonce + AESGCM(key).encrypt(nonce, value.encode(), name.encode())
            sealed[name] = base64.b64encode(box).decode()
            self._write(sealed)

    def get(self, name: str) -> str:
        """The value of a secret.

        Raises:
            UnknownSecret, KeyLost, Tampered
        """
        sealed = self._read()
        if name not in sealed:
            raise UnknownSecret(f"no secret {name!r}: flowcore secret set {name} (there are: {_list(sealed)})")
        return self._open(self._key(make=False), name, sealed[name])

    def remove(self, name: str) -> None:
        """Forget a secret; needs no key.

        Raises:
            UnknownSecret
        """
        with self._changing():
            sealed = self._read()
            if sealed.pop(name, None) is None:
                raise UnknownSecret(f"no secret {name!r} (there are: {_list(sealed)})")
            self._write(sealed)

    def _open(self, key: bytes, name: str, text: str) -> str:
        try:
            box = base64.b64decode(text, validate=True)
            return AESGCM(key).decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], name.encode()).decode()
        except (InvalidTag, ValueError):
            raise Tampered(
                f"secret {name!r} cannot be opened: {self._path.name} was changed, or {self._key_path.name} is "
                f"another's; put the right files back, or remove the secret and set it again"
            ) from None

    def _open_any(self, key: bytes, sealed: dict[str, str]) -> None:
        """Refuse to add to a file that another key sealed: half of it could never be read."""
        faults = []
        for name, text in sealed.items():
            try:
                self._open(key, name, text)
                return
            except Tampered as e:
                faults.append(e)
        if faults:
            raise KeyLost(f"{self._key_path} opens none of the secrets that are there: put the right key file back")

    def _key(self, make: bool) -> bytes:
        try:
            key = self._key_path.read_bytes()
        except FileNotFoundError:
            if not make:
                raise KeyLost(
                    f"{self._key_path} is missing, and without it {self._path.name} cannot be read: put it back from "
                    f"a backup, or remove {self._path.name} and set the secrets again"
                ) from None
            key = os.urandom(_KEY_BYTES)
            self._key_path.parent.mkdir(parents=True, exist_ok=True)
            write_private(self._key_path, base64.b64encode(key).decode(), durable=True)
            return key
        try:
            key = base64.b64decode(key, validate=True)
        except ValueError:
            key = b""
        if len(key) != _KEY_BYTES:
            raise KeyLost(f"{self._key_path} is damaged: put it back from a backup")
        return key

    def _read(self) -> dict[str, str]:
        try:
            stored = json.loads(self._path.read_text())
            sealed = stored["secrets"]
            if not all(isinstance(one, str) for one in sealed.values()):
                raise TypeError("a value is no text")
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError, AttributeError) as e:
            raise Tampered(f"{self._path} is damaged ({e}): put it back from a backup, or remove it") from None
        return dict(sealed)

    def _write(self, sealed: dict[str, str]) -> None:
        text = json.dumps({"version": 1, "secrets": dict(sorted(sealed.items()))}, indent=2) + "\n"
        write_private(self._path, text, durable=True)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        self._lock_path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _list(names: dict[str, str]) -> str:
    return ", ".join(sorted(names)) or "none"
