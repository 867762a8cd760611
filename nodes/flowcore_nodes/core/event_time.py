"""When an event was, as its message says: seconds since 1970, from a number or from ISO 8601."""

import datetime
import math
from typing import Any, Literal

from flowcore.node import GiveUp, Message
from flowcore.node.paths import MessagePath

TimeUnit = Literal["s", "ms", "us", "ns"]
PER_S = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}


class EventTime:
    """Reads the time at a path of messages."""

    def __init__(self, path: str, unit: TimeUnit) -> None:
        self._path, self._per_s = MessagePath(path), PER_S[unit]

    def of(self, message: Message) -> float:
        """Seconds since 1970.

        Raises:
            GiveUp: what is there is no time.
        """
        value: Any = self._path.find(message)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return value / self._per_s
        try:
            at = datetime.datetime.fromisoformat(value)
        except (TypeError, ValueError):
            what = f"{self._path.text} is no time: {str(value)[:40]!r}"
            raise GiveUp(f"{what}; a number since 1970 or ISO 8601 is one") from None
        return (at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp()
