"""What a model has done lately: percentiles of its latency, batch sizes, rate, errors."""

import time
from collections import deque
from typing import Any

_LATEST = 2048


class Meter:
    """Counts of one model; on the event loop."""

    def __init__(self) -> None:
        self._latencies_ms: deque[float] = deque(maxlen=_LATEST)
        self._batches: deque[int] = deque(maxlen=_LATEST)
        self._since_s = time.perf_counter()
        self._answered = self.answers = self.errors = self.fallbacks = 0

    def answered(self, latency_ms: float, batch: int) -> None:
        """A message was answered, in a batch of that many rows."""
        self.answers += 1
        self._latencies_ms.append(latency_ms)
        self._batches.append(batch)

    @property
    def is_quiet(self) -> bool:
        """Nothing was answered since the last reading."""
        return self.answers == self._answered

    def read(self) -> dict[str, Any]:
        """Figures of the latest answers; the rate is that since the last reading."""
        now_s = time.perf_counter()
        rate = (self.answers - self._answered) / max(now_s - self._since_s, 1e-9)
        self._since_s, self._answered = now_s, self.answers
        ordered = sorted(self._latencies_ms)

        def percentile(share: float) -> float | None:
            return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else None

        return {
            "answers": self.answers,
            "errors": self.errors,
            "fallbacks": self.fallbacks,
            "rate_hz": round(rate, 2),
            "p50_ms": percentile(0.50),
            "p95_ms": percentile(0.95),
            "p99_ms": percentile(0.99),
            "batch": round(sum(self._batches) / len(self._batches), 2) if self._batches else None,
        }
