"""Conditions on a part of a message, in configs: the operators of a switch that need no more than the message."""

from typing import Any, Literal

from pydantic import model_validator

from flowcore.node import Message, Node, NodeConfig, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.comparisons import COMPARISONS, KINDS, TAKES_NO_VALUE, TAKES_TWO_VALUES
from flowcore_nodes.core.path_fields import ReadPath
from flowcore_nodes.core.values import Operand, check_value

Op = Literal[
    "==", "!=", "<", "<=", ">", ">=", "has key", "between", "contains", "true", "false", "null", "not null", "is type",
    "empty", "not empty",
]  # fmt: skip


class Condition(NodeConfig):
    """What must hold of a message."""

    path: ReadPath = field("payload", description="What is looked at, such as payload.temp_c")
    op: Op = field(description="How it is compared, as in a switch")
    value: Any = field(
        None, description='With what: a literal, {"$message": path}, {"$flow": key} or {"$global": key}', dynamic=True
    )
    value2: Any = field(None, description="The other end of between", dynamic=True)

    @model_validator(mode="after")
    def _is_complete(self) -> "Condition":
        check_condition(self.op, self.value, self.value2)
        return self


def check_condition(op: str, value: Any, value2: Any) -> None:
    """Raises ValueError when a condition lacks a value, or has one that can't be."""
    if op not in TAKES_NO_VALUE and value is None and op not in ("==", "!="):
        raise ValueError(f"the condition {op!r} needs a value")
    if op in TAKES_TWO_VALUES and value2 is None:
        raise ValueError(f"the condition {op!r} needs value2")
    if op == "is type" and value not in KINDS:
        raise ValueError(f"no type {value!r}; it has: {', '.join(KINDS)}")
    check_value(value)
    check_value(value2)


class Asked:
    """A condition, ready to be asked of messages."""

    def __init__(self, node: Node, path: str, op: str, value: Any, value2: Any) -> None:
        self._find, self._compare = MessagePath(path).find, COMPARISONS[op]
        self._value, self._value2 = Operand(node, value), Operand(node, value2)
        self._is_fixed = self._value.is_literal and self._value2.is_literal
        self._literals = value, value2

    @classmethod
    def of(cls, node: Node, condition: Condition) -> "Asked":
        """Of a node's config."""
        return cls(node, condition.path, condition.op, condition.value, condition.value2)

    async def holds(self, message: Message) -> bool:
        """It is so in this message; what is not there is null."""
        if self._is_fixed:
            value, value2 = self._literals
        else:
            value, value2 = await self._value.fetch(message), await self._value2.fetch(message)
        return self._compare(self._find(message), value, value2)
