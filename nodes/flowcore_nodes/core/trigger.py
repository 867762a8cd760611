from collections.abc import Iterator
from typing import Any, Literal

from pydantic import field_validator, model_validator

from flowcore.node import In, Message, Out, Outputs, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.due import Due
from flowcore_nodes.core.holding import PAYLOAD, Holding, HoldingConfig, message_of, parts_of, without
from flowcore_nodes.core.numbers import number_of
from flowcore_nodes.core.path_fields import ReadPathOrEmpty
from flowcore_nodes.core.values import Operand, check_value, reference_kind

# What is kept of a series that was triggered: when something is due (None: it waits for a reset), how often it is sent
# again (repeat), the message that is sent then.
DUE_S, EVERY_S, PARTS = range(3)

_SERIES = "t:"


class Trigger(Holding):
    """Send something when a message comes, wait, then send something else.

    then: after `seconds` the second value is sent; messages that come meanwhile are not passed on, and with `extend`
    each of them lets the time begin anew. Sending nothing at first, with `extend`, makes a watchdog: the second value
    comes when no message has come for `seconds`. until_reset: only the first message does something, until a reset.
    repeat: what is sent is sent again every `seconds`, until a reset or another message. Each series (`key`) is
    triggered by itself.

    `meta.reset`, or a payload equal to `reset_payload`, ends it: for its series, or all when it names none. What is
    under way survives a kill.
    """

    type = "core/trigger"
    title = "Trigger"
    category = "function"
    icon = "timer"
    context = ("flow", "global")

    class Config(HoldingConfig):
        send: Literal["value", "message", "nothing"] = field("value", description="What is sent at once")
        value: Any = field(1, description="The payload that is sent at once, or a reference such as {'$flow': 'key'}")
        mode: Literal["then", "until_reset", "repeat"] = field("then", description="See above")
        seconds: float = field(0.25, gt=0, le=31_536_000, description="How long it waits, in seconds")
        from_message: bool = field(False, description="meta.delay (milliseconds) says how long, where there is one")
        extend: bool = field(False, description="then: each further message lets the time begin anew")
        then: Literal["value", "message", "newest", "nothing"] = field(
            "value", description="What is sent after the time: a value, the first message, the newest, nothing"
        )
        then_value: Any = field(0, description="The payload that is sent then, or a reference")
        second_output: bool = field(False, description="What is sent after the time goes to the second output")
        reset_payload: Any = field(None, description="A message with this payload resets; empty: none does")
        key: ReadPathOrEmpty = field(
            "", description="Path of what tells series apart, such as topic; empty: one series"
        )
        watch_from_start: bool = field(
            False, description="A watchdog that barks even if no message ever comes: it is triggered at the start"
        )
        max_held: int = field(1000, gt=0, le=100_000, description="Most series at a time")
        when_full: Literal["drop_oldest", "emit"] = field(
            "drop_oldest", description="At max_held: forget the oldest series, or send at once what it waits to send"
        )

        @field_validator("value", "then_value")
        @classmethod
        def _is_value(cls, value: Any) -> Any:
            return check_value(value)

        @model_validator(mode="after")
        def _fits(self) -> "Trigger.Config":
            if self.mode != "then" and (self.extend or self.second_output or self.watch_from_start):
                raise ValueError("extend, second_output and watch_from_start are for the mode then")
            if self.mode == "repeat" and self.send == "nothing":
                raise ValueError("repeat needs something to send")
            if self.watch_from_start and self.key:
                raise ValueError("watch_from_start is for one series: key must be empty")
            if self.watch_from_start and reference_kind(self.then_value) in ("$flow", "$global"):
                raise ValueError("with watch_from_start, then_value can't be taken from a context")
            return self

    in_ = In()
    out = Out(description="what is sent at once, and later unless the second output is on")
    later = Out(description="what is sent after the time, with second_output")

    def on_start(self) -> None:
        self._due = Due(self, self._when_due)
        super().on_start()

    def read_config(self) -> None:
        config = self.config
        self._key = MessagePath(config.key).find if config.key else None
        self._at_once, self._afterwards = Operand(self, config.value), Operand(self, config.then_value)

    def adopt(self) -> None:
        if self.config.watch_from_start and _SERIES not in self.held:
            nothing = Message(None)
            if self.config.then == "value" and self._afterwards.read is not None:
                nothing.payload = self._afterwards.read(nothing)
            self.held[_SERIES] = [self.now_s() + self.config.seconds, None, parts_of(nothing)]
        self._series = [name for name in self.held if name.startswith(_SERIES)]
        entries = {name: self.held[name] for name in self._series}
        self._due.begin({name: entry[DUE_S] for name, entry in entries.items() if entry[DUE_S] is not None})

    async def on_message(self, message: Message):
        with self.changing():
            config = self.config
            series = "" if self._key is None else self._key(message)
            if self._is_reset(message):
                is_all = series is None or series == ""
                for name in list(self._series) if is_all else [_SERIES + str(series)]:
                    self._forget(name)
                return
            name = _SERIES + ("" if series is None else str(series))
            entry = self.held.get(name)
            if entry is None or config.mode == "repeat":
                async for made in self._begin(name, message):
                    yield made
            elif config.mode == "then":
                due_s = self.now_s() + self._wait_s(message) if config.extend else entry[DUE_S]
                if config.extend or config.then == "newest":
                    newest = await self._second(message) if config.extend or config.then == "newest" else entry[PARTS]
                    if config.then == "message" and config.extend:
                        newest[PAYLOAD] = entry[PARTS][PAYLOAD]
                    self.held[name] = [due_s, None, newest]
                if config.extend:
                    self._due.add(name, due_s)
            self._due.arm()

    def _is_reset(self, message: Message) -> bool:
        wanted = self.config.reset_payload
        is_payload = wanted is not None and wanted != "" and _same(message.payload, wanted)
        return bool(message.meta.get("reset")) or is_payload

    async def _begin(self, name: str, message: Message):
        config, now_s = self.config, self.now_s()
        if name not in self.held and len(self._series) >= config.max_held:
            for made in self._make_room():
                yield made
        if name not in self.held:
            self._series.append(name)
        wait_s = self._wait_s(message)
        sent = None
        if config.send != "nothing":
            sent = await self._sent(message, config.send, self._at_once)
            yield sent
        if config.mode == "until_reset":
            self.held[name] = [None, None, None]
            return
        if config.mode == "repeat":
            assert sent is not None
            entry = [now_s + wait_s, wait_s, parts_of(sent)]
        else:
            entry = [now_s + wait_s, None, await self._second(message)]
        self.held[name] = entry
        self._due.add(name, now_s + wait_s)

    def _wait_s(self, message: Message) -> float:
        delay_ms = number_of(message.meta.get("delay")) if self.config.from_message else None
        return self.config.seconds if delay_ms is None or delay_ms <= 0 else delay_ms / 1000

    @staticmethod
    async def _sent(message: Message, what: str, value: Operand) -> Message:
        meta = without(message.meta, "delay", "reset")
        return message.derive(meta=meta) if what == "message" else message.derive(await value.fetch(message), meta=meta)

    async def _second(self, message: Message) -> list:
        """What is sent after the time, as an entry can hold it."""
        what = "value" if self.config.then == "value" else "message"
        parts = parts_of(await self._sent(message, what, self._afterwards))
        parts[PAYLOAD] = self.own(parts[PAYLOAD])
        return parts

    def _make_room(self) -> Iterator[Any]:
        oldest = self._series[0]
        entry = self.held[oldest]
        self._forget(oldest)
        if self.config.when_full == "drop_oldest":
            self.count_drop()
        elif entry[PARTS] is not None and entry[EVERY_S] is None and self.config.then != "nothing":
            yield self._later(entry)

    def _forget(self, name: str) -> None:
        if self.held.pop(name, None) is not None:
            self._series.remove(name)
            self._due.discard(name)

    def _later(self, entry: list) -> Any:
        made = message_of(entry[PARTS])
        return Outputs(later=made) if self.config.second_output else made

    async def _when_due(self):
        with self.changing():
            for name in self._due.take():
                entry = self.held[name]
                if entry[EVERY_S] is not None:
                    yield message_of(entry[PARTS])
                    due_s = entry[DUE_S] + entry[EVERY_S]
                    if due_s < self.now_s():  # what was missed is not made up for
                        due_s = self.now_s() + entry[EVERY_S]
                    self.held[name] = [due_s, entry[EVERY_S], entry[PARTS]]
                    self._due.add(name, due_s)
                    continue
                self._forget(name)
                if self.config.then != "nothing":
                    yield self._later(entry)


def _same(payload: Any, wanted: Any) -> bool:
    """Equal, or the same as text: in an editor's form a number is easily given as text."""
    if type(payload) is type(wanted):
        return payload == wanted
    return (
        isinstance(payload, (str, int, float))
        and isinstance(wanted, (str, int, float))
        and _text(payload) == _text(wanted)
    )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
