"""Word between hosts about a wire whose ends are on two of them: its consumer has failed, or runs again.

The supervisor of a consumer tells its producers at once where they are on the same host; for the others it says so to
all hosts, and the one that has the producer passes it on. Who starts a producer asks, because a notice is said once.
Lost notices (the bus was away) are said again when it is back.
"""

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flowcore.bus import subjects
from flowcore.bus.connection import Connection

_FAILED, _WHO = "failed", "who"


@dataclass(frozen=True)
class WireNotice:
    """Of a wire into another host: its producer, the consumer's flow and replica, the wire as the consumer has it."""

    flow: str  # the producer's
    producer: str
    consumer_flow: str
    replica: int | None
    wire: dict[str, Any]
    failed: bool


class Notices:
    """Says and hears notices.

    Args:
        on_notice: a consumer elsewhere has failed, or runs again.
        on_question: a producer elsewhere started, its flow and node: say what of its consumers here has failed.
    """

    def __init__(
        self,
        connection: Connection,
        name: str,
        on_notice: Callable[[WireNotice], None],
        on_question: Callable[[str, str], None],
    ) -> None:
        self._connection, self._name = connection, name
        self._on_notice, self._on_question = on_notice, on_question

    async def start(self) -> None:
        """Hear what the others say."""
        await self._connection.subscribe(subjects.NOTICES, self._on_message)

    def say(self, notice: WireNotice) -> None:
        """Tell all other hosts."""
        self._publish({"op": _FAILED, **vars(notice)})

    def ask(self, flow: str, producer: str) -> None:
        """This producer started: which of its consumers elsewhere have failed?"""
        self._publish({"op": _WHO, "flow": flow, "producer": producer})

    def _publish(self, body: Mapping[str, Any]) -> None:
        self._connection.publish(subjects.NOTICES, json.dumps({"host": self._name, **body}).encode())

    def _on_message(self, subject: str, data: bytes, reply: str, headers: bytes) -> None:
        if reply or headers:
            return
        with contextlib.suppress(ValueError, KeyError, TypeError):
            said = json.loads(data)
            if said.pop("host") == self._name:
                return
            match said.pop("op"):
                case "failed":
                    self._on_notice(WireNotice(**said))
                case "who":
                    self._on_question(said["flow"], said["producer"])
