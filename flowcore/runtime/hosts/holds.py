"""Which host holds which process of a flow, so that a node that moves never runs on two.

Each host keeps a record of every flow that it shares, `holds.<flow>.<host>` in the bucket `hosts`: the processes it has
or is about to start, and the incarnations of those it let go. It is written before a process is started and after one
has ended; whoever is to start a process reads the others' records after it has written its own. So of two hosts that
want the same one at least one sees the other, and waits until that has let go, or is gone (`Presence.is_gone`).

Invariant: a process that was told to go is in this host's record, as far as the bus could be reached.
"""

import asyncio
import contextlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowcore.bus.bucket import Bucket, BucketError
from flowcore.bus.connection import Connection
from flowcore.bus.storage import HOSTS
from flowcore.runtime.hosts.presence import Presence

_LOOK_S = 0.05


@dataclass
class _Record:
    """`has`: processes here. `left`: process -> its last incarnation here."""

    has: set[str] = field(default_factory=set)
    left: dict[str, int] = field(default_factory=dict)


class Holds:
    """This host's records, and a look at the others'."""

    def __init__(self, connection: Connection, presence: Presence) -> None:
        self._bucket, self._presence = Bucket(connection, HOSTS), presence
        self._mine: dict[str, _Record] = {}
        self._written: dict[str, bytes] = {}

    async def start(self) -> None:
        """Whatever an earlier run of this host held died with it."""
        for key in await self._bucket.keys():
            kind, _, rest = key.partition(".")
            flow, _, host = rest.partition(".")
            if kind == "holds" and host == self._presence.name:
                entry = await self._bucket.get(key)
                there = _read(entry.value if entry else None)
                self._mine[flow] = _Record(set(), {**dict.fromkeys(there.has, 0), **there.left})
                await self._write(flow)

    async def hold(self, flow: str, processes: Collection[str]) -> None:
        """These processes are here, or are about to start.

        Raises:
            BucketError, TimeoutError
        """
        record = self._mine.setdefault(flow, _Record())
        record.has |= set(processes)
        for process in processes:
            record.left.pop(process, None)
        await self._write(flow)

    async def let_go(self, flow: str, keep: Collection[str], ended: Mapping[str, int]) -> None:
        """Of a flow only `keep` is here; `ended`: process -> its last incarnation.

        Raises:
            BucketError, TimeoutError
        """
        record = self._mine.setdefault(flow, _Record())
        record.left |= {process: ended.get(process, 0) for process in record.has - set(keep)}
        record.has &= set(keep)
        await self._write(flow)

    async def held_elsewhere(self, flow: str, processes: Collection[str]) -> dict[str, str]:
        """Process -> the other host that holds it, of those that one does."""
        found: dict[str, str] = {}
        for host, record in (await self._others(flow)).items():
            found |= {process: host for process in processes if process in record.has}
        return found

    async def left_elsewhere(self, flow: str, processes: Collection[str]) -> dict[str, int]:
        """Process -> the highest incarnation that another host had of it, of those that one had."""
        found: dict[str, int] = {}
        for record in (await self._others(flow)).values():
            for process in processes:
                if process in record.left:
                    found[process] = max(found.get(process, 0), record.left[process])
        return found

    async def until_free(self, flow: str, process: str) -> bool:
        """Wait until no other host holds a process; False when one that did is gone, so nobody knows how it ended."""
        while True:
            with contextlib.suppress(BucketError, TimeoutError):
                host = (await self.held_elsewhere(flow, [process])).get(process)
                if host is None:
                    return True
                if self._presence.is_gone(host):
                    return False
            await asyncio.sleep(_LOOK_S)

    async def _others(self, flow: str) -> dict[str, _Record]:
        records = {}
        for key in await self._bucket.keys():
            if key.startswith(f"holds.{flow}.") and key != self._key(flow):
                entry = await self._bucket.get(key)
                records[key.rpartition(".")[2]] = _read(entry.value if entry else None)
        return records

    async def _write(self, flow: str) -> None:
        record = self._mine[flow]
        value = json.dumps({"has": sorted(record.has), "left": record.left}).encode()
        if self._written.get(flow) != value:
            await self._bucket.put(self._key(flow), value)
            self._written[flow] = value

    def _key(self, flow: str) -> str:
        return f"holds.{flow}.{self._presence.name}"


def _read(value: bytes | None) -> _Record:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        said: dict[str, Any] = json.loads(value or b"{}")
        return _Record(set(said["has"]), dict(said["left"]))
    return _Record()
