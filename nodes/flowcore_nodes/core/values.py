"""Values in rules: a literal, or a reference that is looked up for each message.

A reference is `{"$message": "payload.limit"}`, `{"$flow": "key"}`, `{"$global": "key.part"}`; `{"$env": ..}` and
`{"$secret": ..}` were replaced before the node started. What is not there is None.
"""

import copy
from collections.abc import Callable
from typing import Any

from flowcore.node import Message, Node
from flowcore.node.paths import MessagePath, Part, PathError, get_in, parse_path

_CONTEXTS = ("$flow", "$global")


def check_value(value: Any) -> Any:
    """The value as it is.

    Raises:
        ValueError: a reference with a path that is none, or with a key that is no path.
    """
    kind = reference_kind(value)
    if kind == "$message":
        MessagePath(value[kind])
    elif kind in _CONTEXTS:
        if not isinstance(value[kind], str):
            raise ValueError(f"{kind} takes the key as a text")
        _key_and_rest(value[kind])
    return value


def _key_and_rest(text: str) -> tuple[str, tuple[Part, ...]]:
    """The key of a context, and the way to a part of what lies there: `limits.high[0]` is `limits`, `high` and 0."""
    key, *rest = parse_path(text)
    return str(key), tuple(rest)


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

    __slots__ = ("_context", "_key", "_rest", "is_literal", "read")

    def __init__(self, node: Node, value: Any) -> None:
        self._context: Any = None
        self._key = ""
        self._rest: tuple[Part, ...] = ()
        self.read: Callable[[Message], Any] | None = None
        kind = reference_kind(value)
        self.is_literal = kind is None
        if kind == "$message":
            self.read = MessagePath(value[kind]).find
        elif kind in _CONTEXTS:
            self._context = node.flow_context if kind == "$flow" else node.global_context
            self._key, self._rest = _key_and_rest(value[kind])
        elif kind in ("$env", "$secret"):
            raise ValueError(f"{kind} {value[kind]!r} was not replaced before the node started")
        else:
            self.read = lambda message: value

    async def fetch(self, message: Message) -> Any:
        """The value for this message, wherever it lies; a copy, when it is a map or a list."""
        value = await self._in_context() if self.read is None else self.read(message)
        return copy.deepcopy(value) if isinstance(value, (dict, list)) else value

    async def _in_context(self) -> Any:
        value = await self._context.get(self._key, None)
        try:
            return get_in(value, self._rest)
        except PathError:
            return None
