from typing import Any, Literal

from pydantic import field_validator

from flowcore.node import In, Message, Node, NodeConfig, field
from flowcore.node.paths import MessagePath, PathError


class Debug(Node):
    """Show messages in the debug panel, and in `flow.<flow>.<node>.debug`.

    A flood is thinned out: what exceeds `max_rate_hz` is counted, not shown, and the status says how many.
    """

    type = "core/debug"
    title = "Debug"
    category = "common"
    icon = "bug"

    class Config(NodeConfig):
        show: Literal["payload", "message", "part"] = field(
            "payload", description="What is shown: the payload, the whole message, or the part at `path`"
        )
        path: str = field("payload", description="Where the part lies, such as payload.temp_c; for show = part")
        active: bool = field(True, description="Off: messages are taken and not shown")
        status: bool = field(False, description="Also show the value as the node's status, cut to 32 characters")
        log: bool = field(False, description="Also write the value to the log")
        max_rate_hz: float = field(100.0, gt=0, le=10_000, description="Most values shown a second")

        @field_validator("path")
        @classmethod
        def _path_is_one(cls, path: str) -> str:
            MessagePath(path)
            return path

    in_ = In()

    def on_start(self) -> None:
        self._path = MessagePath(self.config.path)
        self._second, self._shown, self._skipped = 0, 0, 0

    def on_reconfigure(self, old: Any) -> None:
        self.on_start()

    async def on_message(self, message: Message) -> None:
        config = self.config
        if not config.active or not self._may_show():
            return
        value = self._value(message)
        self.debug(value, message)
        if config.status:
            text = str(value)
            self.set_status(text if len(text) <= 32 else text[:31] + "…")
        if config.log:
            self.log.info("%s", value)

    def _may_show(self) -> bool:
        second = int(self.now_s())
        if second != self._second:
            if self._skipped:
                self.set_status(f"{self._skipped} not shown in the last second", "warn")
            self._second, self._shown, self._skipped = second, 0, 0
        if self._shown >= self.config.max_rate_hz:
            self._skipped += 1
            return False
        self._shown += 1
        return True

    def _value(self, message: Message) -> Any:
        if self.config.show == "payload":
            return message.payload
        if self.config.show == "part":
            try:
                return self._path.get(message)
            except PathError as e:
                return f"({e})"
        names = ("id", "topic", "payload", "meta", "ts_ns", "origin_ns", "trace", "parent", "deadline_ns")
        return {name: getattr(message, name) for name in names}
