"""Where a message goes to: what the node's config says of it, else the message's topic."""

from flowcore.node import Message, Node


def addressed(node: Node, name: str, message: Message) -> str:
    """The value of a dynamic config field such as `key`, or the topic where that is empty.

    Raises:
        LookupError: the reference leads nowhere.
        ValueError: neither says anything, or it is no text.
    """
    value = node.setting(name, message) or message.topic
    if not isinstance(value, str) or not value:
        raise ValueError(f"there is no {name}: set it in the node's config or as the message's topic")
    return value
