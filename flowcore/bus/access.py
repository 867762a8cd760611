"""Users for programs and devices outside: who they are, and what they may hear and say.

Kept in `access.json` of the data folder (mode 0600) with a bcrypt hash of the password, which is all that the server
needs; the password itself is shown once. It has 192 random bits, so that a low bcrypt cost is enough: a high one would
only make each connection slow.

An outsider's replies come on `_INBOX.<name>.>`: a client has to set `_INBOX.<name>` as its inbox prefix to use
requests, because under the common `_INBOX.>` one outsider could read another's replies. Nodes may answer below
`_INBOX.` only; an outsider may also listen on `_INBOX_<name>.>`, where the host's services answer, and no node.

Who may hear a port may also ask for the bytes of the tensors that it sends (`permissions.fetch_rights`).

    UnknownUser   no outsider of that name
    BadAccess     a name or a subject that cannot be used, with the reason
"""

import json
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import bcrypt

from flowcore.bus.config import write_private
from flowcore.bus.permissions import BusUser, check_subject, fetch_rights, new_password, outsider_inbox

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # no dot: nodes' users have one
_RESERVED = re.compile(r"flowcore.*|host|cli")
_COST = 5  # 2 ms
_VERSION = 1


class UnknownUser(LookupError):
    """There is no outsider of that name."""


class BadAccess(ValueError):
    """The name or a subject cannot be used."""


@dataclass(frozen=True)
class Access:
    """One outsider. `subscribe` and `publish` are NATS subjects, also for a device that speaks MQTT."""

    name: str
    subscribe: tuple[str, ...]
    publish: tuple[str, ...]
    mqtt: bool
    added_s: float
    password_hash: str
    host: bool = False  # a member host: it may do everything, as the main host may

    @property
    def inbox(self) -> str:
        """What its client sets as inbox prefix."""
        return outsider_inbox(self.name)

    def user(self) -> BusUser:
        """The user that nats-server is told of."""
        if self.host:
            return BusUser(self.name, self.password_hash, full=True, inbox=self.inbox, kinds=("STANDARD",))
        hears = tuple(more for subject in self.subscribe for more in _as_heard(subject, self.mqtt))
        says = self.publish
        if not self.mqtt:
            hears += (f"{self.inbox}.>", f"_INBOX_{self.name}.>")
            says += tuple(right for right in fetch_rights(self.subscribe) if right not in says)
        kinds = ("MQTT",) if self.mqtt else ("STANDARD", "WEBSOCKET", "LEAFNODE")
        return BusUser(self.name, self.password_hash, says, hears, inbox=self.inbox, kinds=kinds)


class AccessStore:
    """The outsiders of one data folder. Changes are on disk when a method returns; tell the server with `users()`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "access.json"

    def add(
        self,
        name: str,
        subscribe: Iterable[str] = (),
        publish: Iterable[str] = (),
        mqtt: bool = False,
        host: bool = False,
    ) -> str:
        """Add an outsider, or give one new rights and a new password.

        Args:
            subscribe, publish: subjects with wildcards; for a device MQTT topics too (`sensors/+/env`).
            host: it is a host that joins the bus, with all rights.
        Returns:
            The password, which is not kept.
        Raises:
            BadAccess
        """
        if not _NAME.fullmatch(name):
            raise BadAccess(f"user name {name!r}: use letters, digits, _ and -, 64 at most")
        if _RESERVED.fullmatch(name):
            raise BadAccess(f"user name {name!r} is flowcore's own: take another")
        hears, says = (tuple(_checked(one, mqtt) for one in subjects) for subjects in (subscribe, publish))
        if not hears and not says and not host:
            raise BadAccess(f"user {name!r} could do nothing: say what it may --subscribe or --publish")
        password = new_password()
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(_COST)).decode()
        everyone = {one.name: one for one in self.list()}
        everyone[name] = Access(name, hears, says, mqtt, time.time(), hashed, host)
        self._write(everyone.values())
        return password

    def list(self) -> list[Access]:
        """All outsiders, by name.

        Raises:
            BadAccess: the file is damaged.
        """
        try:
            stored = json.loads(self._path.read_text())
            found = [
                Access(**one | {"subscribe": tuple(one["subscribe"]), "publish": tuple(one["publish"])})
                for one in stored["users"]
            ]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError) as e:
            raise BadAccess(f"{self._path} is damaged ({e}): repair it, or remove it and add the users again") from None
        return sorted(found, key=lambda one: one.name)

    def remove(self, name: str) -> None:
        """Take an outsider's access away.

        Raises:
            UnknownUser
        """
        everyone = {one.name: one for one in self.list()}
        if everyone.pop(name, None) is None:
            raise UnknownUser(f"no user {name!r} (there are: {', '.join(everyone) or 'none'})")
        self._write(everyone.values())

    def users(self) -> tuple[BusUser, ...]:
        """The outsiders as users of the bus."""
        return tuple(one.user() for one in self.list())

    def _write(self, everyone: Iterable[Access]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        users = [asdict(one) for one in sorted(everyone, key=lambda one: one.name)]
        write_private(self._path, json.dumps({"version": _VERSION, "users": users}, indent=2) + "\n")


def subject_of_topic(topic: str) -> str:
    """The NATS subject of an MQTT topic filter, as nats-server maps it: `a/+/b/#` is `a.*.b.>`.

    Raises:
        BadAccess: the server has no subject for it.
    """
    if "." in topic or " " in topic or topic.startswith("/") or topic.endswith("/") or "//" in topic:
        raise BadAccess(f"topic {topic!r}: dots, blanks and empty levels are not supported by the bus")
    return topic.replace("/", ".").replace("+", "*").replace("#", ">")


def _checked(text: str, mqtt: bool) -> str:
    is_topic = mqtt and any(c in text for c in "/+#")
    try:
        return check_subject(subject_of_topic(text) if is_topic else text)
    except BadAccess:
        raise
    except ValueError as e:
        raise BadAccess(str(e)) from None


def _as_heard(subject: str, mqtt: bool) -> tuple[str, ...]:
    """An MQTT subscription to `a/#` takes in `a` itself: the server asks for both rights."""
    if mqtt and subject.endswith(".>"):
        return subject, subject.removesuffix(".>")
    return (subject,)
