"""When an action may go: one at a time by number, so many under way, so many in a time, failed ones later. No clock."""

import random
from heapq import heappop, heappush
from typing import Any

from flowcore.node import NodeConfig, field

EARLY_S = 0.002  # a timer may fire so long before its time
_JITTER = 0.1


class Policy(NodeConfig):
    """How the actions of a route are handled."""

    times: int = field(5, ge=0, le=1000, description="How often a failed action is tried again before it is dead")
    backoff_s: float = field(
        1.0, ge=0, le=86_400, description="Wait before the first further try, in seconds; doubles each time"
    )
    max_s: float = field(300.0, gt=0, le=604_800, description="Longest wait between two tries, in seconds")
    expire_s: float = field(
        3600.0, gt=0, le=31_536_000, description="An action that is not done after so many seconds is dead"
    )
    messages: int | None = field(None, gt=0, le=1_000_000, description="So many, evenly ..; empty: no limit")
    per_s: float = field(1.0, gt=0, le=31_536_000, description=".. in so many seconds")
    burst: int = field(1, gt=0, le=1_000_000, description="So many may go at once after a pause")
    max_in_flight: int = field(16, gt=0, le=1000, description="Most actions that have gone and are not yet done")


class RoutePolicy(NodeConfig):
    """What is different for one route; what is not given is as for all."""

    times: int | None = field(None, ge=0, le=1000, description="Further tries")
    backoff_s: float | None = field(None, ge=0, le=86_400, description="First wait, in seconds")
    max_s: float | None = field(None, gt=0, le=604_800, description="Longest wait, in seconds")
    expire_s: float | None = field(None, gt=0, le=31_536_000, description="Dead after so many seconds")
    messages: int | None = field(None, gt=0, le=1_000_000, description="So many, evenly ..")
    per_s: float | None = field(None, gt=0, le=31_536_000, description=".. in so many seconds")
    burst: int | None = field(None, gt=0, le=1_000_000, description="So many at once after a pause")
    max_in_flight: int | None = field(None, gt=0, le=1000, description="Most under way")


class Lane:
    """The actions of one route, by number.

    Args:
        policy: of the route.
        paced_s: when the limit lets the next one go, were there no burst; 0: nothing has gone yet.
    """

    def __init__(self, policy: Policy, paced_s: float = 0.0) -> None:
        self.policy, self.paced_s = policy, paced_s
        self.in_flight: set[str] = set()
        self._waiting: list[tuple[float, str]] = []

    def wait(self, number: str, due_s: float) -> None:
        """This one is to go, not before a time."""
        heappush(self._waiting, (due_s, number))

    def next_s(self, is_there: Any) -> float | None:
        """When the next one may go; None: none waits, or first one under way must be done.

        Args:
            is_there: of a number: whether it still waits.
        """
        while self._waiting and not is_there(self._waiting[0][1]):
            heappop(self._waiting)
        if not self._waiting or len(self.in_flight) >= self.policy.max_in_flight:
            return None
        return max(self._waiting[0][0], self._free_s())

    def go(self, now_s: float) -> str:
        """The next one goes; its number."""
        _, number = heappop(self._waiting)
        self.in_flight.add(number)
        if self.policy.messages is not None:
            self.paced_s = max(now_s, self.paced_s) + self.policy.per_s / self.policy.messages
        return number

    def _free_s(self) -> float:
        if self.policy.messages is None:
            return 0.0
        return self.paced_s - (self.policy.burst - 1) * self.policy.per_s / self.policy.messages


def wait_s(policy: Policy, attempts: int) -> float:
    """How long a failed action waits, after so many attempts."""
    longest = min(policy.backoff_s * 2.0 ** min(attempts - 1, 64), policy.max_s)
    return longest * random.uniform(1 - _JITTER, 1 + _JITTER)


def policy_of(common: Policy, own: RoutePolicy | None) -> Policy:
    """The policy of a route."""
    values = {name: getattr(common, name) for name in Policy.model_fields}
    if own is not None:
        values |= {name: value for name, value in own.model_dump().items() if value is not None}
    return Policy(**values)
