"""Texts with places for parts of a message: `{topic}: {payload.temp_c} °C`."""

import json
import re

from flowcore.node import GiveUp, Message
from flowcore.node.paths import MessagePath

_PLACE = re.compile(r"\{([^{}\n]+)\}")


def check_places(text: str) -> str:
    """The text.

    Raises:
        BadPath: a place in it is no path.
    """
    for found in _PLACE.finditer(text):
        MessagePath(found[1])
    return text


def fill_places(text: str, message: Message) -> str:
    """The text with what the message has at each place; what is no text is written as JSON.

    Raises:
        GiveUp: the message has nothing there.
    """

    def part(found: re.Match) -> str:
        value = MessagePath(found[1]).get(message)
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    try:
        return _PLACE.sub(part, text)
    except (LookupError, TypeError, ValueError) as e:
        raise GiveUp(f"{text!r}: {e}") from None
