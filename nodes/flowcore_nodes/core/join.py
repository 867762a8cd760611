import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

from pydantic import model_validator

from flowcore.node import GiveUp, In, Message, Out, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.holding import META, PAYLOAD, Holding, HoldingConfig, message_of, parts_of, without
from flowcore_nodes.core.path_fields import ReadPath, ReadPathOrEmpty

# What is kept of a message that waits: its group, when it came, its key, its parts with the value as payload.
GROUP, AT_S, NAME, PARTS = range(4)

_RESULTS = Literal["list", "text", "bytes", "map", "merged", "reduced"]
_REDUCE: dict[str, Callable[[list], Any]] = {
    "sum": sum,
    "product": math.prod,
    "min": min,
    "max": max,
    "avg": lambda values: sum(values) / len(values),
    "count": len,
}
_TOLD = ("parts", "complete", "restartTimeout", "reset")


class Join(Holding):
    """Put the values of several messages together into one.

    Automatic: the messages of a sequence (`meta.parts` with id, index and count, as a split makes them) are joined in
    their order when all are there; the parts of an outer sequence are then those of the result. Manual: after `count`
    messages, after `timeout_s`, or at once with a message that has `meta.complete`. In both `meta.complete` ends what
    waits, `meta.reset` throws it away, `meta.restartTimeout` lets the time begin anew. What waits is kept in the
    node's state: it survives a kill, and the messages it came from are acked.
    """

    type = "core/join"
    title = "Join"
    category = "sequence"
    icon = "merge"

    class Config(HoldingConfig):
        mode: Literal["auto", "manual"] = field("auto", description="By meta.parts, or as set below")
        result: _RESULTS = field(
            "list",
            description="list; text or bytes with `joiner`; map: key and value; merged: all maps in one; reduced: one "
            "number, by `reduce`. In automatic mode a sequence says it itself, but for reduced",
        )
        value: ReadPath = field("payload", description="Path of what is joined: payload, temp_c, topic ...")
        whole: bool = field(False, description="Join whole messages: maps of payload, topic and meta")
        key: ReadPath = field("topic", description="Path of the key, for a map; the newest value of a key counts")
        joiner: str = field("\n", description="What is put between texts, or between bytes as UTF-8")
        reduce: Literal["sum", "product", "min", "max", "avg", "count"] = field(
            "sum", description="reduced: what is made of the numbers"
        )
        count: int = field(
            0,
            ge=0,
            le=100_000,
            description="Manual: after so many messages (keys, for a map); 0: when meta.parts.count says so, or never",
        )
        each: bool = field(
            False, description="Manual, map or merged: once complete, send again at every further message"
        )
        timeout_s: float = field(
            0.0,
            ge=0,
            le=31_536_000,
            description="Send what is there so long after its first message, in seconds; 0: never",
        )
        group: ReadPathOrEmpty = field(
            "", description="Manual: path of what tells groups apart, such as machine; empty: one group"
        )
        when_full: Literal["drop_oldest", "emit"] = field(
            "drop_oldest", description="At max_held: drop the oldest message, or send the oldest group as it is"
        )

        @model_validator(mode="after")
        def _can_end(self) -> "Join.Config":
            if self.count > self.max_held:
                raise ValueError(f"count ({self.count}) must not be more than max_held ({self.max_held})")
            if self.each and self.result not in ("map", "merged"):
                raise ValueError("each is for map and merged")
            if self.whole and self.result in ("text", "bytes", "reduced"):
                raise ValueError("whole messages make a list, a map or are merged")
            return self

    in_ = In()
    out = Out(description="the joined value, with topic and meta of the last message")

    def on_start(self) -> None:
        self._timers: dict[str, Any] = {}
        super().on_start()

    def read_config(self) -> None:
        config = self.config
        self._value, self._name = MessagePath(config.value).get, MessagePath(config.key).find
        self._group = MessagePath(config.group).find if config.group else None
        self._is_keyed = config.result == "map"
        self._is_auto = config.mode == "auto"

    def adopt(self) -> None:
        self._groups: dict[str, dict[Any, str]] = {}  # group -> what tells its parts apart -> number, as they came
        numbers = self.numbers()
        self._count = len(numbers)
        for number in numbers:
            entry = self.held[number]
            self._groups.setdefault(entry[GROUP], {})[self._slot(entry, number)] = number
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for group, slots in self._groups.items():
            entries = [self.held[number] for number in slots.values()]
            restarts = [entry[AT_S] for entry in entries if "restartTimeout" in entry[PARTS][META]]
            self._arm(group, max(restarts, default=entries[0][AT_S]))

    def _slot(self, entry: list, number: str) -> Any:
        """What a later message with the same replaces this one; its own number when nothing does."""
        if self._is_auto:
            return _sequence(entry).get("index", number)
        return entry[NAME] if self._is_keyed else number

    def _arm(self, group: str, since_s: float) -> None:
        if self.config.timeout_s and group not in self._timers:
            wait_s = since_s + self.config.timeout_s - self.now_s()
            self._timers[group] = self.after(max(0.0, wait_s), self._time_out, group)

    async def on_message(self, message: Message):
        with self.changing():
            ends, is_reset = bool(message.meta.get("complete")), bool(message.meta.get("reset"))
            is_empty = message.payload is None and (ends or is_reset)  # it only says what is to be done
            sequence = message.meta.get("parts") if self._is_auto else None
            if self._is_auto and not self._is_sequence(sequence):
                if not is_empty:
                    raise GiveUp(
                        "no meta.parts with id and index: an automatic join needs them, as a split node makes them"
                    )
                groups = list(self._groups)  # all
            else:
                groups = [self._group_of(message, sequence)]
            if is_reset:
                for group in groups:
                    self._forget(group)
                return
            if not is_empty:
                entry = self._entry(message, groups[0])
                if self._count >= self.config.max_held:
                    for made in self._make_room():
                        yield made
                self._hold(entry)
            for group in groups:
                if group in self._groups and (ends or self._is_complete(group)):
                    yield self._made(group, message)
                    if not self.config.each or ends:
                        self._forget(group)

    @staticmethod
    def _is_sequence(parts: Any) -> bool:
        return isinstance(parts, dict) and "id" in parts and isinstance(parts.get("index"), int)

    def _group_of(self, message: Message, sequence: Any) -> str:
        if self._is_auto:
            return str(sequence["id"])
        return "" if self._group is None else str(self._group(message, ""))

    def _entry(self, message: Message, group: str) -> list:
        config = self.config
        if config.whole:
            value: Any = {"payload": message.payload, "topic": message.topic, "meta": message.meta}
        else:
            value = self.own(self._value(message))
        parts = parts_of(message)
        parts[PAYLOAD] = value
        sequence = message.meta["parts"] if self._is_auto else {}
        name = sequence.get("key") if self._is_auto else self._name(message) if self._is_keyed else None
        kind = self._kind(sequence)
        if kind == "map" and (name is None or name == "" or isinstance(name, (list, dict))):
            raise GiveUp(f"no key for the map at {config.key!r}")
        if kind == "merged" and not isinstance(value, dict):
            raise GiveUp(f"only maps can be merged, got {type(value).__name__}")
        if kind == "bytes" and not isinstance(value, (bytes, str)):
            raise GiveUp(f"only bytes and texts can be joined to bytes, got {type(value).__name__}")
        if kind == "reduced" and config.reduce != "count" and type(value) not in (int, float):
            raise GiveUp(f"only numbers can be reduced, got {type(value).__name__}")
        return [group, self.now_s(), name, parts]

    def _kind(self, sequence: dict) -> str:
        kind = sequence.get("type")
        if self.config.result == "reduced" or kind not in ("list", "text", "bytes", "map", "merged"):
            return self.config.result
        return kind

    def _hold(self, entry: list) -> None:
        group = entry[GROUP]
        number = self.put(entry)
        slots = self._groups.setdefault(group, {})
        slot = self._slot(entry, number)
        replaced = slots.get(slot)
        if replaced is not None:
            self.held[replaced] = [group, self.held[replaced][AT_S], *entry[NAME:]]
            del self.held[number]
        else:
            slots[slot] = number
            self._count += 1
        if "restartTimeout" in entry[PARTS][META]:
            self._disarm(group)
        self._arm(group, entry[AT_S])

    def _is_complete(self, group: str) -> bool:
        slots = self._groups[group]
        if not self._is_auto and self.config.count:
            return len(slots) >= self.config.count
        counts = (_sequence(self.held[number]).get("count") for number in reversed(slots.values()))
        total = next((count for count in counts if isinstance(count, int)), None)
        return total is not None and len(slots) >= total

    def _made(self, group: str, message: Message | None) -> Message:
        """The joined message; like the one that came last, which is `message` when there is one."""
        entries = [self.held[number] for number in self._groups[group].values()]
        last = entries[-1][PARTS]
        sequence = _sequence(entries[-1]) if self._is_auto else {}
        if self._is_auto:
            entries.sort(key=lambda entry: _sequence(entry)["index"])
        meta = without(last[META] if message is None else message.meta, *_TOLD)
        if "parts" in sequence:  # of the sequence that this one was a part of
            meta["parts"] = sequence["parts"]
        value = self._joined(self._kind(sequence), entries, sequence)
        if message is None or message.payload is None:  # what only says that it is complete has no topic to give
            return message_of(last, value, meta)
        return message.derive(value, meta=meta)

    def _joined(self, kind: str, entries: list[list], sequence: dict) -> Any:
        values = [entry[PARTS][PAYLOAD] for entry in entries]
        if kind == "map":
            return {entry[NAME]: value for entry, value in zip(entries, values, strict=True)}
        if kind == "merged":
            return {key: value for mapped in values for key, value in mapped.items()}
        if kind == "reduced":
            return _REDUCE[self.config.reduce](values)
        if kind in ("text", "bytes"):
            # Between bytes comes only what somebody has asked for.
            is_asked_for = self._is_auto or kind == "text" or "joiner" in self.config.model_fields_set
            joiner = sequence.get("joiner", self.config.joiner if is_asked_for else "")
            if kind == "bytes":
                return _as_bytes(joiner).join(map(_as_bytes, values))
            joiner = joiner.decode(errors="replace") if isinstance(joiner, bytes) else str(joiner)
            return joiner.join(map(_as_text, values))
        if sequence.get("len", 1) != 1:  # parts that are lists themselves
            return [item for value in values for item in (value if isinstance(value, list) else [value])]
        return values

    def _forget(self, group: str) -> None:
        for number in self._groups.pop(group, {}).values():
            del self.held[number]
            self._count -= 1
        self._disarm(group)

    def _disarm(self, group: str) -> None:
        timer = self._timers.pop(group, None)
        if timer is not None:
            timer.cancel()

    def _make_room(self) -> Iterator[Message]:
        if self.config.when_full == "emit":
            oldest = next(iter(self._groups))
            yield self._made(oldest, None)
            self._forget(oldest)
            return
        number = min(next(iter(slots.values())) for slots in self._groups.values())
        group = self.held[number][GROUP]
        slots = self._groups[group]
        del slots[next(slot for slot, held in slots.items() if held == number)]
        if not slots:
            self._forget(group)
        del self.held[number]
        self._count -= 1
        self.count_drop()

    async def _time_out(self, group: str):
        self._timers.pop(group, None)
        with self.changing():
            if group in self._groups:
                yield self._made(group, None)
                self._forget(group)


def _sequence(entry: list) -> dict:
    """The `meta.parts` of the message that an entry was made of."""
    parts = entry[PARTS][META].get("parts")
    return parts if isinstance(parts, dict) else {}


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _as_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else value
