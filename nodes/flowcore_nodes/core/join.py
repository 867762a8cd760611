from collections.abc import MutableMapping
from typing import Any, Literal

from pydantic import field_validator, model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Tensor, field
from flowcore.node.paths import MessagePath

# What is kept of a message that waits, under a rising number.
GROUP, AT_S, VALUE, NAME, TOPIC, PARTS = range(6)

_RESULTS = Literal["list", "text", "bytes", "map", "merged"]


class Join(Node):
    """Put the values of several messages together into one.

    Automatic: the messages of a sequence (`meta.parts` with id, index and count, as a split makes them) are joined in
    their order when all are there. Manual: after `count` messages, after `timeout_s`, or at once with a message that
    has `meta.complete`; `meta.reset` throws away what waits. What waits is kept in the node's state: it survives a
    kill, and the messages it came from are acked.
    """

    type = "core/join"
    title = "Join"
    category = "core"
    icon = "merge"
    stateful = True

    class Config(NodeConfig):
        mode: Literal["auto", "manual"] = field("auto", description="By meta.parts, or as set below")
        result: _RESULTS = field(
            "list",
            description="list; text with `joiner`; bytes; map: key and value; merged: all maps in one. In automatic "
            "mode only for sequences that do not say it themselves",
        )
        value: str = field("payload", description="Path of what is joined: payload, temp_c, topic ...")
        key: str = field("topic", description="Path of the key, for a map; the newest value of a key counts")
        joiner: str = field("\n", description="What is put between texts")
        count: int = field(
            0, ge=0, le=100_000, description="Manual: after so many messages (keys, for a map); 0: no count"
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
        group: str = field("", description="Manual: path of what tells groups apart, such as machine; empty: one group")
        max_held: int = field(1000, gt=0, le=100_000, description="Most messages that wait, of all groups together")
        when_full: Literal["drop_oldest", "emit"] = field(
            "drop_oldest", description="At max_held: drop the oldest message, or send the oldest group as it is"
        )

        hold: Literal["state", "memory"] = field(
            "state",
            description="Where messages wait; memory is faster, and kill -9 or a restart loses what waits there",
        )

        @field_validator("value", "key", "group")
        @classmethod
        def _is_path(cls, path: str) -> str:
            if path:
                MessagePath(path)
            return path

        @model_validator(mode="after")
        def _can_end(self) -> "Join.Config":
            if self.count > self.max_held:
                raise ValueError(f"count ({self.count}) must not be more than max_held ({self.max_held})")
            if self.each and self.result not in ("map", "merged"):
                raise ValueError("each is for map and merged")
            return self

    in_ = In()
    out = Out(description="the joined value, with topic and meta of the last message")

    def on_start(self) -> None:
        self._dropped = 0
        self._memory: dict[str, Any] = {}
        self._store: MutableMapping[str, Any] = self._memory
        self._groups: dict[str, dict[Any, str]] = {}  # group -> name of a part -> its key in the store; from the store
        self._held = -1
        self._timers: dict[str, Any] = {}
        self._read_config()
        self.after(0, self._adopt)

    def on_reconfigure(self, old: Any) -> None:
        self._held = -1  # read the store again, with the next message or at once, whichever is first
        self._read_config()
        self.after(0, self._adopt)

    def _read_config(self) -> None:
        self._value, self._name = MessagePath(self.config.value).get, MessagePath(self.config.key).find
        self._group = MessagePath(self.config.group).find if self.config.group else None
        self._is_keyed = self.config.result == "map"

    async def _adopt(self) -> None:
        """Read from the store what waits, and wait on for its time-outs."""
        stores = (self.state, self._memory)
        self._store, other = stores if self.config.hold == "state" else stores[::-1]
        for number in list(other):  # `hold` was changed
            self._store[number] = other.pop(number)
        self._groups, self._held, self._last = {}, len(self._store), 0
        for number in sorted(self._store):
            entry = self._store[number]
            self._groups.setdefault(entry[GROUP], {})[self._slot(entry, number)] = number
            self._last = int(number)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for group, numbers in self._groups.items():
            self._arm(group, self._store[next(iter(numbers.values()))][AT_S])

    def _slot(self, entry: list, number: str) -> Any:
        """What a later message with the same replaces this one; its own number when nothing does."""
        if entry[PARTS] is not None:
            return entry[PARTS].get("index")
        return entry[NAME] if self._is_keyed else number

    def _arm(self, group: str, since_s: float) -> None:
        if self.config.timeout_s and group not in self._timers:
            wait_s = since_s + self.config.timeout_s - self.now_s()
            self._timers[group] = self.after(max(0.0, wait_s), self._time_out, group)

    async def on_message(self, message: Message):
        if self._held != len(self._store):  # the first message, or what a failed handler had changed was undone
            await self._adopt()
        parts = self._parts(message) if self.config.mode == "auto" else None
        group = self._group_of(message, parts)
        if message.meta.get("reset"):
            self._forget(group)
            return
        ends = bool(message.meta.get("complete"))
        if message.payload is not None or not ends:  # an empty message may only say that it is complete
            entry = self._entry(message, group, parts)
            if self._held >= self.config.max_held:
                async for made in self._make_room():
                    yield made
            self._hold(entry)
        if group not in self._groups or not (ends or self._is_complete(group)):
            return
        meta = {key: value for key, value in message.meta.items() if key not in ("parts", "complete")}
        yield message.derive(self._joined(group), meta=meta)
        if not self.config.each or ends:
            self._forget(group)

    def _parts(self, message: Message) -> dict:
        parts = message.meta.get("parts")
        if not isinstance(parts, dict) or "id" not in parts or not isinstance(parts.get("index"), int):
            raise GiveUp("no meta.parts with id and index: an automatic join needs them, as a split node makes them")
        return parts

    def _group_of(self, message: Message, parts: dict | None) -> str:
        if parts is not None:
            return str(parts["id"])
        return "" if self._group is None else str(self._group(message, ""))

    def _entry(self, message: Message, group: str, parts: dict | None) -> list:
        value = self._value(message)
        name = parts.get("key") if parts is not None else self._name(message) if self._is_keyed else None
        kind = self._kind(parts)
        if kind == "map" and (name is None or name == "" or isinstance(name, (list, dict))):
            raise GiveUp(f"no key for the map at {self.config.key!r}")
        if kind == "merged" and not isinstance(value, dict):
            raise GiveUp(f"only maps can be merged, got {type(value).__name__}")
        if kind == "bytes" and not isinstance(value, (bytes, str)):
            raise GiveUp(f"only bytes and texts can be joined to bytes, got {type(value).__name__}")
        if self.config.hold == "memory" and isinstance(value, Tensor):  # the state has copies by itself
            value = value.copy() if value.is_scarce else value.keep()
        return [group, self.now_s(), value, name, message.topic, parts]

    def _kind(self, parts: dict | None) -> str:
        kind = parts.get("type") if parts is not None else None
        return kind if kind in ("list", "text", "bytes", "map", "merged") else self.config.result

    def _hold(self, entry: list) -> None:
        number = f"{self._last + 1:016d}"
        slots = self._groups.get(entry[GROUP], {})
        slot = self._slot(entry, number)
        replaced = slots.get(slot)
        if replaced is not None:
            self._store[replaced] = [entry[GROUP], self._store[replaced][AT_S], *entry[VALUE:]]
            return
        self._store[number] = entry
        self._last += 1
        self._held += 1
        self._groups.setdefault(entry[GROUP], slots)[slot] = number
        self._arm(entry[GROUP], entry[AT_S])

    def _is_complete(self, group: str) -> bool:
        held = self._groups[group]
        if self.config.mode == "manual":
            return 0 < self.config.count <= len(held)
        counts = (self._store[number][PARTS].get("count") for number in reversed(held.values()))
        total = next((count for count in counts if isinstance(count, int)), None)
        return total is not None and len(held) >= total

    def _joined(self, group: str) -> Any:
        entries = [self._store[number] for number in self._groups[group].values()]
        parts = entries[-1][PARTS]
        if parts is not None:
            entries.sort(key=lambda entry: entry[PARTS]["index"])
        kind, values = self._kind(parts), [entry[VALUE] for entry in entries]
        if kind == "map":
            return {entry[NAME]: entry[VALUE] for entry in entries}
        if kind == "merged":
            return {key: value for mapped in values for key, value in mapped.items()}
        if kind == "bytes":
            return b"".join(value.encode() if isinstance(value, str) else value for value in values)
        if kind == "text":
            joiner = parts.get("joiner", self.config.joiner) if parts is not None else self.config.joiner
            return joiner.join(value if isinstance(value, str) else str(value) for value in values)
        return values

    def _forget(self, group: str) -> None:
        for number in self._groups.pop(group, {}).values():
            del self._store[number]
            self._held -= 1
        timer = self._timers.pop(group, None)
        if timer is not None:
            timer.cancel()

    async def _make_room(self):
        if self.config.when_full == "emit":
            oldest = next(iter(self._groups))
            yield self._unfinished(oldest)
            return
        number = min(self._store)
        group = self._store[number][GROUP]
        slots = self._groups[group]
        del slots[next(slot for slot, held in slots.items() if held == number)]
        if not slots:
            self._forget(group)
        del self._store[number]
        self._held -= 1
        self._dropped += 1
        self.set_status(f"{self._dropped} dropped: more than {self.config.max_held} waited", "warn")

    def _unfinished(self, group: str) -> Message:
        last = self._store[list(self._groups[group].values())[-1]]
        made = Message(self._joined(group), last[TOPIC])
        self._forget(group)
        return made

    async def _time_out(self, group: str) -> Message | None:
        self._timers.pop(group, None)
        if self._held != len(self._store):
            await self._adopt()
        return self._unfinished(group) if group in self._groups else None
