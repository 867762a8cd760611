import random
from typing import Any, Literal

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Outputs, field

_DUE_S, _PAYLOAD, _TOPIC, _META = range(4)  # what self.state holds of a message that waits, under a rising number


class Retry(Node):
    """Send failed messages again after a while, and give up after some tries.

    Wire a catch to it, or any output with messages to be tried again. The setting `retry`, which every node has, tries
    a message in place, for seconds, and those behind it wait. Here it steps aside and others go on; it may wait for
    hours, through restarts and kills, and may go another way. How often it was tried is in `meta.retry` (attempts,
    error, first_s), which nodes on the way leave as it is. Limit the catch (`scope`) to nodes that may fail, and not
    this one.
    """

    type = "core/retry"
    title = "Retry"
    category = "sequence"
    icon = "rotate-cw"
    stateful = True

    class Config(NodeConfig):
        times: int = field(5, ge=1, le=1000, description="How often a message is sent again before it is given up")
        backoff_s: float = field(1.0, ge=0, le=86_400, description="Wait before the first time, in seconds")
        factor: float = field(2.0, ge=1, le=100, description="Each further wait is so many times as long")
        max_s: float = field(300.0, gt=0, le=604_800, description="Longest wait, in seconds")
        jitter: float = field(0.1, ge=0, lt=1, description="Share by which waits vary, so that not all come at once")
        errors: list[str] = field(
            [],
            description="Kinds of error that are tried again, such as TimeoutError; empty: all but GiveUp, with which "
            "a node says that trying again is of no use",
        )
        max_held: int = field(1000, gt=0, le=100_000, description="Most messages that wait")
        when_full: Literal["give_up_newest", "send_oldest"] = field(
            "give_up_newest",
            description="At max_held: the message that comes is given up, or the first in turn is sent",
        )

    in_ = In(description="a map of a catch, or the failed message itself")
    out = Out(description="the failed message again: payload, topic and meta as they were, and meta.retry")
    given_up = Out(description="what came in, with meta.retry and the reason in meta.retry.why")

    def on_start(self) -> None:
        self._timers: dict[str, Any] = {}

    def on_reconfigure(self, old: Any) -> None:
        """What waits goes on as it was to."""

    async def on_go(self) -> None:
        """Wait on for what the process before has left."""
        for number in self.state:
            self._wait(number)

    def _wait(self, number: str) -> None:
        if number not in self._timers:
            wait_s = max(0.0, self.state[number][_DUE_S] - self.now_s())
            self._timers[number] = self.after(wait_s, self._again, number)

    async def on_message(self, message: Message) -> Outputs | None:
        caught = message.payload if _is_caught(message.payload) else None
        failed = (
            caught["message"] if caught else {"payload": message.payload, "topic": message.topic, "meta": message.meta}
        )
        meta = _map_at(failed, "meta")
        so_far = _map_at(meta, "retry")
        attempts = so_far.get("attempts", 0)
        if type(attempts) is not int or attempts < 0:
            raise GiveUp(f"meta.retry.attempts must be a number, got {attempts!r}")
        noted = {"attempts": attempts, "first_s": so_far.get("first_s", self.now_s())}
        if caught:
            noted["error"] = str(caught.get("text"))[:500]
        why = self._why_not(caught, failed, attempts)
        if why:
            return self._gives_up(message, noted, why)
        sent = None
        if len(self.state) >= self.config.max_held:
            if self.config.when_full == "give_up_newest":
                return self._gives_up(message, noted, f"{len(self.state)} wait, max_held is {self.config.max_held}")
            sent = await self._again(min(self.state, key=lambda number: self.state[number][_DUE_S]))
        number = f"{int(max(self.state, default='0')) + 1:016d}"
        due_s = self.now_s() + self._wait_s(attempts)
        meta = {**meta, "retry": {**noted, "attempts": attempts + 1}}
        try:
            self.state[number] = [due_s, failed.get("payload"), failed.get("topic") or "", meta]
        except ValueError as e:  # too large to wait
            return self._gives_up(message, noted, str(e))
        self._wait(number)
        self._show()
        return None if sent is None else Outputs(out=sent)

    def _why_not(self, caught: dict | None, failed: dict, attempts: int) -> str:
        if failed.get("is_cut"):
            return "the message was too large to be kept whole in its error"
        if caught:
            kind = caught["error"]
            if kind not in self.config.errors if self.config.errors else kind == "GiveUp":
                return f"a {kind} is not tried again"
        return f"{attempts} attempts" if attempts >= self.config.times else ""

    def _wait_s(self, attempts: int) -> float:
        config = self.config
        wait_s = min(config.backoff_s * config.factor ** min(attempts, 64), config.max_s)
        return wait_s * random.uniform(1 - config.jitter, 1 + config.jitter)

    async def _again(self, number: str) -> Message | None:
        timer = self._timers.pop(number, None)
        if timer is not None:
            timer.cancel()
        kept = self.state.pop(number, None)
        self._show()
        return None if kept is None else Message(kept[_PAYLOAD], kept[_TOPIC], kept[_META])

    def _gives_up(self, message: Message, noted: dict, why: str) -> Outputs:
        return Outputs(given_up=message.derive(meta={**message.meta, "retry": {**noted, "why": why}}))

    def _show(self) -> None:
        self.set_status(f"{len(self.state)} wait" if len(self.state) else "nothing waits")


def _map_at(value: dict, key: str) -> dict:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _is_caught(payload: Any) -> bool:
    return (
        isinstance(payload, dict)
        and isinstance(payload.get("error"), str)
        and isinstance(payload.get("message"), dict)
        and "payload" in payload["message"]
    )
