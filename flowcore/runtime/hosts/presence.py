"""The hosts that share a bus: each has its name alone, says what it has, and is heard of each second.

    presence = Presence(connection, "edge1", described, Heard(..))
    await presence.take_name()          # NameTaken: another host has it
    await presence.start()

A name is a key in the bucket `hosts`, written with compare-and-set by who finds it free: nobody answers for it. A host
that comes back and finds its name with another (it was away for so long that it was taken for dead) steps down.

    NameTaken   another host of that name runs on this bus
"""

import asyncio
import contextlib
import json
import os
import secrets
import socket
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowcore import __version__
from flowcore.bus import subjects
from flowcore.bus.bucket import Bucket, BucketError, Entry, WrongRevision
from flowcore.bus.connection import Connection, NoResponder
from flowcore.bus.ending import end
from flowcore.bus.services import is_inbox
from flowcore.bus.storage import HOSTS
from flowcore.flow.model import MAIN_HOST
from flowcore.flow.types import NodeTypeInfo
from flowcore.runtime.logs import event
from flowcore.runtime.results import HostError
from flowcore.runtime.typelist import type_info

BEAT_S = 1.0
AWAY_S = 5.0  # not heard of for so long: shown as away
GONE_S = 10.0  # and for so long: what it held may run elsewhere
_WHO_TIMEOUT_S = 2.0
_LOOK_S = 0.5
_CHECK_NAME_S = 10.0


class NameTaken(HostError):
    """Another host of that name runs on this bus."""

    def __init__(self, name: str, who: Mapping[str, Any]) -> None:
        what = "the main host" if name == MAIN_HOST else f"host {name!r}"
        runs = f"{what} of this bus runs on {who.get('machine')}, process {who.get('pid')}"
        do = "join it with --host NAME" if name == MAIN_HOST else "take another name, or stop that one"
        super().__init__(f"{runs}; {do}")
        self.name = name


@dataclass
class Seen:
    """Another host: what it says of itself, and when it was heard of last (monotonic seconds; 0: never)."""

    name: str
    instance: str = ""
    version: str = ""
    machine: str = ""
    pid: int = 0
    since_ns: int = 0
    types: dict[str, NodeTypeInfo] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    described: int = 0  # the revision of `types` and `secrets`
    heard_s: float = 0.0
    is_there: bool = False
    has_ended: bool = False  # it said so itself


@dataclass(frozen=True)
class Heard:
    """Who is told what: `types` of another host changed; a host `came` or `went`; the own name is `lost`, and why."""

    types: Callable[[set[str]], None]
    came: Callable[[str], None]
    went: Callable[[str], None]
    lost: Callable[[str], None]


