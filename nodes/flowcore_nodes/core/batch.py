from collections.abc import Iterator
from typing import Any, Literal

from pydantic import model_validator

from flowcore.node import GiveUp, In, Message, Out, field
from flowcore_nodes.core.holding import META, PAYLOAD, TOPIC, Holding, HoldingConfig, message_of, parts_of, without

_EARLY_S = 0.002
_SINCE = "since"  # state: when the intervals began


class Batch(Holding):
    """Make sequences of messages: so many, those of an interval, or several sequences one after the other.

    count: every `count` messages, of which the last `overlap` begin the next sequence too. interval: what came in each
    `seconds`. concatenate: the sequences (`meta.parts`) of the `topics`, when there is a whole one of each, in that
    order. The messages go out one after the other with `meta.parts`, so that a join in automatic mode makes one of
    them, or as one message with the list of their payloads. `meta.reset` throws away what waits. What waits survives a
    kill.
    """

    type = "core/batch"
    title = "Batch"
    category = "sequence"
    icon = "layers"

    class Config(HoldingConfig):
        mode: Literal["count", "interval", "concatenate"] = field("count", description="See above")
        count: int = field(10, gt=0, le=100_000, description="count: messages in a sequence")
        overlap: int = field(0, ge=0, description="count: messages at a sequence's end that begin the next one, too")
        honour_parts: bool = field(
            False, description="count: the last message of a sequence (meta.parts) ends this one, however few there are"
        )
        seconds: float = field(10.0, gt=0, le=31_536_000, description="interval: its length, in seconds")
        empty: bool = field(False, description="interval: when nothing came, send a message without a payload")
        topics: list[str] = field([], description="concatenate: topics of the sequences, in the order they are sent")
        result: Literal["messages", "list"] = field(
            "messages", description="The messages with meta.parts, or one message with the list of their payloads"
        )
        when_full: Literal["drop_oldest", "emit"] = field(
            "drop_oldest", description="At max_held: drop the oldest message, or send what waits as a sequence"
        )

        @model_validator(mode="after")
        def _fits(self) -> "Batch.Config":
            if self.mode == "count" and self.count > self.max_held:
                raise ValueError(f"count ({self.count}) must not be more than max_held ({self.max_held})")
            if self.overlap >= self.count:
                raise ValueError(f"overlap ({self.overlap}) must be less than count ({self.count})")
            if self.mode == "concatenate" and (not self.topics or len(set(self.topics)) < len(self.topics)):
                raise ValueError("concatenate needs topics, each once")
            return self

    in_ = In()
    out = Out()

    def on_start(self) -> None:
        self._timer: Any = None
        super().on_start()

    def adopt(self) -> None:
        self._waiting = self.numbers()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.config.mode == "interval":
            self.held.setdefault(_SINCE, self.now_s())
            self._arm()

    async def on_message(self, message: Message):
        with self.changing():
            if message.meta.get("reset"):
                self._forget(self._waiting)
                if self.config.mode == "interval":
                    self.held[_SINCE] = self.now_s()
                    self.adopt()
                return
            if self.config.mode == "concatenate":
                self._check_part(message)
            if len(self._waiting) >= self.config.max_held:
                for made in self._make_room():
                    yield made
            parts = parts_of(message)
            parts[PAYLOAD] = self.own(parts[PAYLOAD])
            self._waiting.append(self.put(parts))
            for made in self._complete(message):
                yield made

    def _check_part(self, message: Message) -> None:
        if message.topic not in self.config.topics:
            raise GiveUp(f"topic {message.topic!r} is not one of topics: {', '.join(self.config.topics)}")
        parts = message.meta.get("parts")
        if not isinstance(parts, dict) or not {"id", "index", "count"} <= parts.keys():
            raise GiveUp("no meta.parts with id, index and count: sequences are concatenated, as a split makes them")

    def _complete(self, message: Message) -> Iterator[Message]:
        config = self.config
        if config.mode == "concatenate":
            numbers = self._sequences()
            if numbers:
                yield from self._made(numbers)
                self._forget(numbers)
        elif config.mode == "count":
            parts = message.meta.get("parts")
            is_last = (
                config.honour_parts and isinstance(parts, dict) and "count" in parts
                and parts.get("index") == parts["count"] - 1
            )  # fmt: skip
            if len(self._waiting) >= config.count or is_last:
                yield from self._made(self._waiting)
                keep = 0 if is_last else config.overlap
                self._forget(self._waiting[: len(self._waiting) - keep])

    def _sequences(self) -> list[str]:
        """The oldest whole sequence of each topic; nothing, while one has none."""
        found: list[str] = []
        for topic in self.config.topics:
            groups: dict[str, dict[int, str]] = {}
            for number in self._waiting:
                entry = self.held[number]
                if entry[TOPIC] == topic:
                    parts = entry[META]["parts"]
                    groups.setdefault(str(parts["id"]), {})[parts["index"]] = number
                    if len(groups[str(parts["id"])]) >= parts["count"]:
                        break
            else:
                return []
            found += [number for _, number in sorted(groups[str(parts["id"])].items())]
        return found

    def _made(self, numbers: list[str]) -> Iterator[Message]:
        if not numbers:
            yield Message(None, meta={"parts": {"id": self._new_id(), "index": 0, "count": 1}})
            return
        entries = [self.held[number] for number in numbers]
        if self.config.result == "list":
            yield message_of(
                entries[-1], [entry[PAYLOAD] for entry in entries], without(entries[-1][META], "parts", "reset")
            )
            return
        about = {"id": self._new_id(), "count": len(entries)}
        for index, entry in enumerate(entries):
            yield message_of(entry, meta={**entry[META], "parts": {**about, "index": index}})

    def _new_id(self) -> str:
        """One of its own for each sequence, the same when it is made again after a kill."""
        n = self.held["n"] = self.held.get("n", 0) + 1
        return f"{self.flow}.{self.id}:{n}"

    def _make_room(self) -> Iterator[Message]:
        if self.config.when_full == "emit":
            yield from self._made(self._waiting)
            self._forget(self._waiting)
        else:
            self._forget(self._waiting[:1])
            self.count_drop()

    def _forget(self, numbers: list[str]) -> None:
        gone = set(numbers)
        for number in gone:
            del self.held[number]
        self._waiting = [number for number in self._waiting if number not in gone]

    def _arm(self) -> None:
        since_s, now_s, length_s = self.held[_SINCE], self.now_s(), self.config.seconds
        oldest = self._waiting and now_s - since_s > length_s  # it is overdue: the node was down when it ended
        next_s = now_s if oldest else since_s + length_s
        self._timer = self.after(max(0.0, next_s - now_s), self._ended)

    async def _ended(self):
        with self.changing():
            length_s, now_s = self.config.seconds, self.now_s() + _EARLY_S
            since_s = self.held[_SINCE]
            self.held[_SINCE] = since_s + max(1, (now_s - since_s) // length_s) * length_s
            self._timer = self.after(max(0.0, self.held[_SINCE] + length_s - self.now_s()), self._ended)
            if self._waiting or self.config.empty:
                for made in self._made(self._waiting):
                    yield made
                self._forget(self._waiting)
