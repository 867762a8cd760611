from bisect import insort
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import field_validator

from flowcore.node import GiveUp, In, Message, Out, field
from flowcore.node.paths import MessagePath, get_in, parse_path
from flowcore_nodes.core.holding import META, PAYLOAD, Holding, HoldingConfig, message_of, parts_of, without
from flowcore_nodes.core.numbers import number_of
from flowcore_nodes.core.path_fields import WritePath

PARTS, KEY = range(2)


class Sort(Holding):
    """Sort a list, the messages of a sequence, or the last so many messages of a stream.

    list: the list in the payload (or at `path`); `key` is a path inside an item. sequence: the messages with the same
    `meta.parts.id` go out in order when all are there, numbered anew. window: holds the last `size` messages; each
    further one sends the first in order, so that what is at most so much out of order is put right. Numbers sort before
    texts; with `as_number` texts that are numbers count as such, and what is none comes last. Equal ones keep their
    order.

    window: `meta.flush` sends what waits. `meta.reset` throws it away. What waits survives a kill.
    """

    type = "core/sort"
    title = "Sort"
    category = "sequence"
    icon = "arrow-down-up"

    class Config(HoldingConfig):
        by: Literal["list", "sequence", "window"] = field("list", description="What is sorted, see above")
        path: WritePath = field("payload", description="list: where it is")
        key: str = field(
            "",
            description="What is compared. list: path inside an item, empty: the item itself; else path in the message",
        )
        order: Literal["ascending", "descending"] = field("ascending", description="Smallest or largest first")
        as_number: bool = field(False, description="Compare as numbers, texts too")
        size: int = field(10, gt=0, le=100_000, description="window: messages that are held")
        quiet_s: float = field(
            0.0, ge=0, le=31_536_000, description="window: after so many seconds without a message send all; 0: never"
        )
        when_full: Literal["drop_oldest", "emit"] = field(
            "drop_oldest",
            description="sequence, at max_held: drop the oldest message, or send the oldest sequence as it is, sorted",
        )

        @field_validator("key")
        @classmethod
        def _is_path(cls, key: str) -> str:
            if key:
                parse_path(key)
            return key

    in_ = In()
    out = Out()

    def on_start(self) -> None:
        self._timer: Any = None
        super().on_start()

    def read_config(self) -> None:
        config = self.config
        self._sign = -1 if config.order == "descending" else 1
        self._path = MessagePath(config.path)
        self._key = MessagePath(config.key or "payload").get
        self._in_item = parse_path(config.key) if config.key else ()

    def adopt(self) -> None:
        self._groups: dict[str, dict[Any, str]] = {}  # sequence -> index -> number
        self._window: list[tuple] = []  # (rank, number)
        for number in self.numbers():
            entry = self.held[number]
            parts = entry[PARTS][META].get("parts")
            if self.config.by == "sequence" and isinstance(parts, dict):
                self._groups.setdefault(str(parts.get("id")), {})[parts.get("index")] = number
            else:
                self._window.append((*self._rank(entry[KEY]), number))
        self._window.sort()
        self._arm()

    def _rank(self, key: Any) -> tuple:
        """What is compared: numbers, texts, the rest; turned for descending, so that equal ones keep order."""
        if isinstance(key, str) and not self.config.as_number:
            return self._sign, 0, _Text(key, self._sign)
        number = number_of(key)
        return (2, 0, _NO_TEXT) if number is None else (0, self._sign * number, _NO_TEXT)

    async def on_message(self, message: Message):
        if self.config.by == "list":
            yield self._sorted(message)
            return
        with self.changing():
            if message.meta.get("reset"):
                for number in self.numbers():
                    del self.held[number]
                self.adopt()
            elif self.config.by == "sequence":
                for made in self._take_part(message):
                    yield made
            else:
                for made in self._take_newest(message):
                    yield made

    # -- list

    def _sorted(self, message: Message) -> Message:
        items = self._path.get(message)
        if not isinstance(items, (list, tuple)):
            raise GiveUp(f"{self.config.path} must be a list, got {type(items).__name__}")
        made = message.derive()
        self._path.set(made, sorted(items, key=lambda item: self._rank(get_in(item, self._in_item))))
        return made

    # -- sequence

    def _take_part(self, message: Message) -> Iterator[Message]:
        parts = message.meta.get("parts")
        if not isinstance(parts, dict) or "id" not in parts or not isinstance(parts.get("index"), int):
            raise GiveUp("no meta.parts with id and index: a sequence needs them, as a split node makes them")
        key = self._key(message)
        if len(self.held) >= self.config.max_held:
            yield from self._make_room()
        group = self._groups.setdefault(str(parts["id"]), {})
        entry = [self._kept(message), key]
        if parts["index"] in group:
            self.held[group[parts["index"]]] = entry
        else:
            group[parts["index"]] = self.put(entry)
        counts = (self.held[number][PARTS][META]["parts"].get("count") for number in reversed(group.values()))
        count = next((count for count in counts if isinstance(count, int)), None)
        if count is not None and len(group) >= count:
            yield from self._send_group(str(parts["id"]))

    def _kept(self, message: Message) -> list:
        parts = parts_of(message)
        parts[PAYLOAD] = self.own(parts[PAYLOAD])
        return parts

    def _send_group(self, id_: str) -> Iterator[Message]:
        entries = [self.held.pop(number) for number in sorted(self._groups.pop(id_).values())]
        entries.sort(key=lambda entry: self._rank(entry[KEY]))
        for index, (parts, _) in enumerate(entries):
            yield message_of(parts, meta={**parts[META], "parts": {**parts[META]["parts"], "index": index}})

    def _make_room(self) -> Iterator[Message]:
        if self.config.when_full == "emit":
            yield from self._send_group(next(iter(self._groups)))
            return
        oldest = self.numbers()[0]
        id_ = next(id_ for id_, group in self._groups.items() if oldest in group.values())
        self._groups[id_] = {index: number for index, number in self._groups[id_].items() if number != oldest}
        if not self._groups[id_]:
            del self._groups[id_]
        del self.held[oldest]
        self.count_drop()

    # -- window

    def _take_newest(self, message: Message) -> Iterator[Message]:
        is_flush = bool(message.meta.get("flush"))
        if message.payload is not None or not is_flush:
            key = self._key(message)
            kept = self._kept(message)
            kept[META] = without(message.meta, "flush")
            number = self.put([kept, key])
            insort(self._window, (*self._rank(key), number))
        yield from self._sent_first(0 if is_flush else self.config.size)
        self._arm()

    def _sent_first(self, left: int) -> Iterator[Message]:
        while len(self._window) > left:
            yield message_of(self.held.pop(self._window.pop(0)[-1])[PARTS])

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._window and self.config.quiet_s:
            self._timer = self.after(self.config.quiet_s, self._quiet)

    async def _quiet(self):
        with self.changing():
            for made in self._sent_first(0):
                yield made


class _Text:
    """A text that sorts forwards or backwards."""

    __slots__ = ("sign", "text")

    def __init__(self, text: str, sign: int) -> None:
        self.text, self.sign = text, sign

    def __lt__(self, other: "_Text") -> bool:
        return self.text < other.text if self.sign > 0 else other.text < self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Text) and self.text == other.text

    __hash__ = None  # type: ignore[assignment]


_NO_TEXT = _Text("", 1)
