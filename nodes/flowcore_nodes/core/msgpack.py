from typing import Any, Literal

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore.node.formats import BadPayload, read, write
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.path_fields import WritePath


class Msgpack(Node):
    """Turn msgpack bytes into a value, or a value into msgpack bytes.

    Smaller than JSON, and it holds bytes: what many microcontrollers send. Bytes must be one whole value; extension
    types other than time stamps (which become seconds since 1970) are refused, and so is what is nested too deep or
    says that it is longer than it is. An array is written as on the bus, as extension 2: its dtype, shape and bytes.
    """

    type = "core/msgpack"
    title = "Msgpack"
    category = "parser"
    icon = "package"

    class Config(NodeConfig):
        action: Literal["auto", "decode", "encode"] = field(
            "auto", description="auto: bytes are decoded, anything else becomes bytes"
        )
        path: WritePath = field("payload", description="What is converted: payload, payload.body ...")
        max_bytes: int = field(8_388_608, gt=0, le=67_108_864, description="Most bytes that are decoded")

    in_ = In()
    out = Out()

    def on_start(self) -> None:
        self._path = MessagePath(self.config.path)

    def on_reconfigure(self, old: Any) -> None:
        self.on_start()

    async def on_message(self, message: Message) -> Message:
        value, action = self._path.get(message), self.config.action
        is_bytes = isinstance(value, (bytes, bytearray, memoryview))
        try:
            if action == "decode" or (action == "auto" and is_bytes):
                new = self._decoded(value if is_bytes else None, type(value).__name__)
            else:
                new = write(value, "msgpack")
        except BadPayload as e:
            raise GiveUp(str(e)) from None
        converted = message.derive()
        self._path.set(converted, new)
        return converted

    def _decoded(self, data: Any, kind: str) -> Any:
        if data is None:
            raise GiveUp(f"{self.config.path} must be bytes, got {kind}")
        if len(data) > self.config.max_bytes:
            raise GiveUp(f"{self.config.path} has {len(data)} bytes, more than max_bytes = {self.config.max_bytes}")
        return read(bytes(data), "msgpack")
