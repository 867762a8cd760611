"""Values in rules: a literal, or a reference that is looked up for each message.

A reference is `{"$message": "payload.limit"}`, `{"$flow": "key"}`, `{"$global": "key"}`; `{"$env": ..}` and
`{"$secret": ..}` were replaced before the node started. What is not there is None.
"""

import copy
from collections.abc import Callable
from typing import Any

from flowcore.node import Message, Node
from flowcore.node.paths import MessagePath

_CONTEXTS = ("$flow", "$global")


def check_value(value: Any) -> Any:
    """The value as it is.

    Raises:
        ValueError: a reference with a path that is none, or with a key that is no text.
    """
    kind = reference_kind(value)
    if kind == "$message":
        MessagePath(value[kind])
    elif kind in _CONTEXTS and not isinstance(value[kind], str):
        raise ValueError(f"{kind} takes the key as a text")
    return value


def reference_kind(value: Any) -> str | None:
    """`$message`, `$flow`, ... for a reference, None for a literal."""
    if isinstance(value, dict) and len(value) == 1:
        name = next(iter(value))
        if name in ("$message", "$env", "$flow", "$global", "$secret", "$previous"):
            return name
    return None


class Operand:
    """A value of a rule, ready to be read for each message.

    Attributes:
        is_literal: the same for every message.
        read: function of a message, or None when the value lies in a context and must be fetched.
    """

    __slots__ = ("_context", "_key", "is_literal", "read")

    def __init__(self, node: Node, value: Any) -> None:
        self._context: Any = None
        self._key = ""
        self.read: Callable[[Message], Any] | None = None
        kind = reference_kind(value)
        self.is_literal = kind is None
        if kind == "$message":
            self.read = MessagePath(value[kind]).find
        elif kind in _CONTEXTS:
            self._context = node.flow_context if kind == "$flow" else node.global_context
            self._key = value[kind]
        elif kind in ("$env", "$secret"):
            raise ValueError(f"{kind} {value[kind]!r} was not replaced before the node started")
        else:
            self.read = lambda message: value

    async def fetch(self, message: Message) -> Any:
        """The value for this message, wherever it lies; a copy, when it is a map or a list."""
        value = await self._context.get(self._key, None) if self.read is None else self.read(message)
        return copy.deepcopy(value) if isinstance(value, (dict, list)) else value
