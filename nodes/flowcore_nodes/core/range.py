import math
from typing import Any, Literal

from pydantic import model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore.node.paths import MessagePath, PathError
from flowcore_nodes.core.numbers import number_of, plain
from flowcore_nodes.core.path_fields import WritePath, WritePathOrEmpty


class Range(Node):
    """Scale a number from one range to another; limit it, wrap it round, or drop what lies outside.

    A text that is a number counts as one. What is no number is an error; a message that has nothing at `path` goes on
    as it is. Either range may run downwards. For the remainder of a division, wrap from 0 to the divisor, and scale to
    the same range.
    """

    type = "core/range"
    title = "Range"
    category = "function"
    icon = "ruler"

    class Config(NodeConfig):
        action: Literal["scale", "clamp", "wrap", "drop"] = field(
            "scale",
            description="A number outside the input range is scaled all the same; set to its end; wrapped round, as "
            "370 degrees are 10; or its message is dropped",
        )
        from_low: float = field(0.0, description="Beginning of the input range, in the unit of the input")
        from_high: float = field(100.0, description="End of the input range, in the unit of the input")
        to_low: float = field(0.0, description="What from_low becomes, in the unit of the output")
        to_high: float = field(100.0, description="What from_high becomes, in the unit of the output")
        round: bool = field(False, description="To whole numbers, halves upwards; to_low and to_high move inwards")
        path: WritePath = field("payload", description="Where the number is: payload.temp_c ...")
        to: WritePathOrEmpty = field("", description="Where the result goes; empty: in place of the number")

        @model_validator(mode="after")
        def _is_range(self) -> "Range.Config":
            if self.from_low == self.from_high:
                raise ValueError(f"from_low and from_high are both {self.from_low:g}: that is no range")
            return self

    in_ = In(description="a number, or a map that holds one")
    out = Out(description="the message with the new number")

    def on_start(self) -> None:
        config = self.config
        self._path = MessagePath(config.path)
        self._to = MessagePath(config.to or config.path)
        ends = [(config.from_low, config.to_low), (config.from_high, config.to_high)]
        (self._low, to_low), (self._high, to_high) = sorted(ends, key=lambda end: end[0])
        if config.round:
            to_low, to_high = math.ceil(to_low), math.floor(to_high)
        self._to_low, self._span, self._to_span = to_low, self._high - self._low, to_high - to_low

    def on_reconfigure(self, old: Any) -> None:
        self.on_start()

    async def on_message(self, message: Message) -> Message | None:
        try:
            value = self._path.get(message)
        except PathError:
            return message
        number = number_of(value)
        if number is None:
            raise GiveUp(f"{self.config.path} must be a number, got {type(value).__name__} {str(value)[:40]!r}")
        if not math.isfinite(number):
            raise GiveUp(f"{self.config.path} is {number}: no range reaches there")
        match self.config.action:
            case "drop":
                if not self._low <= number <= self._high:
                    return None
            case "clamp":
                number = min(max(number, self._low), self._high)
            case "wrap":
                number = (number - self._low) % self._span + self._low
        scaled = (number - self._low) / self._span * self._to_span + self._to_low
        made = message.derive()
        self._to.set(made, math.floor(scaled + 0.5) if self.config.round else plain(scaled))
        return made
