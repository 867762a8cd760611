import datetime
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import field_validator, model_validator

from flowcore.node import GiveUp, In, Message, Out, Outputs, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.due import Due
from flowcore_nodes.core.holding import PAYLOAD, Holding, HoldingConfig, message_of, parts_of
from flowcore_nodes.core.path_fields import ReadPath
from flowcore_nodes.core.zones import zone

# What is kept of a message that waits.
DUE_S, PARTS = range(2)

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MILLISECONDS_FROM = 1e11  # a number from here on counts milliseconds: as seconds it would be the year 5138


class DelayUntil(Holding):
    """Hold messages until a time of the day, or until the time that is in the message.

    time_of_day: until the next of `times`, on one of the `weekdays`. message: what is at `path`, as seconds or
    milliseconds since 1970 or as ISO 8601 ("2026-03-01T06:30:00+01:00"; without a zone it is in `time_zone`). Times
    follow the zone's clock, over changes to and from summer time. `meta.flush` sends at once what waits, `meta.reset`
    throws it away. What waits survives a kill; what fell due meanwhile is sent at the start.
    """

    type = "core/delay-until"
    title = "Delay until"
    category = "sequence"
    icon = "alarm-clock"

    class Config(HoldingConfig):
        until: Literal["time_of_day", "message"] = field("time_of_day", description="What messages wait for")
        times: list[str] = field(["08:00"], description="time_of_day: HH:MM or HH:MM:SS, in `time_zone`")
        weekdays: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = field(
            list(_DAYS), description="time_of_day: only on these days"
        )
        time_zone: str = field("", description="Zone such as Europe/Berlin; empty: the machine's")
        path: ReadPath = field("payload.time", description="message: where the time is")
        past: Literal["send", "drop", "error"] = field(
            "send", description="message: when its time has passed, send it at once, drop it (second output), or fail"
        )
        when_full: Literal["drop_oldest", "emit"] = field(
            "drop_oldest", description="At max_held: drop the oldest message (second output), or send it at once"
        )

        @field_validator("times")
        @classmethod
        def _are_times(cls, times: list[str]) -> list[str]:
            for text in times:
                _time_of_day(text)
            return times

        @field_validator("time_zone")
        @classmethod
        def _is_zone(cls, name: str) -> str:
            if name:
                zone(name)
            return name

        @model_validator(mode="after")
        def _may_come(self) -> "DelayUntil.Config":
            if self.until == "time_of_day" and not (self.times and self.weekdays):
                raise ValueError("time_of_day needs times and weekdays")
            return self

    in_ = In()
    out = Out(description="the messages, when it is time")
    dropped = Out(description="the messages that are dropped")

    def on_start(self) -> None:
        self._due = Due(self, self._when_due)
        super().on_start()

    def read_config(self) -> None:
        self._path = MessagePath(self.config.path).get
        self._zone = zone(self.config.time_zone) if self.config.time_zone else None
        self._times = sorted(map(_time_of_day, self.config.times))

    def adopt(self) -> None:
        self._due.begin({number: self.held[number][DUE_S] for number in self.numbers()})

    async def on_message(self, message: Message):
        with self.changing():
            if message.meta.get("reset"):
                for number in self.numbers():
                    del self.held[number]
                self.adopt()
                return
            if message.meta.get("flush"):
                for number in self._due.in_order():
                    yield self._sent(number)
                return
            due_s = self._next_s() if self.config.until == "time_of_day" else self._said_s(message)
            if due_s <= self.now_s():
                if self.config.past == "error":
                    raise GiveUp(f"{self.config.path} has passed: it was {self.now_s() - due_s:.1f} s ago")
                yield message.derive() if self.config.past == "send" else Outputs(dropped=message.derive())
                return
            for made in self._make_room():
                yield made
            parts = parts_of(message)
            parts[PAYLOAD] = self.own(parts[PAYLOAD])
            self._due.add(self.put([due_s, parts]), due_s)
            self._due.arm()

    def _make_room(self) -> Iterator[Any]:
        if len(self._due) < self.config.max_held:
            return
        sent = self._sent(next(iter(self._due)))
        if self.config.when_full == "emit":
            yield sent
        else:
            self.count_drop()
            yield Outputs(dropped=sent)

    def _sent(self, number: str) -> Message:
        self._due.discard(number)
        return message_of(self.held.pop(number)[PARTS])

    async def _when_due(self):
        with self.changing():
            for number in self._due.take():
                yield self._sent(number)

    def _next_s(self) -> float:
        now = datetime.datetime.fromtimestamp(self.now_s(), self._zone)
        for days in range(9):
            day = now.date() + datetime.timedelta(days=days)
            if _DAYS[day.weekday()] in self.config.weekdays:
                for time in self._times:
                    at = datetime.datetime.combine(day, time, self._zone) if self._zone else _local(day, time)
                    if at.timestamp() > self.now_s():
                        return at.timestamp()
        raise AssertionError("a week has all weekdays")

    def _said_s(self, message: Message) -> float:
        value = self._path(message)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15:
            return value / 1000 if value >= _MILLISECONDS_FROM else float(value)
        try:
            at = datetime.datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise GiveUp(f"{self.config.path} is no time: {str(value)[:40]!r}; give seconds or ISO 8601") from None
        if at.tzinfo is None and self._zone is not None:
            at = at.replace(tzinfo=self._zone)
        return at.timestamp()


def _local(day: datetime.date, time: datetime.time) -> datetime.datetime:
    return datetime.datetime.combine(day, time)


def _time_of_day(text: str) -> datetime.time:
    try:
        time = datetime.time.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is not None or ":" not in text:
        raise ValueError(f"{text!r} is no time of day: write HH:MM or HH:MM:SS")
    return time
