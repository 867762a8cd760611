"""What counts as a number where a node takes texts for numbers, too: Node-RED's rules, which are JavaScript's."""

import math
import re
from typing import Any

_WHOLE = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_WITH_BASE = re.compile(r"0(?:[xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)")


def number_of(value: Any) -> float | None:
    """A number, or the number that a text is as a whole: "5", " -1e3 ", "0x1f"; None for anything else and for NaN."""
    if isinstance(value, (int, float)):
        return None if math.isnan(value) else value
    if not isinstance(value, str):
        return None
    text = value.strip()
    if _WHOLE.fullmatch(text):
        return _converted(text)
    if _WITH_BASE.fullmatch(text):
        return int(text, 0)
    return None


def number_at_start(value: Any) -> float | None:
    """A number, or the one that a text begins with, such as "20.5 °C"; None for anything else and for NaN."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return None if math.isnan(value) else value
    found = _WHOLE.match(value.lstrip()) if isinstance(value, str) else None
    return _converted(found.group()) if found else None


def _converted(text: str) -> float:
    if len(text) < 17 and text.lstrip("+-").isdigit():
        return int(text)
    return float(text)


def plain(number: float) -> float:
    """Whole numbers as int, as they would be written: 5.0 becomes 5."""
    return int(number) if isinstance(number, float) and number.is_integer() and abs(number) < 2**53 else number
