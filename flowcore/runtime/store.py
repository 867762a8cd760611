"""A node process's own entries on the bus: its state record, shared contexts, and messages it gives up.

Reads go the direct path (`$JS.API.DIRECT.GET.<stream>.<subject>`), which the server can allow key by key. Everything
waits while the bus is away: a state that is not stored acks nothing, so the wires push back meanwhile.
"""

import asyncio
import itertools
import json
import logging
import random
from typing import Any

from flowcore.bus import subjects
from flowcore.bus.connection import BUS_TROUBLE, Connection
from flowcore.bus.envelope import pack
from flowcore.bus.storage import STATE
from flowcore.node.record import RecordStore

_WRONG_LAST_SEQUENCE = 10071
_LAST_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
_OF_SUBJECTS = "Nats-Expected-Last-Subject-Sequence-Subject"
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0

_SAID_EACH = 30  # tries

_log = logging.getLogger("flowcore.store")


class _Entries:
    """Direct reads and checked writes of one bucket's keys."""

    def __init__(self, connection: Connection, bucket: str) -> None:
        self._connection, self._bucket = connection, bucket

    async def read(self, key: str) -> tuple[bytes | None, int]:
        """An entry's bytes (None: not there or deleted) and revision (0: never there). Waits for the bus."""
        subject = f"$JS.API.DIRECT.GET.KV_{self._bucket}.$KV.{self._bucket}.{key}"
        answer = await self._ask(subject, b"", None)
        headers = answer.headers or {}
        if headers.get("Status") == "404":
            return None, 0
        revision = int(headers.get("Nats-Sequence", 0))
        return (None if headers.get("KV-Operation") in ("DEL", "PURGE") else answer.data), revision

    async def write(self, key: str, value: bytes, revision: int | None, below: str = "") -> int | None:
        """Write; returns the new revision, None when `revision` is not the newest. Waits for the bus.

        Args:
            below: `revision` is the newest of all keys that begin with this (up to a dot), not of `key` alone.
        Raises:
            OSError: the bus refused for another reason (its text says which), such as a full bucket.
            ValueError: it is larger than the bus takes in one message.
        """
        if self._connection.is_up and len(value) > self._connection.max_payload:
            most = self._connection.max_payload
            raise ValueError(f"{self._bucket} {key}: {len(value):,} bytes, the bus takes {most:,} in one message")
        headers = None if revision is None else {_LAST_SEQUENCE: str(revision)}
        if headers is not None and below:
            headers[_OF_SUBJECTS] = f"$KV.{self._bucket}.{below}>"
        answer = await self._ask(f"$KV.{self._bucket}.{key}", value, headers)
        body = json.loads(answer.data)
        if "error" not in body:
            return int(body["seq"])
        if body["error"].get("err_code") == _WRONG_LAST_SEQUENCE:
            return None
        raise OSError(f"{self._bucket} {key}: {body['error'].get('description')}")

    async def _ask(self, subject: str, data: bytes, headers: dict | None) -> Any:
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                return await self._connection.client.request(subject, data, timeout=5.0, headers=headers)
            except BUS_TROUBLE:
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)


class _StateEntries(_Entries):
    """The bucket of records; waits while it has no room."""

    async def write(self, key: str, value: bytes, revision: int | None, below: str = "") -> int | None:
        """As `flowcore.node.record.Entries` says."""
        while True:
            try:
                return await super().write(key, value, revision, below)
            except OSError as e:
                _log.warning("the state cannot be stored: %s", e)
                await asyncio.sleep(1.0)


def record_store(connection: Connection, key: str) -> RecordStore:
    """The record of the node with this state key."""
    return RecordStore(_StateEntries(connection, STATE), key)


class BusValues:
    """The bucket of shared contexts, as `flowcore.node.context.KeyValues`."""

    def __init__(self, connection: Connection) -> None:
        self._entries = _Entries(connection, "context")

    async def get(self, key: str) -> tuple[bytes | None, int]:
        """The entry's bytes and revision."""
        return await self._entries.read(key)

    async def put(self, key: str, value: bytes, revision: int | None) -> bool:
        """Write it; False when `revision` is given and no longer the newest."""
        return await self._entries.write(key, value, revision) is not None


class GivenUp:
    """Stores messages that were given up in the bounded stream that `flowcore errors` reads."""

    def __init__(self, connection: Connection, flow: str, node: str) -> None:
        self._connection, self._subject = connection, subjects.given_up(flow, node)

    def _identity(self, body: dict) -> dict[str, str] | None:
        """Stored once, also when the process was killed before the ack and its successor gives the message up again."""
        message = body.get("message")
        if not isinstance(message, dict) or not message.get("id"):
            return None
        return {"Nats-Msg-Id": f"{self._subject} {message.get('port')} {message['id']}"}

    async def keep(self, body: dict) -> None:
        """Returns when it is stored; waits while the bus is away."""
        try:
            data = pack(body)
        except (TypeError, ValueError):
            data = pack(body | {"message": repr(body.get("message"))[:8192]})
        headers = self._identity(body)
        wait_s = _FIRST_WAIT_S
        for tries in itertools.count(1):
            try:
                answer = json.loads(await self._connection.request(self._subject, data, headers=headers))
                if "error" not in answer:
                    return
                trouble = answer["error"].get("description")
            except (TimeoutError, ValueError) as e:
                trouble = str(e)
            if self._connection.is_up and tries % _SAID_EACH == 1:
                _log.warning("a message that was given up cannot be stored: %s", trouble)
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
