"""The stream of messages that nodes gave up: read in order, one by one, and removed when they were tried again.

    GivenUpError   JetStream did not do it, with its reason

A message's id is its sequence number in the stream, which is never used again.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from flowcore.bus import nats_py  # noqa: F401 - before the others

# isort: split
import nats.errors
import nats.js.errors

from flowcore.bus import subjects
from flowcore.bus.connection import Connection
from flowcore.bus.envelope import Malformed, unpack
from flowcore.bus.storage import GIVEN_UP

_LIMIT = 8 * 1024 * 1024


class GivenUpError(RuntimeError):
    """The stream cannot be read or changed."""


@dataclass(frozen=True)
class GivenUp:
    """One message that was given up: who, why (`body`, as `.error` carries it), and since when."""

    id: int
    flow: str
    node: str
    body: dict[str, Any]


class GivenUpStream:
    """Reads and removes."""

    def __init__(self, connection: Connection, timeout: float = 5.0) -> None:
        self._connection, self._timeout = connection, timeout

    async def count(self, flow: str | None = None, node: str | None = None) -> int:
        """How many there are."""
        ask = {"subjects_filter": _subject(flow, node)}
        answer = await self._ask(f"$JS.API.STREAM.INFO.{GIVEN_UP}", ask)
        return sum((answer["state"].get("subjects") or {}).values())

    async def get(self, id: int) -> GivenUp | None:
        """One of them; None when it is not there (any more)."""
        return await self._read({"seq": id})

    async def read(self, flow: str | None = None, node: str | None = None, after: int = 0) -> AsyncIterator[GivenUp]:
        """Those of a flow or a node whose id is above `after`, oldest first."""
        following = after + 1
        while (found := await self._read({"seq": following, "next_by_subj": _subject(flow, node)})) is not None:
            yield found
            following = found.id + 1

    async def remove(self, id: int) -> None:
        """Take one out; nothing happens when it has gone already."""
        answer = await self._ask(
            f"$JS.API.STREAM.MSG.DELETE.{GIVEN_UP}", {"seq": id, "no_erase": True}, refused_is_fine=True
        )
        if "error" in answer and answer["error"].get("err_code") not in (10043, 10057, 10037):
            raise GivenUpError(f"message {id} was not removed: {answer['error'].get('description')}")

    async def _read(self, ask: dict[str, Any]) -> GivenUp | None:
        try:
            message = await self._connection.client.request(
                f"$JS.API.DIRECT.GET.{GIVEN_UP}", json.dumps(ask).encode(), timeout=self._timeout
            )
        except (nats.errors.Error, OSError) as e:
            raise GivenUpError(f"the bus does not answer: {e or type(e).__name__}") from None
        headers = message.headers or {}
        if "Nats-Subject" not in headers:
            if headers.get("Status") == "404":
                return None
            raise GivenUpError(headers.get("Description") or message.data.decode(errors="replace"))
        _, _, flow, node = headers["Nats-Subject"].split(".", 3)
        try:
            body = unpack(message.data, limit=_LIMIT)
        except Malformed as e:
            body = {"error": "Malformed", "text": str(e)}
        return GivenUp(
            int(headers["Nats-Sequence"]), flow, node, body if isinstance(body, dict) else {"text": str(body)}
        )

    async def _ask(self, subject: str, ask: dict[str, Any], refused_is_fine: bool = False) -> dict[str, Any]:
        try:
            answer = json.loads(await self._connection.request(subject, json.dumps(ask).encode(), self._timeout))
        except TimeoutError as e:
            raise GivenUpError(str(e)) from None
        if "error" in answer and not refused_is_fine:
            raise GivenUpError(answer["error"].get("description", "refused"))
        return answer


def _subject(flow: str | None, node: str | None) -> str:
    return subjects.given_up(flow or "*", node or "*")
