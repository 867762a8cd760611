"""What every measured program of a peer shares: orders from the bench, the pace of a source, the count of a sink.

Runs inside the peers' processes, so it uses the standard library alone and imports nothing of the project. A program
connects to the bench's Unix socket (`PEERS_SOCKET`, else as it was told), says which role it has, and is told by lines
of JSON.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

TEXT = "press-7"
FRAME_SHAPE = (1080, 1920, 3)
FRAME_BYTES = 1080 * 1920 * 3
_LONGEST_NAP_S = 0.02


class Orders:
    """The bench's end of a program: what it is told, and what it answers."""

    def __init__(self, role: str, address: str = "") -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(address or os.environ["PEERS_SOCKET"])
        self._lines = self._socket.makefile("rb")
        self.answer({"role": role, "pid": os.getpid()})

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for line in self._lines:
            yield json.loads(line)

    def next(self) -> dict[str, Any] | None:
        """The next order; None when the bench has gone."""
        return next(iter(self), None)

    def answer(self, what: dict[str, Any]) -> None:
        """Answer the last order."""
        self._socket.sendall(json.dumps(what).encode() + b"\n")

    def close(self) -> None:
        """Leave."""
        self._socket.close()


class Pace:
    """When a source sends: at `rate_hz`, evenly, or as fast as it can (no `rate_hz`), for `seconds`."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.sent = 0
        self._rate_hz, self._stamps_due = order.get("rate_hz") or 0, bool(order.get("due"))
        self._begun_s = time.monotonic()
        self._ends_s = self._begun_s + order["seconds"]

    def wait_s(self) -> float | None:
        """How long to wait until the next message is due: 0 when it is, None when the time is over."""
        now_s = time.monotonic()
        if now_s >= self._ends_s:
            return None
        if not self._rate_hz:
            return 0
        return min(_LONGEST_NAP_S, max(0.0, self._due_s() - now_s))

    def next(self) -> tuple[int, int]:
        """Count a message; returns its number, and its time: now, or when it was due if the order says so.

        A source that is kept from sending would else make its late messages look young.
        """
        now_ns = time.time_ns()
        if self._stamps_due and self._rate_hz:
            now_ns -= max(0, int((time.monotonic() - self._due_s()) * 1e9))
        self.sent += 1
        return self.sent, now_ns

    def _due_s(self) -> float:
        return self._begun_s + self.sent / self._rate_hz


class Tally:
    """What a sink saw of a run: how many came in all, how many within the measured time, and how old they were.

    The measured time begins `warm_s` after the first message, by the sink's own clock.
    """

    def __init__(self, address: str = "") -> None:
        self.begin({"run": 0, "warm_s": 0.0, "seconds": 0.0})
        threading.Thread(target=self._obey, args=(Orders("sink", address),), daemon=True).start()

    def begin(self, order: dict[str, Any]) -> None:
        """Forget the run before this one."""
        self._run, self._keeps_ages = order["run"], bool(order.get("ages"))
        self._warm_ns, self._window_ns = int(order["warm_s"] * 1e9), int((order["seconds"] - order["warm_s"]) * 1e9)
        self._from_ns = self._until_ns = 0
        self.received = self.taken = 0
        self._ages_ms: list[float] = []

    def take(self, run: int, made_ns: int, now_ns: int) -> None:
        """A message: of which run, when it was made, and when it arrived (`time.time_ns()`)."""
        if run != self._run:
            return
        if not self.received:
            self._from_ns = now_ns + self._warm_ns
            self._until_ns = self._from_ns + self._window_ns
        self.received += 1
        if self._from_ns <= now_ns < self._until_ns:
            self.taken += 1
            if self._keeps_ages:
                self._ages_ms.append((now_ns - made_ns) / 1e6)

    def _obey(self, orders: Orders) -> None:
        for order in orders:
            if order["do"] == "begin":
                self.begin(order)
            ages_ms = self._ages_ms if order["do"] == "ages" else []
            orders.answer({"received": self.received, "taken": self.taken, "ages_ms": ages_ms})


def check_frame(frame: Any, number: int) -> None:
    """Raise AssertionError unless this is the frame with that number: right at its first, middle and last bytes."""
    assert frame.shape == FRAME_SHAPE, frame.shape
    seen = {int(frame[0, 0, 0]), int(frame[540, 960, 1]), int(frame[-1, -1, -1])}
    assert seen == {number & 0xFF}, f"frame {number} holds {seen}"


def spin(seconds: float) -> None:
    """Keep a core busy."""
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        pass
