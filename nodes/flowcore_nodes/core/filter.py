import math
from collections.abc import MutableMapping
from typing import Any, Literal

from pydantic import model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Tensor, field
from flowcore.node.paths import MessagePath, PathError
from flowcore_nodes.core.numbers import number_at_start
from flowcore_nodes.core.path_fields import ReadPath, ReadPathOrEmpty

_NONE_YET = object()


class Filter(Node):
    """Pass a message on only when its value has changed: at all, by enough, or not by too much.

    change: any value; blocks it while it stays the same. deadband: passes when the number has moved far enough.
    narrowband: blocks what jumps further than plausible. Each series (by default each topic) is judged by
    itself. `meta.reset` forgets: that of the message's topic, or all when it has none. NaN never passes a band and is
    not remembered: a broken sensor must not open the gate for the next good reading.
    """

    type = "core/filter"
    title = "Filter"
    category = "function"
    icon = "filter"
    stateful = True

    class Config(NodeConfig):
        mode: Literal["change", "deadband", "narrowband"] = field(
            "change", description="Block unless the value changes; unless it moves by `band`; if it moves by more"
        )
        path: ReadPath = field("payload", description="What is looked at: payload, payload.temp_c ...")
        key: ReadPathOrEmpty = field(
            "topic", description="Path of what tells series apart, such as topic or machine; empty: one series"
        )
        skip_first: bool = field(False, description="change: the first value of a series is remembered and not sent")
        band: float = field(0.0, ge=0, description="Size of the band, in the unit of the value or in percent")
        percent: bool = field(False, description="The band is a percentage of the value that is compared with")
        pass_at_band: bool = field(True, description="A change of exactly the band passes")
        compare_with: Literal["last_passed", "last_input"] = field(
            "last_passed",
            description="deadband and narrowband: a number is compared with the last that passed, or came",
        )
        start: float | None = field(
            None, description="narrowband: what the first number is compared with; empty: the first passes"
        )
        keep: bool = field(False, description="Remember over restarts; off: the first value after one counts as new")
        max_keys: int = field(10_000, gt=0, le=1_000_000, description="Most series; the oldest is then forgotten")

        @model_validator(mode="after")
        def _fits_mode(self) -> "Filter.Config":
            if self.mode == "change" and (self.band or self.percent):
                raise ValueError("band is for the modes deadband and narrowband")
            if self.mode != "change" and self.skip_first:
                raise ValueError("skip_first is for the mode change")
            return self

    in_ = In()
    out = Out(description="the messages that pass, as they are")

    def on_start(self) -> None:
        self._memory: dict[str, Any] = {}
        self._read_config()

    def on_go(self) -> None:
        self._use_store()

    def on_reconfigure(self, old: Any) -> None:
        self._read_config()
        if (old.mode, old.path, old.key) != (self.config.mode, self.config.path, self.config.key):
            self._memory.clear()
            self.state.clear()
        self._use_store()

    def _read_config(self) -> None:
        self._value = MessagePath(self.config.path).get
        self._key = MessagePath(self.config.key).find if self.config.key else None

    def _use_store(self) -> None:
        """What is remembered of each series, by key: in the state where it is to outlive the process."""
        self._last: MutableMapping[str, Any] = self.state if self.config.keep else self._memory
        other: MutableMapping[str, Any] = self._memory if self.config.keep else self.state
        for key in list(other):  # `keep` was changed
            self._last[key] = other.pop(key)

    async def on_message(self, message: Message) -> Message | None:
        label = self._key(message, "") if self._key else ""
        is_reset = "reset" in message.meta
        if is_reset:
            if isinstance(label, str) and label:
                self._last.pop(label, None)
            else:
                self._last.clear()
        try:
            value = self._value(message)
        except PathError:
            return None
        if value is None and is_reset:  # it came only to say so
            return None
        if isinstance(value, Tensor):
            raise GiveUp("a tensor can't be compared here; compare a number that is made of it")
        key = label if type(label) is str else str(label)
        passes = self._has_changed(key, value) if self.config.mode == "change" else self._is_in_band(key, value)
        return message if passes else None

    def _has_changed(self, key: str, value: Any) -> bool:
        last = self._last.get(key, _NONE_YET)
        if same(value, last):
            return False
        self._remember(key, value, is_new=last is _NONE_YET)
        return not (self.config.skip_first and last is _NONE_YET)

    def _is_in_band(self, key: str, value: Any) -> bool:
        if isinstance(value, float) and math.isnan(value):
            return False
        number = number_at_start(value)
        if number is None:
            raise GiveUp(f"{self.config.path} must be a number, got {type(value).__name__} {str(value)[:40]!r}")
        config, last = self.config, self._last.get(key)
        is_first = last is None
        if last is None and config.mode == "narrowband":
            last = number if config.start is None else config.start
        if last is None:
            passes = True
        else:
            band = abs(last * config.band / 100) if config.percent else config.band
            moved = abs(number - last)
            passes = config.pass_at_band if moved == band else (moved > band) == (config.mode == "deadband")
        if passes or config.compare_with == "last_input":
            last = number
        if last is not None and (is_first or last != self._last[key]):
            self._remember(key, last, is_first)
        return passes

    def _remember(self, key: str, value: Any, is_new: bool) -> None:
        if is_new and len(self._last) >= self.config.max_keys:
            del self._last[next(iter(self._last))]
        self._last[key] = value


def same(a: Any, b: Any) -> bool:
    """Equal to the last leaf; other than in Python true is not 1, and NaN is NaN."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(value, b[key]) for key, value in a.items())
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return a == b or (a != a and b != b)
