"""A key-value bucket with what the host asks of one: revisions, compare-and-set, history, and word of each change.

nats-py's `KeyValue` gives neither the time of an entry nor its history without a consumer; this asks the stream
directly.

    BucketError
    └── WrongRevision   the key was changed meanwhile; nothing was written
"""

import calendar
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flowcore.bus import nats_py  # noqa: F401 - before the others

# isort: split
import nats.errors

from flowcore.bus.connection import Connection

_WRONG_LAST = (10071, 10164)
_FRACTION_DIGITS = 9


class BucketError(RuntimeError):
    """The bucket cannot be read or written; the text is the server's reason."""


class WrongRevision(BucketError):
    """The newest revision is not the one that was expected."""


@dataclass(frozen=True)
class Entry:
    """One revision of a key. `value` is None when it is a deletion."""

    key: str
    revision: int
    value: bytes | None
    created_ns: int


class Bucket:
    """The bucket `name`, which `flowcore.bus.storage.ensure` has made."""

    def __init__(self, connection: Connection, name: str, timeout: float = 5.0) -> None:
        self._connection, self.name, self._timeout = connection, name, timeout

    async def get(self, key: str, revision: int | None = None) -> Entry | None:
        """The newest entry of `key`, or one revision of it; None when there is none (a deletion is an entry).

        Raises:
            BucketError, TimeoutError: the bus is away.
        """
        if revision is None:
            return await self._read(f"$JS.API.DIRECT.GET.KV_{self.name}.$KV.{self.name}.{key}", b"")
        entry = await self._read(f"$JS.API.DIRECT.GET.KV_{self.name}", json.dumps({"seq": revision}).encode())
        return entry if entry is not None and entry.key == key else None

    async def history(self, key: str) -> list[Entry]:
        """The entries of `key` that are kept, oldest first."""
        entries: list[Entry] = []
        following = 1
        while True:
            ask = json.dumps({"seq": following, "next_by_subj": f"$KV.{self.name}.{key}"}).encode()
            entry = await self._read(f"$JS.API.DIRECT.GET.KV_{self.name}", ask)
            if entry is None:
                return entries
            entries.append(entry)
            following = entry.revision + 1

    async def keys(self) -> list[str]:
        """All keys, those deleted too."""
        ask = json.dumps({"subjects_filter": f"$KV.{self.name}.>"}).encode()
        answer = json.loads((await self._request(f"$JS.API.STREAM.INFO.KV_{self.name}", ask, None)).data)
        if "error" in answer:
            raise BucketError(f"bucket {self.name}: {answer['error'].get('description')}")
        prefix = len(f"$KV.{self.name}.")
        return sorted(subject[prefix:] for subject in (answer["state"].get("subjects") or {}))

    async def put(self, key: str, value: bytes, based_on: int | None = None) -> int:
        """Write `key` and return its new revision.

        Args:
            based_on: its newest revision now, 0 when it was never written; None: whatever is there is replaced.
        Raises:
            WrongRevision: the newest one is another. BucketError, TimeoutError
        """
        headers = {} if based_on is None else {"Nats-Expected-Last-Subject-Sequence": str(based_on)}
        return await self._write(key, value, headers)

    async def delete(self, key: str) -> int:
        """Mark `key` as deleted; its history stays."""
        return await self._write(key, b"", {"KV-Operation": "DEL"})

    async def watch(self, changed: Callable[[str], None]) -> None:
        """Call `changed(key)` at each write from now on, also while the server has not stored it yet.

        Hints, not a log: none comes for what is written while the connection is away.
        """
        prefix = len(f"$KV.{self.name}.")

        def on_message(subject: str, data: bytes, reply: str, headers: bytes) -> None:
            changed(subject[prefix:])

        await self._connection.subscribe(f"$KV.{self.name}.>", on_message)

    async def _read(self, subject: str, ask: bytes) -> Entry | None:
        message = await self._request(subject, ask, None)
        headers = message.headers or {}
        if "Nats-Subject" not in headers:
            if headers.get("Status") == "404":
                return None
            raise BucketError(
                f"bucket {self.name}: {headers.get('Description') or message.data.decode(errors='replace')}"
            )
        deleted = headers.get("KV-Operation") in ("DEL", "PURGE")
        return Entry(
            headers["Nats-Subject"].split(".", 2)[2],
            int(headers["Nats-Sequence"]),
            None if deleted else message.data,
            _nanoseconds(headers.get("Nats-Time-Stamp", "")),
        )

    async def _write(self, key: str, value: bytes, headers: dict[str, str]) -> int:
        message = await self._request(f"$KV.{self.name}.{key}", value, headers or None)
        answer = json.loads(message.data)
        if "error" in answer:
            error = answer["error"]
            wrong = error.get("err_code") in _WRONG_LAST
            raise (WrongRevision if wrong else BucketError)(f"bucket {self.name}: {error.get('description')}")
        return int(answer["seq"])

    async def _request(self, subject: str, ask: bytes, headers: dict[str, str] | None) -> Any:
        try:
            return await self._connection.client.request(subject, ask, timeout=self._timeout, headers=headers)
        except (nats.errors.Error, OSError) as e:
            raise TimeoutError(f"bucket {self.name} does not answer: {e or type(e).__name__}") from None


def _nanoseconds(stamp: str) -> int:
    """`2026-01-02T03:04:05.123456789Z` as nanoseconds UTC; 0 when there is none."""
    if not stamp:
        return 0
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    digits = fraction.ljust(_FRACTION_DIGITS, "0")[:_FRACTION_DIGITS]
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 1_000_000_000 + int(digits or 0)
