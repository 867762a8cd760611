"""A value in a shared context, or a part of it: what the context nodes share."""

from collections.abc import Callable
from typing import Any, Literal

from flowcore.node import GiveUp, Message, Node
from flowcore.node.paths import Part, PathError, delete_in, get_in, parse_path, set_in

Scope = Literal["flow", "global"]


def check_key(key: Any) -> Any:
    """The key as it is. Raises ValueError when it begins with an index."""
    if isinstance(key, str) and not isinstance(parse_path(key)[0], str):
        raise ValueError(f"{key!r} names no key of the context: begin with a name")
    return key


class SharedValue:
    """Where a node's `scope` and `key` lead for one message.

    A key that stands in the config is a path, such as `limits.oven["top"]`; one that comes with a message is a key as a
    whole, whatever characters it has.

    Raises:
        GiveUp: the message brings no text as key.
    """

    def __init__(self, node: Node, message: Message) -> None:
        self._context = node.flow_context if node.config.scope == "flow" else node.global_context
        key = node.setting("key", message)
        self._rest: tuple[Part, ...] = ()
        if node.config.key == key:
            first, *rest = parse_path(key)
            self._key, self._rest = str(first), tuple(rest)
        elif not isinstance(key, str) or not key:
            raise GiveUp(f"the key must be a text, got {str(key)[:40]!r}")
        else:
            self._key = key

    async def get(self, default: Any) -> Any:
        """The value, or `default` where nothing is."""
        try:
            value = get_in(await self._context.get(self._key, None), self._rest)
        except PathError:
            return default
        return default if value is None else value

    async def set(self, value: Any) -> None:
        """Write it; None removes it."""
        if value is None:
            await self.delete()
        elif self._rest:
            await self._context.update(self._key, lambda whole: set_in(whole, self._rest, value))
        else:
            await self._context.set(self._key, value)

    async def delete(self) -> None:
        """Remove it; nothing there is no error."""
        if self._rest:
            await self._context.update(self._key, lambda whole: delete_in(whole, self._rest))
        else:
            await self._context.set(self._key, None)

    async def update(self, change: Callable[[Any], Any]) -> Any:
        """Set it to `change(value now, or None)`, as one step whoever else writes. Returns the new value."""
        new: Any = None

        def changed(whole: Any) -> Any:
            nonlocal new
            try:
                now = get_in(whole, self._rest)
            except PathError:
                now = None
            new = change(now)
            return set_in(whole, self._rest, new)

        await self._context.update(self._key, changed)
        return new
