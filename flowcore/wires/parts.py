"""Messages larger than one stream message may be: stored in parts, put together by the consumer.

A part is a map where other stream messages are arrays: `epoch`, `seq` of the message, `by` (which replica of the
producer), `part` of `parts`, and `data`. A producer stores the parts of one message in a row. So when another one of
the same producer begins, a message that is not complete never will be: its producer died, and its successor sends it
under an epoch of its own.
"""

from dataclasses import dataclass, field
from typing import Any

from flowcore.bus.envelope import Malformed, pack

_AROUND_BYTES = 1024  # of a stream message besides its data: headers, the map
_KEYS = ("epoch", "seq", "by", "part", "parts")


def split(packed: bytes, epoch: int, seq: int, by: int, limit: int) -> list[tuple[str, bytes]]:
    """Stream messages for one packed frame, each with the id by which the server knows a copy.

    Args:
        limit: bytes that one stream message may have.
    """
    identity = f"{epoch}:{seq}-{seq}"
    room = max(1024, limit - _AROUND_BYTES)
    if len(packed) <= room:
        return [(identity, packed)]
    pieces = [packed[start : start + room] for start in range(0, len(packed), room)]
    head = {"epoch": epoch, "seq": seq, "by": by, "parts": len(pieces)}
    return [
        (f"{identity}/{part}-{len(pieces)}", pack({**head, "part": part, "data": data}))
        for part, data in enumerate(pieces)
    ]


@dataclass(frozen=True)
class Part:
    """Part `at` of `parts` of a message; made by replica `by` of its producer."""

    epoch: int
    seq: int
    by: int
    at: int
    parts: int
    data: bytes

    @property
    def key(self) -> tuple[int, int]:
        """Of the message."""
        return self.epoch, self.seq

    @classmethod
    def of(cls, value: dict) -> "Part":
        """Check a decoded map.

        Raises:
            Malformed: not a part.
        """
        try:
            numbers, data = [value[key] for key in _KEYS], value["data"]
        except KeyError as e:
            raise Malformed(f"a part of a message without {e}") from None
        if any(type(one) is not int or one < 0 for one in numbers) or type(data) is not bytes:
            raise Malformed("a part of a message whose numbers are none")
        epoch, seq, by, at, parts = numbers
        return cls(epoch, seq, by, at, parts, data)


@dataclass
class _Begun:
    """A message of which some parts have come."""

    key: tuple[int, int]
    parts: int
    data: list[bytes] = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)


class Assembly:
    """Puts parts together, of one wire. Keeps the stream messages that they came in, to be acked with the whole."""

    def __init__(self) -> None:
        self._begun: dict[int, _Begun] = {}  # by producer

    @property
    def messages(self) -> list[Any]:
        """Stream messages whose parts are held."""
        return [message for begun in self._begun.values() for message in begun.messages]

    def take(self, part: Part, message: Any) -> tuple[bytes | None, list[Any], list[Any]]:
        """One more part, in the order of the stream.

        Returns:
            The packed frame if it is complete, the stream messages that it came in, and those of a message that never
            will be.
        """
        dropped: list[Any] = []
        begun = self._begun.get(part.by)
        if begun is not None and (begun.key, begun.parts) != (part.key, part.parts):
            if part.key < begun.key:  # delivered again after it was dropped
                return None, [], [message]
            dropped = self._begun.pop(part.by).messages
            begun = None
        if begun is None:
            begun = self._begun[part.by] = _Begun(part.key, part.parts)
        if part.at < len(begun.data):  # delivered again while it is held
            return None, [], dropped
        if part.at > len(begun.data):
            return None, [], [*dropped, *self._begun.pop(part.by).messages, message]
        begun.data.append(part.data)
        begun.messages.append(message)
        if len(begun.data) < part.parts:
            return None, [], dropped
        del self._begun[part.by]
        return b"".join(begun.data), begun.messages, dropped

    def before(self, key: tuple[int, int]) -> list[Any]:
        """A whole message came, of the only producer there is: what began before it never will be complete."""
        over = [by for by, begun in self._begun.items() if begun.key < key]
        return [message for by in over for message in self._begun.pop(by).messages]
