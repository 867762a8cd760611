"""What nodes share that hold messages back: where these wait, how many may, and what is left after a kill.

What waits is an *entry*, a list that the node makes, under a rising number. Entries are in the node's state, so that
the messages they came from are acked and a kill loses none; with `"hold": "memory"` in a map of the process. What a
node knows besides (groups, timers) it works out of the entries: at the start, and again when a handler did not come to
its end, because then its changes of the state were undone.
"""

import contextlib
from collections.abc import Iterator, MutableMapping
from typing import Any, Literal

from flowcore.node import Message, Node, NodeConfig, Tensor, field

# The parts of a message, as `parts_of` keeps them.
PAYLOAD, TOPIC, META, TRACE, ORIGIN, ID, DEADLINE = range(7)

_MIDDLE = 10**12  # numbers rise from here; what is put to the front gets lower ones


def parts_of(message: Message) -> list:
    """A message as an entry can hold it."""
    return [
        message.payload, message.topic, message.meta, message.trace, message.origin_ns, message.id or message.parent,
        message.deadline_ns,
    ]  # fmt: skip


def message_of(parts: list, payload: Any = ..., meta: dict | None = None) -> Message:
    """The message again, to be sent: it goes on with the trace and origin it came with."""
    return Message(
        parts[PAYLOAD] if payload is ... else payload,
        parts[TOPIC],
        parts[META] if meta is None else meta,
        envelope={"trace": parts[TRACE], "origin": parts[ORIGIN]},
        id=parts[ID],
        deadline_ns=parts[DEADLINE],
    )


def without(meta: dict, *names: str) -> dict:
    """Meta for what is sent, without what was said to this node."""
    return {key: value for key, value in meta.items() if key not in names}


class HoldingConfig(NodeConfig):
    """The settings that all holding nodes have."""

    max_held: int = field(1000, gt=0, le=100_000, description="Most messages that wait at a time")
    hold: Literal["state", "memory"] = field(
        "state",
        description="Where messages wait; memory is faster, and kill -9 or a restart loses what waits there",
    )


class Holding(Node):
    """A node that holds messages; a class gives `adopt`, and opens its handlers with `self.changing()`."""

    stateful = True

    def on_start(self) -> None:
        self._memory: dict[str, Any] = {}
        self.held: MutableMapping[str, Any] = self._memory  # number -> entry, rising; other keys are the node's own
        self._last, self._first = _MIDDLE, _MIDDLE + 1
        self._dropped = 0
        self._is_whole = False
        self.read_config()

    def on_go(self) -> None:
        self._load()

    def on_reconfigure(self, old: Any) -> None:
        self.read_config()
        self._load()

    def read_config(self) -> None:
        """Make of the config what the handlers use."""

    def adopt(self) -> None:
        """Work out of `held` what the node knows besides; timers that run are to be cancelled first."""

    def _load(self) -> None:
        stores = (self.state, self._memory)
        self.held, other = stores if self.config.hold == "state" else stores[::-1]
        for key in list(other):  # `hold` was changed
            self.held[key] = other.pop(key)
        numbers = [int(key) for key in self.held if key.isdigit()]
        self._last, self._first = max(numbers, default=_MIDDLE), min(numbers, default=_MIDDLE + 1)
        self.adopt()
        self._is_whole = True

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Around all that a handler does: if it is left early, the next one begins with what is stored."""
        if not self._is_whole:
            self._load()
        self._is_whole = False
        yield
        self._is_whole = True

    def numbers(self) -> list[str]:
        """The numbers of all entries, rising."""
        return sorted(key for key in self.held if key.isdigit())

    def put(self, entry: list, *, at_front: bool = False) -> str:
        """Hold an entry behind all others, or before them; returns its number."""
        if at_front:
            self._first -= 1
        else:
            self._last += 1
        number = f"{self._first if at_front else self._last:016d}"
        self.held[number] = entry
        return number

    def own(self, value: Any) -> Any:
        """A value that may wait: a tensor in memory is kept, or copied when its maker is short of slots.

        The state copies by itself.
        """
        if self.config.hold == "memory" and isinstance(value, Tensor):
            return value.copy() if value.is_scarce else value.keep()
        return value

    def count_drop(self, count: int = 1) -> None:
        """Messages were dropped for want of room: show it."""
        self._dropped += count
        self.set_status(f"{self._dropped} dropped: more than {self.config.max_held} waited", "warn")
