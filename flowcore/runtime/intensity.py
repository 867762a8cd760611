"""When a process that died is started again: backoff, jitter, restart intensity, and tries per message.

Pure but for the clock it is handed. Two kinds of death are told apart by the page. One with a message in a handler is
held against that message: it is tried again almost at once, and after three tries the runner gives it up. One without
is held against the node: it waits longer each time, and past `limit` restarts in `window_s` the node has failed. A
process that handled something has made progress, and both start anew.
"""

import random
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flowcore.runtime.page import InHandler, wire_hash

MAX_TRIES = 3
MAX_SUSPECTS = 1024
_FIRST_TRY_S = 0.01


@dataclass(frozen=True)
class Verdict:
    """What follows a death: start again after `wait_s`, or not at all."""

    wait_s: float
    failed: bool = False


class Suspects:
    """Messages that were in a handler when their process died, with how often; the oldest are forgotten."""

    def __init__(self) -> None:
        self._tries: OrderedDict[tuple[int, int, int], int] = OrderedDict()

    def add(self, found: Iterable[InHandler]) -> int:
        """Count one more death for each; returns the most tries among them, 0 when there are none."""
        most = 0
        for one in found:
            key = (one.wire_hash, one.epoch, one.seq)
            self._tries[key] = self._tries.pop(key, 0) + 1
            most = max(most, self._tries[key])
        while len(self._tries) > MAX_SUSPECTS:
            self._tries.popitem(last=False)
        return most

    def forget(self, wire: str, epoch: int, seq: int) -> None:
        """The message was given up."""
        self._tries.pop((wire_hash(wire), epoch, seq), None)

    def clear(self) -> None:
        """A process ended in order: nothing was in its handlers."""
        self._tries.clear()

    def of(self, wires: Iterable[str]) -> list[dict[str, Any]]:
        """What a new process is told at `go`: only messages of wires that it still has."""
        names = {wire_hash(wire): wire for wire in wires}
        return [
            {"wire": names[hashed], "epoch": epoch, "seq": seq, "tries": tries}
            for (hashed, epoch, seq), tries in self._tries.items()
            if hashed in names
        ]


class Intensity:
    """Counts the deaths of one node process against its `restart` settings."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._limit = int(settings.get("limit", 5))
        self._window_s = float(settings.get("window_s", 60))
        self._backoff_s = float(settings.get("backoff_s", 0.1))
        self._max_s = float(settings.get("max_s", 10))
        self._deaths: deque[float] = deque()
        self._in_a_row = 0

    def reset(self) -> None:
        """Forget all deaths: someone asked for a start, or there was progress."""
        self._deaths.clear()
        self._in_a_row = 0

    def died(self, now_s: float, tries: int, progress: bool) -> Verdict:
        """Judge a death.

        Args:
            tries: most tries of a message that was in a handler, 0 when none was.
            progress: the process had handled something.
        """
        if progress:
            self.reset()
        if tries:
            # The third time it is given up at once when the next process starts, so that one need not wait.
            return Verdict(0.0 if tries >= MAX_TRIES else _FIRST_TRY_S * 2 ** (tries - 1))
        self._deaths.append(now_s)
        while self._deaths and self._deaths[0] < now_s - self._window_s:
            self._deaths.popleft()
        if len(self._deaths) > self._limit:
            return Verdict(0.0, failed=True)
        wait_s = min(self._backoff_s * 2**self._in_a_row, self._max_s)
        self._in_a_row = min(self._in_a_row + 1, 30)
        return Verdict(wait_s * random.uniform(0.5, 1.5))
