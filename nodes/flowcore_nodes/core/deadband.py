import math
from typing import Any

from pydantic import field_validator

from flowcore.node import In, Message, Node, NodeConfig, Out, field
from flowcore.node.paths import MessagePath


class Deadband(Node):
    """Pass a number on only when it has moved far enough.

    The first number passes. NaN never does, and leaves the reference alone: a broken sensor must not
    open the gate for the next good reading. After a restart the first number passes again.
    """

    type = "core/deadband"
    title = "Deadband"
    category = "function"
    icon = "chart-no-axes-gantt"

    class Config(NodeConfig):
        band: float = field(1.0, gt=0, description="Smallest change that passes, in the unit of the input")
        percent: bool = field(False, description="The band is a percentage of the last number that passed")
        key: str = field("", description="Path of what tells series apart, such as topic or machine; empty: one series")
        max_keys: int = field(10_000, gt=0, le=1_000_000, description="Most series; the oldest is then forgotten")
        # last in the class, because it hides the function of that name
        field: str = field("payload", description="Path of the number, such as payload.temp_c or just temp_c")

        @field_validator("field", "key")
        @classmethod
        def _is_path(cls, path: str) -> str:
            if path:
                MessagePath(path)
            return path

    value = In(description="a number, or a map that holds one")
    changed = Out(description="the message whose number has moved")

    def on_start(self) -> None:
        self._passed: dict[Any, float] = {}  # the last number that passed, by key
        self._read_config()

    def on_reconfigure(self, old: Any) -> None:
        if (old.field, old.key) != (self.config.field, self.config.key):
            self._passed.clear()
        self._read_config()

    def _read_config(self) -> None:
        self._number = MessagePath(self.config.field).get
        self._key = MessagePath(self.config.key).get if self.config.key else None

    async def on_message(self, message: Message) -> Message | None:
        now = self._number(message)
        if type(now) is not float and type(now) is not int:
            raise TypeError(f"{self.config.field} must be a number, got {type(now).__name__}")
        if math.isnan(now):
            return None
        key = self._key(message) if self._key else None
        last = self._passed.get(key)
        if last is not None:
            band = self.config.band * abs(last) / 100 if self.config.percent else self.config.band
            if abs(now - last) < band or now == last:
                return None
        elif len(self._passed) >= self.config.max_keys:
            del self._passed[next(iter(self._passed))]
        self._passed[key] = now
        return message
