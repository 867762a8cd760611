"""Text out of a message that a parser is to read: not longer than allowed, and UTF-8."""

from flowcore.node import GiveUp


def bounded_text(text: str | bytes, max_bytes: int) -> str:
    """The text, without a byte order mark.

    Raises:
        GiveUp: it is longer than `max_bytes`, or bytes that are no UTF-8.
    """
    if len(text) > max_bytes:
        raise GiveUp(f"the text has {len(text)} bytes, more than max_bytes = {max_bytes}")
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise GiveUp(f"not UTF-8: {e.reason} at byte {e.start}") from None
