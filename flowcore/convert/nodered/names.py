"""Readable ids, made of the names that people gave."""

from __future__ import annotations

import re
import unicodedata

_LONGEST = 64
_RESERVED = {"global"}  # the context of all flows
_LETTERS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "o", "æ": "ae", "å": "a", "ł": "l", "đ": "d"}
)


def slug(text: str) -> str:
    """A text as an id: `Temp > 80 °C` is `temp-80-c`; empty when nothing of it can stay."""
    plain = unicodedata.normalize("NFKD", text.lower().translate(_LETTERS))
    return re.sub(r"[^a-z0-9]+", "-", plain.encode("ascii", "ignore").decode()).strip("-")[:_LONGEST].strip("-")


class Names:
    """The ids of one scope: no two are the same."""

    def __init__(self) -> None:
        self._taken = set(_RESERVED)

    def take(self, *wanted: str) -> str:
        """An id of the first of these names that leaves something, with a number when it is taken."""
        base = next((made for name in wanted if (made := slug(name))), "node")
        made, number = base, 1
        while made in self._taken:
            number += 1
            made = f"{base[: _LONGEST - len(str(number)) - 1]}-{number}"
        self._taken.add(made)
        return made
