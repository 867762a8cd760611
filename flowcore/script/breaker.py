"""The breaker of a script: three kills in a minute, and messages fail at once for a while.

closed --three kills within 60 s--> open --after 30 s--> half open: one message is tried
half open --it was handled--> closed;  --killed again--> open
"""

from collections import deque

KILLS = 3
WITHIN_S = 60.0
OPEN_S = 30.0


class Breaker:
    """Counts kills; times are given in, so that it holds no clock."""

    def __init__(self, kills: int = KILLS, within_s: float = WITHIN_S, open_s: float = OPEN_S) -> None:
        self._kills, self._within_s, self._open_s = kills, within_s, open_s
        self._times: deque[float] = deque(maxlen=kills)
        self._until = 0.0
        self.reason = ""
        self.half_open = False

    def killed(self, now: float, reason: str) -> None:
        """A worker was killed, or ended by itself."""
        self._times.append(now)
        if self.half_open or (len(self._times) == self._kills and now - self._times[0] <= self._within_s):
            self._until = now + self._open_s
            self.half_open = True
            self.reason = reason

    def handled(self) -> None:
        """A message was handled in the half open state: all is well again."""
        if self.half_open:
            self.half_open = False
            self._times.clear()

    def open_for(self, now: float) -> float:
        """Seconds for which messages fail at once; 0: run them (one at first, when half open)."""
        return max(0.0, self._until - now)
