from typing import Any

from pydantic import field_validator

from flowcore.node import In, Message, Node, NodeConfig, Out, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.path_fields import WritePath
from flowcore_nodes.core.shared_value import Scope, SharedValue, check_key


class ContextGet(Node):
    """Put a value that nodes share into a message: of this flow, or of all flows.

    Where nothing is, the default is put there.
    """

    type = "core/context-get"
    title = "Context get"
    category = "function"
    icon = "database-zap"
    context = ("flow", "global")

    class Config(NodeConfig):
        scope: Scope = field("flow", description="Whose context: this flow's, or that of all flows")
        key: str = field(..., min_length=1, description="Key, or a path into its value: limits.oven.top", dynamic=True)
        to: WritePath = field("payload", description="Where the value goes: payload, payload.limit, meta.limit ...")
        default: Any = field(None, description="What is put there when there is no value")

        @field_validator("key")
        @classmethod
        def _is_key(cls, key: Any) -> Any:
            return check_key(key)

    in_ = In(description="asks for the value")
    out = Out(description="the message with the value")

    def on_start(self) -> None:
        self._to = MessagePath(self.config.to)

    def on_reconfigure(self, old: Any) -> None:
        self.on_start()

    async def on_message(self, message: Message) -> Message:
        made = message.derive()
        self._to.set(made, await SharedValue(self, message).get(self.config.default))
        return made
