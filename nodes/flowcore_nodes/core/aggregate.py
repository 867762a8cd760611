import math
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import field_validator, model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core import accumulator
from flowcore_nodes.core.accumulator import COUNT, EMPTY, FUNCTIONS, OF_NUMBERS, VALUES, Accumulator

_Function = Literal["avg", "min", "max", "sum", "count", "stddev", "median", "first", "last"]


class Aggregate(Node):
    """Average, minimum, maximum, sum, count ... of the values in a window of time or of messages.

    A tumbling window ends where the next one begins; a sliding one looks back over `size` at each `slide`. Windows of
    time are aligned to the clock (a minute begins at second 0) and sent when they end, message or no message; empty
    ones are not sent. With a key each series has windows of its own. NaN and infinity are left out and counted as
    `ignored`; a value that is no number is an error. What a window holds survives a kill of the node.
    """

    type = "core/aggregate"
    title = "Aggregate"
    category = "function"
    icon = "sigma"
    stateful = True

    class Config(NodeConfig):
        functions: list[_Function] = field(["avg", "min", "max"], description="What is computed; count is always there")
        window: Literal["tumbling", "sliding"] = field("tumbling", description="Windows side by side, or overlapping")
        by: Literal["time", "count"] = field("time", description="Windows of time or of a number of messages")
        size: float = field(60.0, gt=0, le=31_536_000, description="Length of a window, in seconds or messages")
        slide: float = field(
            0.0, ge=0, description="How often a sliding window is sent, in seconds or messages; size must be a multiple"
        )
        key: str = field("", description="Path of what tells series apart, such as machine or topic; empty: one series")
        max_keys: int = field(1000, gt=0, le=100_000, description="Most series at a time; a further one is an error")
        idle_s: float = field(
            0.0, ge=0, description="Windows of messages: sent as they are after so many seconds without one; 0: never"
        )
        max_values: int = field(
            10_000, gt=0, le=100_000, description="Most values a window keeps for the median; more are an error"
        )
        # last in the class, because it hides the function of that name
        field: str = field("payload", description="Path of the number: payload, temp_c, payload.temp_c ...")

        @field_validator("field", "key")
        @classmethod
        def _is_path(cls, path: str) -> str:
            if path:
                MessagePath(path)
            return path

        @model_validator(mode="after")
        def _windows_fit(self) -> "Aggregate.Config":
            if self.window == "tumbling" and self.slide not in (0, self.size):
                raise ValueError("slide is for sliding windows")
            if self.window == "sliding" and not self.slide:
                raise ValueError("a sliding window needs slide")
            panes = self.size / (self.slide or self.size)
            if abs(panes - round(panes)) > 1e-9 or not 1 <= round(panes) <= 1000:
                raise ValueError(f"size must be 1 to 1000 times slide, is {panes:g} times")
            if self.by == "count" and (self.size % 1 or self.slide % 1):
                raise ValueError("size and slide must be whole numbers of messages")
            if self.by == "time" and (self.slide or self.size) < 0.01:
                raise ValueError("the shortest window is 0.01 s")
            return self

    in_ = In(description="a number, or a map that holds one")
    out = Out(dict, "key, from_s, to_s, count and the functions asked for")

    # self.state holds for each series `s:<key>` = [label, number of the open pane, its accumulator], and for each
    # closed pane that a sliding window still needs `p:<number>:<key>` = its accumulator.

    def on_start(self) -> None:
        self._read_config()
        self._keys: dict[str, None] | None = None  # of the series; the state is there from the first handler on
        self._timer: Any = None
        self._arm()

    def on_reconfigure(self, old: Any) -> None:
        self._read_config()
        self._keys = None
        if self._timer is not None:
            self._timer.cancel()
        self._arm()

    def _read_config(self) -> None:
        config = self.config
        self._number = MessagePath(config.field).get
        self._key = MessagePath(config.key).get if config.key else None
        self._is_time = config.by == "time"
        self._pane_size = config.slide or config.size
        self._panes = round(config.size / self._pane_size)
        self._wants_numbers = bool(OF_NUMBERS & set(config.functions))
        self._wants_values = "median" in config.functions

    def _adopt(self) -> dict[str, None]:
        """Take over what the state holds; when the windows have changed, all of it goes into the open pane."""
        shape = [self.config.by, self.config.size, self._pane_size, self.config.field, self.config.key]
        heads = {name[2:]: head for name, head in self.state.items() if name.startswith("s:")}
        if self.state.get("shape") != shape:
            closed: dict[str, list[int]] = {}
            for name in self.state:
                if name.startswith("p:"):
                    _, pane, key = name.split(":", 2)
                    closed.setdefault(key, []).append(int(pane))
            for key, (label, _, open_pane) in heads.items():
                parts = [self.state.pop(f"p:{number}:{key}") for number in sorted(closed.get(key, ()))]
                number = self._pane_now() if self._is_time else 0
                self.state["s:" + key] = [label, number, accumulator.merge([*parts, open_pane])]
            self.state["shape"] = shape
        self._keys = dict.fromkeys(heads)
        return self._keys

    def _pane_now(self) -> int:
        return math.floor(self.now_s() / self._pane_size + 1e-9)

    def _arm(self) -> None:
        """The timer that ends windows when no message does."""
        if self._is_time:
            wait_s = (self._pane_now() + 1) * self._pane_size - self.now_s()
        elif self.config.idle_s:
            wait_s = max(self.config.idle_s / 4, 0.05)
        else:
            self._timer = None
            return
        self._timer = self.after(max(wait_s, 0.001), self._tick)

    async def _tick(self):
        self._arm()
        now_s, pane = self.now_s(), self._pane_now()
        keys = self._adopt() if self._keys is None else self._keys
        for key in list(keys):
            if "s:" + key not in self.state:
                del keys[key]  # forgotten before this tick, and that was stored
                continue
            if self._is_time:
                for result in self._end_panes(key, pane):
                    yield Message(result, topic=self._topic(result))
            elif (unfinished := self._end_idle(key, now_s)) is not None:
                yield Message(unfinished, topic=self._topic(unfinished))

    async def on_message(self, message: Message):
        value = self._number(message)
        if self._wants_numbers and type(value) is not float and type(value) is not int:
            raise GiveUp(f"{self.config.field} must be a number, got {type(value).__name__} {str(value)[:40]!r}")
        label = self._key(message) if self._key else ""
        key = label if type(label) is str else str(label)
        now_s = self.now_s()
        if self._keys is None:
            self._adopt()
        head = self.state.get("s:" + key)
        if head is None:
            head = self._begin(key, label)
        elif self._is_time and head[1] < (pane := self._pane_now()):
            for result in self._end_panes(key, pane):
                yield message.derive(result, topic=self._topic(result), meta={})
            head = self.state.get("s:" + key) or self._begin(key, label)
        if type(value) is float and not math.isfinite(value):
            self.state["s:" + key] = [head[0], head[1], accumulator.ignore(head[2])]
            return
        if self._wants_values and len(head[2][VALUES] or ()) >= self.config.max_values / self._panes:
            raise GiveUp(f"more than {self.config.max_values} values in a window with a median: raise max_values")
        pane_values = accumulator.add(
            head[2], value, now_s, is_number=self._wants_numbers, with_values=self._wants_values
        )
        self.state["s:" + key] = [head[0], head[1], pane_values]
        if not self._is_time and pane_values[COUNT] >= self._pane_size:
            for result in self._end_panes(key, head[1] + 1):
                yield message.derive(result, topic=self._topic(result), meta={})

    def _begin(self, key: str, label: Any) -> list:
        keys = self._keys if self._keys is not None else self._adopt()
        if len(keys) >= self.config.max_keys:
            keys = self._keys = {known: None for known in keys if "s:" + known in self.state}  # some were undone
            if len(keys) >= self.config.max_keys:
                raise GiveUp(f"{key!r} would be series {len(keys) + 1}, max_keys is {self.config.max_keys}")
        keys[key] = None
        return [label, self._pane_now() if self._is_time else 0, EMPTY]

    def _end_panes(self, key: str, until: int) -> Iterator[dict]:
        """End the open pane of a series, and the empty ones after it, up to pane `until`, which is open then."""
        head = self.state.get("s:" + key)
        if head is None or head[1] >= until:  # a timer may fire a moment before the window's end
            return
        label, number, open_pane = head
        while number < until:
            if self._panes > 1 and (open_pane[COUNT] or open_pane is not EMPTY):
                self.state[f"p:{number}:{key}"] = open_pane
            window = self._window(key, number, open_pane)
            if not window[COUNT] and self._is_time:
                self._forget(key, number)
                return
            oldest = number - self._panes + 1
            if self._is_time or oldest >= 0:
                yield self._result(label, window, number)
            self.state.pop(f"p:{oldest}:{key}", None)
            number, open_pane = number + 1, EMPTY
        if self._is_time and not self._panes > 1:
            self._forget(key, number)
        else:
            self.state["s:" + key] = [label, number, EMPTY]

    def _window(self, key: str, number: int, open_pane: Accumulator) -> Accumulator:
        if self._panes == 1:
            return open_pane
        names = (f"p:{pane}:{key}" for pane in range(number - self._panes + 1, number + 1))
        return accumulator.merge([self.state[name] for name in names if name in self.state])

    def _end_idle(self, key: str, now_s: float) -> dict | None:
        """The unfinished window of a series of messages that has had none for `idle_s`."""
        head = self.state.get("s:" + key)
        if head is None:
            return None
        label, number, open_pane = head
        closed = self._window(key, number, EMPTY) if self._panes > 1 else EMPTY
        window = accumulator.merge([closed, open_pane])
        if window[COUNT] and now_s - window[accumulator.ENDED_S] < self.config.idle_s:
            return None
        self._forget(key, number)
        return self._result(label, window, number) if open_pane[COUNT] else None

    def _forget(self, key: str, number: int) -> None:
        self.state.pop("s:" + key, None)
        for pane in range(number - self._panes + 1, number + 1) if self._panes > 1 else ():
            self.state.pop(f"p:{pane}:{key}", None)

    def _result(self, label: Any, window: Accumulator, number: int) -> dict[str, Any]:
        if self._is_time:
            to_s = (number + 1) * self._pane_size
            from_s = to_s - self.config.size
        else:
            from_s, to_s = window[accumulator.BEGAN_S], window[accumulator.ENDED_S]
        result = {"key": label, "from_s": from_s, "to_s": to_s, "count": window[COUNT]}
        result.update((name, FUNCTIONS[name](window)) for name in self.config.functions)
        if window[accumulator.IGNORED]:
            result["ignored"] = window[accumulator.IGNORED]
        return result

    @staticmethod
    def _topic(result: dict) -> str:
        return result["key"] if isinstance(result["key"], str) else ""
