from typing import Any, Literal

from pydantic import field_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.path_fields import ReadPath, WritePathOrEmpty
from flowcore_nodes.core.shared_value import Scope, SharedValue, check_key


class ContextSet(Node):
    """Set, delete, increase or append to a value that nodes share: of this flow, or of all flows.

    increment and append are one step: two nodes that do so at once are both counted. Other than a node's own state a
    context is not tied to messages: one that is handled again after a kill is counted again.
    """

    type = "core/context-set"
    title = "Context set"
    category = "function"
    icon = "database"
    context = ("flow", "global")

    class Config(NodeConfig):
        scope: Scope = field("flow", description="Whose context: this flow's, or that of all flows")
        key: str = field(..., min_length=1, description="Key, or a path into its value: limits.oven.top", dynamic=True)
        action: Literal["set", "delete", "increment", "append"] = field(
            "set", description="What is done: append adds to the end of a list"
        )
        value: ReadPath = field("payload", description="set and append: path of what is stored; nothing there: deleted")
        amount: float = field(
            1.0,
            description='increment: by how much; negative: down; {"$message": path} for the message\'s',
            dynamic=True,
        )
        max_items: int = field(
            1000, gt=0, le=100_000, description="append: most items in the list; the oldest are dropped"
        )
        to: WritePathOrEmpty = field("", description="Where the new value goes in the message; empty: nowhere")

        @field_validator("key")
        @classmethod
        def _is_key(cls, key: Any) -> Any:
            return check_key(key)

    in_ = In()
    out = Out(description="the message, when it is stored")

    def on_start(self) -> None:
        self._value = MessagePath(self.config.value).find
        self._to = MessagePath(self.config.to) if self.config.to else None

    def on_reconfigure(self, old: Any) -> None:
        self.on_start()

    async def on_message(self, message: Message) -> Message:
        shared = SharedValue(self, message)
        new = await self._change(shared, message)
        if self._to is None:
            return message
        made = message.derive()
        self._to.set(made, new)
        return made

    async def _change(self, shared: SharedValue, message: Message) -> Any:
        match self.config.action:
            case "delete":
                await shared.delete()
                return None
            case "increment":
                amount = self.setting("amount", message)
                if not _is_number(amount):
                    raise GiveUp(f"amount must be a number, got {amount!r}")
                return await shared.update(lambda now: _increased(now, amount))
            case "append":
                item, most = self._value(message), self.config.max_items
                return await shared.update(lambda now: _appended(now, item, most))
        value = self._value(message)
        await shared.set(value)
        return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _increased(now: Any, amount: float) -> float:
    if now is not None and not _is_number(now):
        raise GiveUp(f"only a number can be increased, there is {type(now).__name__} {str(now)[:40]!r}")
    new = (now or 0) + amount
    return int(new) if isinstance(new, float) and new.is_integer() and abs(new) < 2**53 else new


def _appended(now: Any, item: Any, most: int) -> list:
    if now is not None and not isinstance(now, (list, tuple)):
        raise GiveUp(f"only to a list can be appended, there is {type(now).__name__} {str(now)[:40]!r}")
    return [*(now or ()), item][-most:]