class Presence:
    """See the module. `name` is "main" for the host without one."""

    def __init__(
        self,
        connection: Connection,
        name: str,
        described: Callable[[], tuple[Mapping[str, NodeTypeInfo], Iterable[str]]],
        heard: Heard,
    ) -> None:
        self.name, self.instance = name, secrets.token_hex(8)
        self.others: dict[str, Seen] = {}
        self._connection, self._describe, self._heard = connection, described, heard
        self._bucket = Bucket(connection, HOSTS)
        self._me = {
            "instance": self.instance,
            "version": __version__,
            "machine": socket.gethostname(),
            "pid": os.getpid(),
            "since_ns": time.time_ns(),
        }
        self._described = 0
        self._told: tuple[Mapping[str, NodeTypeInfo], list[str]] = ({}, [])
        self._began_s = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()

    # The name

    async def take_name(self) -> None:
        """Be the host of this name.

        Raises:
            NameTaken: another one is. BucketError, TimeoutError: the bus does not answer.
        """
        while True:
            there = await self._bucket.get(f"name.{self.name}")
            who = _read(there)
            if who and who.get("instance") == self.instance:
                return  # written before, and the answer was lost
            if who and await self._is_alive(who):
                await self._connection.unsubscribe(subjects.host(self.name, "who"))
                raise NameTaken(self.name, who)
            # Before the name is ours, so that who asks next has an answer; after our own question, so that the server
            # can say at once that nobody listens.
            await self._connection.subscribe(subjects.host(self.name, "who"), self._answer_who)
            with contextlib.suppress(WrongRevision):  # someone was quicker: ask that one
                await self._write_name(there)
                return

    async def _write_name(self, there: Entry | None) -> None:
        await self._bucket.put(f"name.{self.name}", json.dumps(self._me).encode(), there.revision if there else 0)

    async def _is_alive(self, who: Mapping[str, Any]) -> bool:
        question = str(who.get("instance")).encode()
        try:
            return await self._connection.request(subjects.host(self.name, "who"), question, _WHO_TIMEOUT_S) == b"here"
        except NoResponder:
            return False
        except TimeoutError:
            if not self._connection.is_up:
                raise
            return False  # its machine is gone, and the server has not noticed yet

    def _answer_who(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        """Someone asks whether the host of this instance lives."""
        if data == self.instance.encode() and is_inbox(reply):
            self._connection.publish(reply, b"here")

    async def _check_name(self) -> None:
        """Whether the name is still ours: after a long absence another host may have taken it."""
        there = await self._bucket.get(f"name.{self.name}")
        who = _read(there)
        if who is None:  # the store was lost, or rolled back
            with contextlib.suppress(WrongRevision):
                await self._write_name(there)
        elif who.get("instance") != self.instance:
            where = f"{who.get('machine')}, process {who.get('pid')}"
            self._heard.lost(f"while this host was away from the bus another took its name {self.name!r}: {where}")

    # Life

    async def start(self) -> None:
        """Say what is here, read what the others said, and be heard of from now on."""
        await self.describe()
        for key in await self._bucket.keys():
            kind, _, name = key.partition(".")
            if kind == "about" and name != self.name:
                await self._read_about(name)
        await self._connection.subscribe(subjects.host("*", "beat"), self._on_beat)
        self._spawn(self._beat())
        self._spawn(self._watch())

    async def stop(self) -> None:
        """Say that this host ends, and give its name back."""
        await self.be_silent()
        with contextlib.suppress(TimeoutError, BucketError):
            if self._connection.is_up and _is_mine(await self._bucket.get(f"name.{self.name}"), self.instance):
                await self._bucket.delete(f"name.{self.name}")
        self._publish({"instance": self.instance, "ends": True})
        await self._connection.unsubscribe(subjects.host("*", "beat"))
        await self._connection.unsubscribe(subjects.host(self.name, "who"))

    async def be_silent(self) -> None:
        """Be heard of no more."""
        await end(self._tasks)

    async def describe(self) -> None:
        """Store the node types and the names of the secrets of a member; the main host has nobody to tell.

        Raises:
            BucketError, TimeoutError
        """
        types, names = self._describe()
        told = (types, sorted(names))
        if self.name == MAIN_HOST or told == self._told:
            return
        about = {"types": [info.as_data() for _, info in sorted(types.items())], "secrets": told[1]}
        value = zlib.compress(json.dumps({**self._me, **about}).encode())
        self._described = await self._bucket.put(f"about.{self.name}", value)
        self._told = told

    def describe_soon(self) -> None:
        """The node types changed."""
        self._spawn(self._quietly(self.describe()))

    def recheck(self) -> None:
        """The bus is back."""
        self._spawn(self._quietly(self._check_name()))

    # Looking

    def is_there(self, name: str) -> bool:
        """Whether a host was heard of in the last seconds."""
        return name == self.name or (name in self.others and self.others[name].is_there)

    def is_gone(self, name: str) -> bool:
        """Whether a host was not heard of for so long that what it held may run elsewhere."""
        seen = self.others.get(name)
        if name == self.name or (seen is not None and seen.is_there):
            return False
        heard_s = max(seen.heard_s if seen else 0.0, self._began_s)
        return (seen is not None and seen.has_ended) or time.monotonic() - heard_s > GONE_S

    # Inside

    def _on_beat(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        name = subject.split(".")[2]
        if name == self.name or reply or headers:
            return
        with contextlib.suppress(ValueError, AttributeError, TypeError):
            said = json.loads(data)
            seen = self.others.setdefault(name, Seen(name))
            if said.get("ends"):
                if seen.instance == said["instance"]:
                    self._went(seen)
                    seen.has_ended = True
                return
            seen.heard_s, seen.has_ended = time.monotonic(), False
            if seen.instance != said["instance"] or seen.described != said["described"]:
                self._spawn(self._quietly(self._read_about(name, said)))
            elif not seen.is_there:
                seen.is_there = True
                self._heard.came(name)

    async def _read_about(self, name: str, said: Mapping[str, Any] | None = None) -> None:
        """Read what a host wrote of itself; `said`: it was heard of, so it is there."""
        entry = await self._bucket.get(f"about.{name}")
        about = _read_packed(entry)
        seen = self.others.setdefault(name, Seen(name))
        before = seen.types
        if about is not None and entry is not None:
            seen.types = {one["type"]: type_info(one) for one in about["types"]}
            seen.secrets = tuple(about["secrets"])
            for key in ("version", "machine", "pid", "since_ns"):
                setattr(seen, key, about[key])
            seen.instance, seen.described = about["instance"], entry.revision
        if said is not None:
            for key in ("version", "machine", "pid", "since_ns"):
                setattr(seen, key, said.get(key, getattr(seen, key)))
            seen.instance, seen.described = said["instance"], said["described"]
            if not seen.is_there:
                seen.is_there = True
                self._heard.came(name)
        changed = {one for one in before.keys() | seen.types.keys() if before.get(one) != seen.types.get(one)}
        if changed:
            self._heard.types(changed)

    def _went(self, seen: Seen) -> None:
        if seen.is_there:
            seen.is_there = False
            self._heard.went(seen.name)

    async def _beat(self) -> None:
        while True:
            self._publish({**self._me, "described": self._described})
            await asyncio.sleep(BEAT_S)

    async def _watch(self) -> None:
        checked_s = time.monotonic()
        while True:
            looked_s = time.monotonic()
            await asyncio.sleep(_LOOK_S)
            now_s = time.monotonic()
            if now_s - looked_s > 2 * _LOOK_S or not self._connection.is_up:
                # We stood still, or heard nobody: that says nothing about them.
                for seen in self.others.values():
                    seen.heard_s += now_s - looked_s
                self._began_s += now_s - looked_s
                continue
            for seen in self.others.values():
                if now_s - seen.heard_s > AWAY_S:
                    self._went(seen)
            if now_s - checked_s > _CHECK_NAME_S:
                checked_s = now_s
                await self._quietly(self._check_name())
                await self._quietly(self.describe())  # secrets may have been added

    async def _quietly(self, work: Any) -> None:
        with contextlib.suppress(TimeoutError, BucketError):
            await work

    def _publish(self, body: dict[str, Any]) -> None:
        self._connection.publish(subjects.host(self.name, "beat"), json.dumps(body).encode())

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _read(entry: Entry | None) -> dict[str, Any] | None:
    """What an entry says; None when there is none, or it cannot be read."""
    if entry is None or entry.value is None:
        return None
    with contextlib.suppress(ValueError):
        value = json.loads(entry.value)
        return value if isinstance(value, dict) else None
    return None


def _read_packed(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None or entry.value is None:
        return None
    try:
        return dict(json.loads(zlib.decompress(entry.value)))
    except (ValueError, TypeError, zlib.error):
        event("what a host says of itself cannot be read", detail=entry.key)
        return None


def _is_mine(entry: Entry | None, instance: str) -> bool:
    return (_read(entry) or {}).get("instance") == instance
