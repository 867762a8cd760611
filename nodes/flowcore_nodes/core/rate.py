import random
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import model_validator

from flowcore.node import In, Message, Out, Outputs, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.due import EARLY_S, Due
from flowcore_nodes.core.holding import META, Holding, HoldingConfig, message_of, parts_of, without
from flowcore_nodes.core.numbers import number_of
from flowcore_nodes.core.path_fields import ReadPathOrEmpty

# What is kept of a message that waits: its parts, its series, when it is due (modes that delay).
PARTS, SERIES, DUE_S = range(3)

_SENT = "sent:"  # state: series -> when its next message is due
_PACE, _TICK = "pace", "tick"  # state: seconds between two messages, as `meta.rate` said; when turns began
_OWN = ("delay", "rate", "reset", "flush", "toFront")


class Rate(Holding):
    """Delay messages, or let only so many through in a time.

    delay: each message by a fixed time, a random one, or the milliseconds in its `meta.delay`. limit: `messages` in
    each `per_s`, evenly, or up to `burst` of them at once; what is too much waits in a queue, is dropped (it goes to
    the second output), or only the newest waits. in_turn and all_at_once: the newest message of each series waits;
    every `per_s` / `messages` the one whose turn it is, or all, are sent. `key` tells series apart; each has a limit
    of its own.

    `meta.reset` throws away what waits, `meta.flush` sends it at once (a number: so many); such a message itself goes
    no further, unless it has a payload and a queue to wait in. `meta.toFront` puts a message before those that wait,
    `meta.rate` (milliseconds between two messages) changes a limit from then on. What waits survives a kill.
    """

    type = "core/rate"
    title = "Rate"
    category = "sequence"
    icon = "gauge"

    class Config(HoldingConfig):
        mode: Literal["delay", "limit", "in_turn", "all_at_once"] = field("delay", description="See above")
        seconds: float = field(5.0, ge=0, le=31_536_000, description="delay: how long, in seconds")
        up_to_s: float | None = field(
            None,
            ge=0,
            le=31_536_000,
            description="delay: random from `seconds` to this, in seconds; empty: fixed",
        )
        from_message: bool = field(
            False,
            description="meta.delay says how long a message is delayed, meta.rate how fast a limit is, in ms",
        )
        messages: int = field(1, gt=0, le=1_000_000, description="limit: so many ..")
        per_s: float = field(1.0, gt=0, le=31_536_000, description="limit: .. in so many seconds")
        burst: int = field(1, gt=0, le=1_000_000, description="limit: so many may go at once after a pause")
        over: Literal["queue", "drop", "newest"] = field(
            "queue", description="limit: what is too much waits, is dropped, or only the newest waits"
        )
        key: ReadPathOrEmpty = field("", description="Path of what tells series apart, such as topic; empty: one")
        when_full: Literal["drop_oldest", "drop_newest", "emit"] = field(
            "drop_oldest",
            description="At max_held: drop the oldest or the newest (to the second output), or send the oldest at once",
        )

        @model_validator(mode="after")
        def _fits(self) -> "Rate.Config":
            if self.up_to_s is not None and self.up_to_s < self.seconds:
                raise ValueError("up_to_s must not be less than seconds")
            if self.mode != "limit" and self.burst > 1:
                raise ValueError("burst is for the mode limit")
            return self

    in_ = In()
    out = Out(description="the messages, later")
    dropped = Out(description="the messages that are dropped")

    def on_start(self) -> None:
        self._timer: Any = None
        self._timer_s = 0.0
        self._due = Due(self, self._when_delayed)
        super().on_start()

    def read_config(self) -> None:
        config = self.config
        self._is_keyed = bool(config.key) or config.mode in ("in_turn", "all_at_once")
        self._key = MessagePath(config.key or "topic").find

    def adopt(self) -> None:
        self._queues: dict[str, list[str]] = {}  # series -> numbers that wait, in order
        due: dict[str, float] = {}
        for number in self.numbers():
            entry = self.held[number]
            if self.config.mode == "delay":
                due[number] = entry[DUE_S] if entry[DUE_S] is not None else self.now_s() + self.config.seconds
            else:
                series = entry[SERIES] if self._is_keyed else ""
                self._queues.setdefault(series, []).append(number)
        self._count = len(due) + sum(map(len, self._queues.values()))
        self._due.begin(due)
        self._cancel()
        self._arm()

    # -- messages

    async def on_message(self, message: Message):
        with self.changing():
            meta = message.meta
            if meta.get("reset"):
                self._reset()
                if "flush" not in meta:
                    return
            pace = number_of(meta.get("rate")) if self.config.from_message else None
            if pace is not None and pace > 0:
                self.held[_PACE] = pace / 1000
            flush = meta.get("flush")
            if flush is None or flush is False:
                for made in self._take(message):
                    yield made
                return
            if message.payload is not None and self.config.mode != "delay":
                self._hold(message, None)
            for made in self._flush(flush):
                yield made
            self._arm()

    def _take(self, message: Message) -> Iterator[Any]:
        mode, now_s = self.config.mode, self.now_s()
        if mode == "delay":
            wait_s = self._delay_s(message)
            if wait_s > 0:
                yield from self._hold_or_drop(message, now_s + wait_s)
            else:
                yield self._passed(message)
        elif mode == "limit":
            series = self._series(message)
            if not self._queues.get(series) and self._may_go(series, now_s):
                yield self._passed(message)
            elif self.config.over == "drop":
                yield Outputs(dropped=self._passed(message))
            else:
                if self.config.over == "newest":
                    yield from self._replace(series)
                yield from self._hold_or_drop(message, None)
        else:
            for number in self._queues.get(self._series(message), ()):
                self.held[number] = [self._parts(message), self.held[number][SERIES], None]  # it keeps its turn
                return
            yield from self._hold_or_drop(message, None)

    def _delay_s(self, message: Message) -> float:
        config = self.config
        if config.from_message:
            delay_ms = number_of(message.meta.get("delay"))
            if delay_ms is not None:
                return max(0.0, delay_ms / 1000)
        if config.up_to_s is not None:
            return random.uniform(config.seconds, config.up_to_s)
        return config.seconds

    def _replace(self, series: str) -> Iterator[Any]:
        for number in self._queues.pop(series, ()):
            self._count -= 1
            yield Outputs(dropped=message_of(self.held.pop(number)[PARTS]))

    def _hold_or_drop(self, message: Message, due_s: float | None) -> Iterator[Any]:
        if self._count >= self.config.max_held:
            if self.config.when_full == "drop_newest":
                self.count_drop()
                yield Outputs(dropped=self._passed(message))
                return
            oldest = next(iter(self._due), None) or min(numbers[0] for numbers in self._queues.values())
            sent = message_of(self._forget(oldest))
            if self.config.when_full == "emit":
                yield sent
            else:
                self.count_drop()
                yield Outputs(dropped=sent)
        self._hold(message, due_s)
        self._arm()

    def _hold(self, message: Message, due_s: float | None) -> None:
        series = self._series(message)
        number = self.put([self._parts(message), series, due_s], at_front=bool(message.meta.get("toFront")))
        self._count += 1
        if due_s is not None:
            self._due.add(number, due_s)
        elif message.meta.get("toFront"):
            self._queues.setdefault(series, []).insert(0, number)
        else:
            self._queues.setdefault(series, []).append(number)

    def _series(self, message: Message) -> str:
        return str(self._key(message, "")) if self._is_keyed else ""

    def _parts(self, message: Message) -> list:
        parts = parts_of(message)
        parts[0] = self.own(parts[0])
        parts[META] = without(message.meta, *_OWN)
        return parts

    @staticmethod
    def _passed(message: Message) -> Message:
        return message.derive(meta=without(message.meta, *_OWN))

    # -- limits: a series may send when its next time has come; a burst lets it be so much early

    @property
    def _every_s(self) -> float:
        pace_s = self.held.get(_PACE)
        return pace_s if pace_s is not None and self.config.from_message else self.config.per_s / self.config.messages

    def _free_s(self, series: str) -> float:
        """When a series may send next."""
        next_s = self.held.get(_SENT + series)
        return 0.0 if next_s is None else next_s - (self.config.burst - 1) * self._every_s

    def _may_go(self, series: str, now_s: float) -> bool:
        if self._free_s(series) > now_s + EARLY_S:
            return False
        next_s = self.held.get(_SENT + series)
        self.held[_SENT + series] = (max(now_s, next_s) if next_s is not None else now_s) + self._every_s
        if len(self.held) - self._count > self.config.max_held + 2:  # series that have been quiet are as good as new
            for key in [key for key in self.held if key.startswith(_SENT) and self.held[key] < now_s]:
                del self.held[key]
        return True

    # -- what is due

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self.config.mode == "delay":
            self._due.arm()
            return
        if not self._queues:
            self._cancel()
            return
        now_s = self.now_s()
        if self.config.mode == "limit":
            due_s = min(self._free_s(series) for series in self._queues)
        else:
            began_s = self.held.setdefault(_TICK, now_s)
            due_s = began_s + (int((now_s + EARLY_S - began_s) / self._every_s) + 1) * self._every_s
        if self._timer is not None and self._timer_s <= due_s:
            return
        self._cancel()
        self._timer_s = due_s
        self._timer = self.after(max(0.0, due_s - now_s), self._when_due)

    async def _when_due(self):
        self._timer = None
        with self.changing():
            for made in self._released():
                yield made
            self._arm()

    async def _when_delayed(self):
        with self.changing():
            for number in self._due.take():
                yield message_of(self._forget(number))

    def _released(self) -> Iterator[Message]:
        if self.config.mode == "limit":
            for series in list(self._queues):
                while self._queues.get(series) and self._may_go(series, self.now_s()):
                    yield message_of(self._forget(self._queues[series][0]))
        elif self.now_s() + EARLY_S >= self._timer_s:
            turns = list(self._queues) if self.config.mode == "all_at_once" else list(self._queues)[:1]
            for series in turns:
                yield message_of(self._forget(self._queues[series][0]))

    def _flush(self, flush: Any) -> Iterator[Message]:
        most = int(flush) if isinstance(flush, (int, float)) and flush is not True else self._count
        if self.config.mode == "delay":
            order = self._due.in_order()
        else:
            order = [number for numbers in self._queues.values() for number in numbers]
            order.sort()
        for number in order[: max(0, most)]:
            yield message_of(self._forget(number))

    def _forget(self, number: str) -> list:
        entry = self.held.pop(number)
        self._count -= 1
        if self.config.mode == "delay":
            self._due.discard(number)
        else:
            series = entry[SERIES] if self._is_keyed else ""
            self._queues[series].remove(number)
            if not self._queues[series]:
                del self._queues[series]
        return entry[PARTS]

    def _reset(self) -> None:
        self.held.clear()
        self.adopt()
