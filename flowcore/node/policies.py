"""What the engine does around a handler: retry with backoff, circuit breaker, deadline. Pure: time is an argument."""

import random
from collections import deque
from collections.abc import Iterator


class BreakerOpen(Exception):
    """The node's circuit breaker is open: the message was not tried."""

    def __init__(self, until_s: float, cause: str) -> None:
        super().__init__(f"the circuit breaker is open (it tries again in {until_s:.0f} s); last error: {cause}")


class HandlerTimeout(Exception):
    """A handler did not finish within its node's `timeout_s`."""


def retry_waits(settings: dict, rng: random.Random | None = None) -> Iterator[float]:
    """Seconds to wait before each retry: doubling from `backoff_s` to `max_s`, with +-`jitter`."""
    wait_s = settings.get("backoff_s", 0.5)
    spread = settings.get("jitter", 0.2)
    draw = (rng or random).uniform
    for _ in range(settings.get("times", 0)):
        yield wait_s * draw(1 - spread, 1 + spread)
        wait_s = min(wait_s * 2, settings.get("max_s", 30.0))


class Breaker:
    """Opens after `failures` within `window_s`; after `open_s` lets one message try (half-open). 0 failures: off."""

    def __init__(self, settings: dict) -> None:
        self._limit = settings.get("failures", 0)
        self._window_s = settings.get("window_s", 60.0)
        self._open_s = settings.get("open_s", 30.0)
        self._failed_at: deque[float] = deque()
        self._open_until_s = 0.0
        self._is_trying = False
        self._last = ""
        self.is_open = False

    def check(self, now_s: float) -> None:
        """Call before a handler.

        Raises:
            BreakerOpen: it must not run.
        """
        if not self.is_open:
            return
        if now_s < self._open_until_s or self._is_trying:
            raise BreakerOpen(max(0.0, self._open_until_s - now_s), self._last)
        self._is_trying = True

    def succeeded(self) -> None:
        """A handler finished: a half-open breaker closes."""
        if self.is_open:
            self.is_open = self._is_trying = False
            self._failed_at.clear()

    def failed(self, now_s: float, error: str) -> None:
        """A handler failed for good."""
        if not self._limit:
            return
        self._last = error
        self._failed_at.append(now_s)
        while self._failed_at and self._failed_at[0] < now_s - self._window_s:
            self._failed_at.popleft()
        if self._is_trying or len(self._failed_at) >= self._limit:
            self.is_open, self._is_trying = True, False
            self._open_until_s = now_s + self._open_s


def is_late(envelope: dict, age_s: float | None, now_ns: int) -> bool:
    """True when a message is past its own deadline, or older than its node takes."""
    deadline = envelope.get("deadline")
    if isinstance(deadline, int) and now_ns > deadline:
        return True
    origin = envelope.get("origin")
    return age_s is not None and isinstance(origin, int) and now_ns - origin > age_s * 1e9
