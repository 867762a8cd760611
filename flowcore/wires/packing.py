"""From an envelope to bytes, and what must be kept so that the bytes stay worth something.

Wires never look into a payload. A process with shared buffers gives its ports a codec that writes tensors, and payloads
too large for an envelope, into slots of shared memory; the bytes then name slots, and `taken` are the claims on them.
A port keeps those with the message, and lets go of them with it.

    MessageTooLarge   a message that does not fit into an envelope, whatever is done with its payload
"""

from collections.abc import Mapping
from typing import Any, Protocol

from flowcore.bus.envelope import MAX_ENVELOPE, pack


class MessageTooLarge(ValueError):
    """A message that does not fit into an envelope."""

    def __init__(self, port: str, size_bytes: int) -> None:
        self.port, self.size_bytes = port, size_bytes
        super().__init__(
            f"a message for port '{port}' is {size_bytes:,} bytes packed, the limit is {MAX_ENVELOPE:,}; "
            "split it, or write it to a file and send its name"
        )


class Codec(Protocol):
    """What a port packs with."""

    has_taken: bool
    """A pack has left something in `taken`."""

    @property
    def taken(self) -> tuple[Any, ...]:
        """Claims on the slots that the bytes packed last name, given away: with the last claim the slots are free."""

    def pack(self, value: Any) -> bytes:
        """Pack an envelope; whatever it raises, nothing has changed."""

    def pack_large(self, envelope: dict[str, Any]) -> bytes:
        """Pack an envelope that was too large: what is large in it goes into slots."""

    def apart(self, packed: bytes) -> tuple[bytes, tuple[Any, ...]] | None:
        """The same envelope with copies in slots that nothing else waits for, and the claims on them; None: no room."""

    def inline(self, packed: bytes, encoding: Mapping[str, Any] | None = None) -> bytes:
        """The same envelope with everything in it, for who can't or must not open slots; as long as it takes."""


class PlainCodec:
    """Without shared buffers: everything is in the envelope, and what does not fit is too large."""

    has_taken = False
    taken: tuple[Any, ...] = ()
    pack = staticmethod(pack)
    pack_large = staticmethod(pack)

    def apart(self, packed: bytes) -> tuple[bytes, tuple[Any, ...]]:
        """It is."""
        return packed, ()

    def inline(self, packed: bytes, encoding: Mapping[str, Any] | None = None) -> bytes:
        """It is."""
        return packed


PLAIN = PlainCodec()
