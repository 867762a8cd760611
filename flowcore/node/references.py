"""Config fields whose value is not in the config: taken from each message, or from flow or global context.

`flowcore.node.config` sets such references aside when it reads a config; here they are followed. What a context holds
is read before a turn, so that a handler gets it without waiting.

    LookupError   a reference leads nowhere: no such part of the message, no such variable, or no message at all
"""

from typing import TYPE_CHECKING, Any

from flowcore.node.message import Message
from flowcore.node.paths import MessagePath, PathError

if TYPE_CHECKING:
    from flowcore.node.node import Node


class References:
    """The references of one config of a node.

    Args:
        references: by field name, as `config.parse` returns them.
        known: values of contexts that were read for an earlier config.
    """

    def __init__(self, node: "Node", references: dict[str, dict], known: dict[str, Any] | None = None) -> None:
        self._node, self._references = node, references
        self._paths = {
            name: MessagePath(reference["$message"])
            for name, reference in references.items()
            if "$message" in reference
        }
        self.known = {} if known is None else known
        self.are_shared = any("$flow" in reference or "$global" in reference for reference in references.values())
        """True when one is to flow or global context: `refresh` is called before each turn then."""

    def value(self, name: str, message: Message | None) -> Any:
        """The value of a field, for this message where it is taken from one; a literal of the config as it is.

        Raises:
            LookupError: the reference leads nowhere.
        """
        reference = self._references.get(name)
        if reference is None:
            return getattr(self._node.config, name)
        (kind, key), *_ = reference.items()
        if kind == "$message":
            if message is None:
                raise LookupError(f"config field '{name}' is taken from a message, and there is none here")
            try:
                return self._paths[name].get(message)
            except PathError as e:
                raise LookupError(f"config field '{name}': {e}") from None
        value = self.known.get(f"{kind}:{key}")
        if value is None:
            raise LookupError(f"config field '{name}': {kind} {key!r} is not set")
        return value

    async def refresh(self) -> None:
        """Read the values of contexts that fields refer to."""
        for kind, context in (("$flow", self._node.flow_context), ("$global", self._node.global_context)):
            for reference in self._references.values():
                if kind in reference:
                    value = await context.get(reference[kind])
                    self.known[f"{kind}:{reference[kind]}"] = value
